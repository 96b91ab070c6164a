package messaging

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/expensevault/sharedlibrary/internal/consumer"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// Redrive moves dead letters back to the topics that they came from, once what
// made them fail is mended. Its fields say which; the zero value of each but
// the first two asks for nothing. Run it by [Redrive.Run].
//
//   - It reads the dead-letter topic up to its end as it was at the beginning:
//     what fails again and comes back is not taken twice.
//   - A redriven record has the key, the value and the headers of the original,
//     without those of the dead letter, and the moment of redriving as its
//     timestamp: an old one might be removed by the topic's retention at once.
//     It comes behind what was published meanwhile, also with its key.
//   - The dead-letter topic is not changed. Which letters were redriven is
//     remembered as the offsets of a consumer group, see Remember, letter by
//     letter: what a filter left out is still there for a later redrive, and
//     what was sent is not sent again.
//   - A letter is remembered after its record was acknowledged. So a redrive that
//     is killed loses none, and the next one may send again what it was just
//     sending, 100 letters at most, as does a second redrive at the same time.
//     Handlers have to bear that, as they bear every redelivery.
type Redrive struct {
	Config Config
	// DeadLetters is the dead-letter topic. Config.Topics is applied.
	DeadLetters string

	// The filter. A letter has to pass all of them, and to match one value of each list.
	FailedFrom  time.Time // by dlt-failed-at; the letter's timestamp where that is missing
	FailedUntil time.Time // exclusive
	ErrorTypes  []string  // by dlt-error-type
	Topics      []string  // by dlt-original-topic, as on the broker
	Groups      []string  // by dlt-original-consumer-group
	Keys        []string

	// OnlyFailedGroup has a record handled again by the group alone whose handler
	// failed: it is marked by the header retry-consumer-group, and the subscribers of
	// other groups pass it over. Consumers that are not of this library do not know
	// the header; where there are such, use a retry topic of the group, see To.
	OnlyFailedGroup bool
	// To is where to, by default "{topic}": {topic} stands for the original topic,
	// {group} for the group that failed. A retry topic, see [WithRetryTopics], is read by nobody else.
	To string

	DryRun    bool // nothing is sent and nothing remembered; the result counts what would be
	PerSecond int  // records a second at most; 0: as fast as they are acknowledged
	// Remember is the consumer group whose offsets say what was redriven; by default
	// the dead-letter topic's name with -redrive behind it. To redrive letters once
	// more, set it back by [SeekGroup], or name another. Members it must have none.
	Remember string

	Each     func(DeadLetter)    // is told of each letter that is, or in a dry run would be, redriven, before it is
	Progress func(RedriveResult) // is told after each step of 100 letters at most, and after each partition
	Logger   *slog.Logger        // nil: [slog.Default]
}

// RedriveResult counts what a [Redrive] did, or by a dry run would do.
type RedriveResult struct {
	Read     int // letters from the place on up to which all are redriven
	Before   int // of these, redriven earlier
	Foreign  int // without the headers of a dead letter of this library; never redriven
	Filtered int // left out by the filter
	Matched  int // to be redriven
	Sent     int // and acknowledged
	// ByErrorType counts the matched ones.
	ByErrorType map[string]int
}

// String tells the result on one line, for a log.
func (r RedriveResult) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%d dead letters read: %d matched, %d sent, %d left out, %d sent before, %d foreign",
		r.Read, r.Matched, r.Sent, r.Filtered, r.Before, r.Foreign)
	for _, name := range slices.Sorted(maps.Keys(r.ByErrorType)) {
		fmt.Fprintf(&s, "; %s: %d", name, r.ByErrorType[name])
	}
	return s.String()
}

// redriveStep is how many letters are under way at once.
const redriveStep = 100

// Run redrives until the end, ctx's end, or the first record that cannot be
// written; its result says how far it came, with an error too. It may be called
// again. Brokers that are away are waited for, each time for
// Config.MessageTimeout at most.
//
// errors.Is finds [ErrTimeout], [ErrUnknownTopic], [ErrNotAuthorized] and
// [ErrAuthentication] in its error. Rights needed: READ on the dead-letter topic and
// on the group that remembers, WRITE on the topics redriven to.
func (r Redrive) Run(ctx context.Context) (RedriveResult, error) {
	d := redrive{Redrive: r, log: r.Logger, topic: r.Config.TopicName(r.DeadLetters)}
	if d.log == nil {
		d.log = slog.Default()
	}
	if err := d.check(); err != nil {
		return RedriveResult{}, err
	}
	d.result.ByErrorType = map[string]int{}
	admin, err := newGroupAdmin(&r.Config, d.Remember, d.log, nil)
	if err != nil {
		return d.result, err
	}
	defer admin.close()
	d.admin = admin
	if !r.DryRun {
		pub, err := newSafePublisher(r.Config, WithLogger(d.log))
		if err != nil {
			return d.result, err
		}
		defer func() { _ = pub.Close() }() //nolint:contextcheck // bounded; what was sent is settled
		d.pub = pub
	}
	err = d.run(ctx)
	return d.result, err
}

// redrive is one run.
type redrive struct {
	Redrive

	log    *slog.Logger
	topic  string
	admin  *groupAdmin
	pub    *KafkaPublisher // nil in a dry run
	begin  time.Time
	result RedriveResult
}

func (d *redrive) check() error {
	if err := d.Config.Validate(); err != nil {
		return err
	}
	if d.DeadLetters == "" {
		return errors.New("messaging: Redrive: name the dead-letter topic in DeadLetters")
	}
	if err := checkTopicName(d.topic); err != nil {
		return fmt.Errorf("messaging: Redrive: %w", err)
	}
	if d.PerSecond < 0 {
		return fmt.Errorf("messaging: Redrive: PerSecond is %d: give 0 for no limit, or more", d.PerSecond)
	}
	if !d.FailedFrom.IsZero() && !d.FailedUntil.IsZero() && !d.FailedFrom.Before(d.FailedUntil) {
		return fmt.Errorf("messaging: Redrive: nothing fails from %s until %s: give FailedFrom before FailedUntil", d.FailedFrom, d.FailedUntil)
	}
	if d.To == "" {
		d.To = "{topic}"
	}
	if d.Remember == "" {
		d.Remember = d.topic + "-redrive"
	}
	return nil
}

func (d *redrive) run(ctx context.Context) error {
	tps, err := d.admin.Partitions(ctx, d.topic)
	if err != nil {
		return d.admin.fail("redrive", err)
	}
	ends, err := d.admin.Offsets(ctx, consumer.Latest, tps...)
	if err != nil {
		return d.admin.fail("redrive", err)
	}
	starts, err := d.admin.Offsets(ctx, consumer.Earliest, tps...)
	if err != nil {
		return d.admin.fail("redrive", err)
	}
	commits, err := d.admin.Committed(ctx, tps...)
	if err != nil {
		return d.admin.fail("redrive", err)
	}
	d.begin = time.Now()
	for _, tp := range tps {
		p := redrivePartition{redrive: d, tp: tp, end: ends[tp]}
		c := commits[tp]
		if c.Offset > p.end {
			return fmt.Errorf("messaging: redrive: group %s stands at offset %d of %s, which ends at %d: the topic was created anew; set the group back with SeekGroup",
				d.Remember, c.Offset, tp, p.end)
		}
		if p.sent, err = parseSpans(c.Offset, c.Metadata); err != nil {
			return fmt.Errorf("messaging: redrive: what group %s remembers of %s is not a redrive's: %w; name another group in Remember", d.Remember, tp, err)
		}
		p.sent.add(0, starts[tp]) // what is no more
		p.seen = p.sent.base
		if err := p.run(ctx); err != nil {
			if _, ours := errors.AsType[*PublishError](err); !ours {
				err = classify(err)
			}
			return fmt.Errorf("messaging: redrive %s: %w (%s)", tp, err, d.result)
		}
	}
	return nil
}

// redrivePartition is one partition's letters.
type redrivePartition struct {
	*redrive

	tp   TopicPartition
	end  int64
	sent spans
	seen int64 // all below was looked at
	step []redriven
}

// redriven is a letter under way, with the offsets that it stands for: its own, and those without a record before it.
type redriven struct {
	from, to int64
	rec      Record
}

func (p *redrivePartition) run(ctx context.Context) error {
	err := p.admin.Read(ctx, p.tp, p.sent.base, p.end, func(recs []*recordbatch.Record, _ int64) error {
		for _, rec := range recs {
			p.look(rec)
			if len(p.step) >= p.stepSize() {
				if err := p.send(ctx); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := p.send(ctx); err != nil {
		return err
	}
	if !p.DryRun && p.sent.base == p.seen && p.seen < p.end { // offsets without a record
		p.sent.add(p.seen, p.end)
		return p.remember(ctx)
	}
	return nil
}

func (d *redrive) stepSize() int {
	if d.PerSecond == 0 {
		return redriveStep
	}
	return min(max(d.PerSecond/10, 1), redriveStep)
}

// look decides what is to become of a letter.
func (p *redrivePartition) look(rec *recordbatch.Record) {
	from, to := p.seen, rec.Offset+1
	p.seen = to
	p.result.Read++
	if p.sent.has(rec.Offset) {
		p.result.Before++
		return
	}
	letter, err := deadLetterOf(rec)
	if err == nil && p.OnlyFailedGroup && letter.Group == "" {
		err = errors.New("it names no group")
	}
	if err != nil {
		p.result.Foreign++
		p.log.Warn("This is no dead letter that can be redriven", "messaging.destination.name", p.topic,
			"messaging.destination.partition.id", rec.Partition, "messaging.kafka.offset", rec.Offset, "error", err)
		return
	}
	if !p.matches(&letter) {
		p.result.Filtered++
		return
	}
	p.result.Matched++
	p.result.ByErrorType[cmp.Or(letter.ErrorType, "unknown")]++
	if p.Each != nil {
		p.Each(letter)
	}
	if !p.DryRun {
		p.step = append(p.step, redriven{from, to, p.original(&letter)})
	}
}

func (d *redrive) matches(l *DeadLetter) bool {
	oneOf := func(list []string, s string) bool { return len(list) == 0 || slices.Contains(list, s) }
	return oneOf(d.ErrorTypes, l.ErrorType) && oneOf(d.Topics, l.OriginalTopic) && oneOf(d.Groups, l.Group) &&
		oneOf(d.Keys, string(l.Key)) &&
		(d.FailedFrom.IsZero() || !l.FailedAt.Before(d.FailedFrom)) &&
		(d.FailedUntil.IsZero() || l.FailedAt.Before(d.FailedUntil))
}

// original is the record that failed, as it is to be handled again.
func (d *redrive) original(l *DeadLetter) Record {
	r := Record{
		Topic: strings.NewReplacer("{topic}", l.OriginalTopic, "{group}", l.Group).Replace(d.To),
		Key:   l.Key, Value: l.Value, Headers: slices.Clip(l.Headers), Timestamp: time.Time{},
	}
	if d.OnlyFailedGroup {
		r.Headers = append(r.Headers, Header{Key: headerRetryGroup, Value: []byte(l.Group)})
	}
	return r
}

// send redrives a step, and remembers what of it was acknowledged.
func (p *redrivePartition) send(ctx context.Context) error {
	defer func() {
		if p.Progress != nil {
			r := p.result
			r.ByErrorType = maps.Clone(r.ByErrorType)
			p.Progress(r)
		}
	}()
	if len(p.step) == 0 {
		return ctx.Err()
	}
	if err := p.pace(ctx); err != nil {
		return err
	}
	recs := make([]Record, len(p.step))
	for i := range p.step {
		recs[i] = p.step[i].rec
	}
	failed, err := p.pub.publishEach(ctx, recs)
	for i, s := range p.step {
		if !failed[i] {
			p.sent.add(s.from, s.to)
			p.result.Sent++
		}
	}
	p.step = p.step[:0]
	// Even if ctx has ended: what was acknowledged is not to be sent again.
	memory, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.Config.MessageTimeout)
	defer cancel()
	if memoryErr := p.remember(memory); memoryErr != nil {
		err = errors.Join(err, fmt.Errorf("some letters were redriven that could not be remembered, and the next redrive will send them again: %w", memoryErr))
	}
	return err
}

// pace waits until another step is due.
func (d *redrive) pace(ctx context.Context) error {
	if d.PerSecond == 0 {
		return nil
	}
	due := d.begin.Add(time.Duration(float64(d.result.Sent) / float64(d.PerSecond) * float64(time.Second)))
	t := time.NewTimer(time.Until(due))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *redrivePartition) remember(ctx context.Context) error {
	metadata, err := p.sent.metadata()
	if err != nil {
		return err
	}
	err = p.admin.Commit(ctx, map[TopicPartition]consumer.Commit{p.tp: {Offset: p.sent.base, Metadata: metadata}})
	if errors.Is(err, consumer.ErrGroupActive) {
		return fmt.Errorf("group %s, which remembers what was redriven, must have no members: name another in Remember: %w", p.Remember, err)
	}
	return err
}

// publishEach publishes records as they are; its error is of all that failed, and the set names these.
func (p *KafkaPublisher) publishEach(ctx context.Context, recs []Record) (failed map[int]bool, err error) {
	c := p.call()
	defer p.calls.Put(c)
	now := time.Now()
	for i := range recs {
		c.add(recs[i].plain(now), recs[i].eventID())
	}
	err = c.publish(ctx, p.engine)
	failed = make(map[int]bool, len(c.failed))
	for _, f := range c.failed {
		failed[f.n] = true
	}
	return failed, err
}
