package consumer

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expensevault/sharedlibrary/internal/backoff"
	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/kerr"
	"github.com/expensevault/sharedlibrary/internal/lane"
)

// generation is one membership: what one JoinGroup and SyncGroup led to.
type generation struct {
	id       int32
	member   string
	leader   string
	synced   time.Time // when SyncGroup was sent
	first    bool      // the member was not one before: what a static one is given may be what it had in an earlier life
	assigned []topicPartitions
	// watched holds, for the group's leader, how many partitions each topic had when they were assigned; nil for others.
	watched map[string]int
}

// metadataLimit is the default of a broker's offset.metadata.max.bytes.
const metadataLimit = 4096

// member speaks to the group's coordinator. Its calls may be made concurrently, but join and leave.
type member struct {
	p   *Params
	log *slog.Logger
	out *outage
	id  string // as the coordinator gave it, "" before; owned by join and its caller

	// renewed is told in the subscription: a broker begins a rebalance for a known
	// member only when that changes. Owned by join, and by the session between two joins.
	renewed byte
	// invain is how often in a row the group was made to share out anew for partitions that are nobody's. Owned as renewed is.
	invain int
	// last is the generation that JoinGroup led to last; -1 before. Owned as renewed is.
	last int32
	// before is, with StartLatest, how many partitions each topic had when Run began; nil until it is known. Owned by join.
	before map[string]int

	pool          *lane.Pool[record]
	seed          maphash.Seed // of the lanes' keys
	metadataLimit atomic.Int32 // of a commit's metadata, in bytes

	mu     sync.Mutex
	broker int32
	known  bool

	missing map[string]bool // topics that were logged as missing; owned by the session between two joins
	hidden  map[string]bool // topics that were logged as not to be described; guarded by mu
}

func newMember(p *Params, log *slog.Logger) *member {
	m := &member{
		p: p, log: log, out: &outage{log: log}, last: -1, missing: map[string]bool{}, hidden: map[string]bool{},
		pool: newPool(p), seed: maphash.MakeSeed(),
	}
	m.metadataLimit.Store(metadataLimit)
	return m
}

const coordinatorDown = "group coordinator"

// call sends a request to the coordinator, looking for it first where it is not known.
func (m *member) call(ctx context.Context, lane cluster.Lane, req request, timeout time.Duration) (*reader, int16, error) {
	broker, err := m.coordinator(ctx)
	if err != nil {
		return nil, 0, err
	}
	r, v, err := call(ctx, m.p.Cluster, broker, lane, req, timeout)
	if err != nil && ctx.Err() == nil {
		m.forget(broker)
	}
	return r, v, err
}

func (m *member) coordinator(ctx context.Context) (int32, error) {
	m.mu.Lock()
	broker, known := m.broker, m.known
	m.mu.Unlock()
	if known {
		return broker, nil
	}
	broker, err := m.p.Cluster.Coordinator(ctx, m.p.Group)
	if err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broker, m.known = broker, true
	return broker, nil
}

// forget makes the next call look for the coordinator, unless somebody else has found another meanwhile.
func (m *member) forget(broker int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broker == broker {
		m.known = false
	}
}

// check forgets a coordinator that says it is none.
func (m *member) check(code kerr.Code) error {
	if moved(code) {
		m.mu.Lock()
		m.known = false
		m.mu.Unlock()
	}
	return code.Err()
}

func retryPolicy() backoff.Policy {
	return backoff.Policy{Min: 50 * time.Millisecond, Max: time.Second}
}

// held is what a member keeps while it joins again: nil for one that has given everything up, or has never had anything.
type held struct {
	owned      []topicPartitions
	generation int32 // in which it got them
}

// join becomes a member, trying until it does, ctx ends, or the error is final.
//
// Whoever joins again while it holds partitions gets an error that [kerr.UnknownMemberId] or [kerr.IllegalGeneration] is
// the cause of when they may be another member's by now: then it is not tried again.
func (m *member) join(ctx context.Context, h *held) (*generation, error) {
	retry := retryPolicy()
	for n := 0; ; n++ {
		g, err := m.tryJoin(ctx, h)
		if err == nil {
			m.out.ok(ctx, coordinatorDown)
			return g, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		switch reactionTo(err) {
		case endRun:
			return nil, fmt.Errorf("consumer: join group %s: %w", m.p.Group, err)
		case loseAll:
			if h != nil {
				return nil, err
			}
			if errors.Is(err, kerr.UnknownMemberId) {
				m.id = ""
			}
			if n == 0 {
				continue
			}
		case joinAgain:
			// Part of the procedure; one comes with an ID, the other after a wait on the broker's side.
			if n < 3 {
				continue
			}
		case goOn, tryAgain:
			m.out.fail(ctx, coordinatorDown, err)
		}
		if !retry.Wait(ctx, n) {
			return nil, ctx.Err()
		}
	}
}

func (m *member) tryJoin(ctx context.Context, h *held) (*generation, error) {
	if m.p.StartLatest && m.before == nil {
		before := make(map[string]int, len(m.p.Topics))
		for _, t := range m.p.Topics {
			before[t] = 0
		}
		if err := m.count(ctx, before); err != nil {
			return nil, err
		}
		m.before = before
	}
	first := m.id == ""
	// The answer waits until every member has joined, or has used up its rebalance timeout.
	slow := m.p.RebalanceTimeout + requestTimeout
	r, v, err := m.call(ctx, cluster.Group, joinRequest(m.p, m.id, m.offers(h)), slow)
	if err != nil {
		return nil, err
	}
	a, err := decodeJoin(r, v)
	if err != nil {
		return nil, err
	}
	if a.code == kerr.MemberIdRequired {
		m.id = a.member
	}
	if err := m.check(a.code); err != nil {
		if a.code == kerr.InconsistentGroupProtocol {
			err = fmt.Errorf("another member of the group knows none of the assignors %v: %w", m.p.Balancers, err)
		}
		return nil, err
	}
	chosen, ok := m.p.balancer(a.protocol)
	if !ok {
		return nil, fmt.Errorf("the group chose the protocol %q: %w", a.protocol, kerr.InconsistentGroupProtocol)
	}
	m.id = a.member
	missed := h != nil && a.generation > m.last+1
	m.last = a.generation
	if missed {
		// In the one between, which knew nothing of what is held here, others may have got it.
		return nil, fmt.Errorf("the group went on to generation %d without this member: %w", a.generation, kerr.IllegalGeneration)
	}
	g := &generation{id: a.generation, member: a.member, leader: a.leader, first: first}
	var assignments map[string][]topicPartitions
	if a.leader == a.member {
		if assignments, g.watched, err = m.assign(ctx, chosen, a.members); err != nil {
			return nil, err
		}
	}
	g.synced = time.Now()
	r, _, err = m.call(ctx, cluster.Group, syncRequest(m.p, g, assignments), slow)
	if err != nil {
		return nil, err
	}
	code, assigned, err := decodeSync(r)
	if err != nil {
		return nil, err
	}
	if err := m.check(code); err != nil {
		return nil, err
	}
	g.assigned = assigned
	return g, nil
}

// offers is what JoinGroup says: each assignor with the subscription as its leader wants it.
func (m *member) offers(h *held) []protocolOffer {
	offers := make([]protocolOffer, 0, len(m.p.Balancers))
	for _, b := range m.p.Balancers {
		sub := subscription{topics: m.p.Topics, generation: -1}
		if h != nil {
			sub.owned, sub.generation = h.owned, h.generation
		}
		sub.userData = b.userData(sub.generation, m.renewed)
		offers = append(offers, protocolOffer{b.String(), sub.encode()})
	}
	return offers
}

// assign is the leader's duty: to say who gets what, for topics that may not be its own.
func (m *member) assign(ctx context.Context, chosen Balancer, joined []joinMember) (map[string][]topicPartitions, map[string]int, error) {
	members := make([]groupMember, 0, len(joined))
	watched := map[string]int{}
	for _, j := range joined {
		gm := groupMember{id: j.id, instance: j.instance}
		sub, err := decodeSubscription(j.metadata)
		if err != nil {
			m.log.WarnContext(ctx, "a member of the group cannot be understood and gets no partitions", "member", j.id, "error", err)
		} else {
			gm.topics, gm.owned, gm.generation = sub.topics, sub.owned, chosen.generation(sub)
		}
		for _, t := range gm.topics {
			watched[t] = 0
		}
		members = append(members, gm)
	}
	if err := m.count(ctx, watched); err != nil {
		return nil, nil, err
	}
	return chosen.assign(members, watched), watched, nil
}

// count fills in how many partitions each topic has; none where it does not exist.
func (m *member) count(ctx context.Context, topics map[string]int) error {
	names := make([]string, 0, len(topics))
	for t := range topics {
		names = append(names, t)
	}
	md, err := m.p.Cluster.Metadata(ctx, names...)
	if err != nil {
		return err
	}
	for _, name := range names {
		t := md.Topics[name]
		if t == nil {
			topics[name] = 0
			continue
		}
		switch t.Err {
		case kerr.None:
		case kerr.UnknownTopicOrPartition, kerr.LeaderNotAvailable:
			topics[name] = 0
			continue
		case kerr.TopicAuthorizationFailed, kerr.InvalidTopicException:
			if m.subscribes(name) {
				return fmt.Errorf("topic %s: %w", name, t.Err)
			}
			m.logHidden(ctx, name, t.Err)
			topics[name] = 0
			continue
		default:
			return fmt.Errorf("topic %s: %w", name, t.Err)
		}
		topics[name] = len(t.Partitions)
	}
	return nil
}

// logHidden says once of a topic of other members that this one, their leader, cannot give it to them.
func (m *member) logHidden(ctx context.Context, topic string, err error) {
	m.mu.Lock()
	known := m.hidden[topic]
	m.hidden[topic] = true
	m.mu.Unlock()
	if !known {
		m.log.WarnContext(ctx, "this member leads the group and may not describe a topic of another member, which gets none of its partitions: "+
			"grant DESCRIBE on it, or let the services have groups of their own", "messaging.destination.name", topic, "error", err)
	}
}

func (m *member) subscribes(topic string) bool {
	return slices.Contains(m.p.Topics, topic)
}

// logMissing says once of each of our topics that it does not exist.
func (m *member) logMissing(ctx context.Context, g *generation) {
	for t, n := range g.watched {
		if n > 0 {
			delete(m.missing, t)
			continue
		}
		if m.subscribes(t) && !m.missing[t] {
			m.missing[t] = true
			m.log.WarnContext(ctx, "the topic does not exist yet; it is consumed as soon as it does", "messaging.destination.name", t)
		}
	}
}

// heartbeat tells the coordinator that this member is alive.
func (m *member) heartbeat(ctx context.Context, g *generation) (kerr.Code, error) {
	timeout := min(requestTimeout, m.p.SessionTimeout/2)
	r, _, err := m.call(ctx, cluster.Heartbeat, heartbeatRequest(m.p, g), timeout)
	if err != nil {
		return 0, err
	}
	code, err := decodeCode(r)
	if err != nil {
		return 0, err
	}
	_ = m.check(code)
	return code, nil
}

// leave tells the coordinator not to wait for this member's session to end. A
// static member stays: who comes back within its session keeps its partitions.
func (m *member) leave(ctx context.Context) {
	if m.id == "" || m.p.InstanceID != "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	// Not on the lane of JoinGroup, whose answer may still be on its way.
	r, _, err := m.call(ctx, cluster.Heartbeat, leaveRequest(m.p, m.id), leaveTimeout)
	var code kerr.Code
	if err == nil {
		if code, err = decodeCode(r); err == nil {
			err = code.Err()
		}
	}
	if err != nil && !errors.Is(err, kerr.UnknownMemberId) {
		m.log.WarnContext(ctx, "the group was not told that this member leaves; its partitions wait for its session to end", "error", err)
	}
	m.id = ""
}

const leaveTimeout = 2 * time.Second
