package messaging

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RetentionForever is a [TopicSpec.Retention] without an end.
const RetentionForever time.Duration = -1

// configRetention is Kafka's name of [TopicSpec.Retention].
const configRetention = "retention.ms"

// TopicSpec is a topic as a service wants it. What is zero is left to the
// broker's defaults, and not compared.
type TopicSpec struct {
	Name              string        // the default name, as of [events.Topic.String]: Config.Topics is applied
	Partitions        int           //
	ReplicationFactor int           //
	Retention         time.Duration // in whole milliseconds, or [RetentionForever]
	// Config holds further settings under Kafka's own names, such as
	// cleanup.policy or min.insync.replicas. An empty value is a value.
	// Source: https://kafka.apache.org/documentation/#topicconfigs
	Config map[string]string
}

// TopicState is what [EnsureTopics] found, or did, about one topic.
type TopicState struct {
	Name        string            // on the broker
	Created     bool              // by this call; false also when another process was faster
	Differences []TopicDifference // of a topic that was there before; nil when it is as wanted
}

// TopicDifference is one point in which a topic is not as its spec wants it.
type TopicDifference struct {
	Setting string // partitions, replication factor, or Kafka's name of a setting
	Want    string
	Have    string // "unset" when the broker does not know the setting
}

func (d TopicDifference) String() string {
	return d.Setting + " is " + d.Have + ", wanted is " + d.Want
}

// String tells the state on one line, for a log.
func (s TopicState) String() string {
	switch {
	case s.Created:
		return s.Name + ": created"
	case len(s.Differences) == 0:
		return s.Name + ": exists"
	}
	parts := make([]string, len(s.Differences))
	for i, d := range s.Differences {
		parts[i] = d.String()
	}
	return s.Name + ": differs: " + strings.Join(parts, "; ")
}

// EnsureTopics creates the topics that are missing and says how the others
// differ from their specs; it never changes or deletes one. Two processes may
// do so at once. When it returns, the topics that it created have a leader for
// every partition.
//
// It tries again what may pass, for Config.MessageTimeout at most, and ends
// with ctx at once. The states are in the specs' order, one per name on the
// broker, without those that failed; the error joins what went wrong with each
// of these and is nil when all is well: differences are no error. errors.Is
// finds [ErrNotAuthorized], [ErrAuthentication] and [ErrTimeout] in it.
//
// Rights needed: DESCRIBE on the topics; CREATE on those that are missing (or
// on the cluster); DESCRIBE_CONFIGS where Retention or Config are to be compared.
func EnsureTopics(ctx context.Context, cfg Config, specs ...TopicSpec) ([]TopicState, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	topics, err := wantedTopics(cfg, specs)
	if err != nil || len(topics) == 0 {
		return nil, err
	}
	admin, err := newTopicAdmin(cfg)
	if err != nil {
		return nil, err
	}
	defer admin.close()
	return admin.ensure(ctx, topics)
}

// wantedTopic is a checked spec under its name on the broker, and what came of it.
type wantedTopic struct {
	TopicSpec
	settings map[string]string // Config and Retention in one

	created    bool  // the broker said so
	taken      bool  // the broker said that it is there already
	partitions int   // of an existing topic, once they are known
	replicas   []int // their number, for each partition
	configs    map[string]string
	late       bool  // not settled in time
	err        error // final
}

// wantedTopics reports everything that is wrong with the specs.
func wantedTopics(cfg Config, specs []TopicSpec) ([]*wantedTopic, error) {
	var out []*wantedTopic
	var errs []error
	byName := make(map[string]*wantedTopic, len(specs))
	for _, s := range specs {
		asked := s.Name
		s.Name = cfg.TopicName(s.Name)
		settings, err := s.check()
		if err != nil {
			errs = append(errs, fmt.Errorf("messaging: topic %q: %w", asked, err))
			continue
		}
		w := &wantedTopic{TopicSpec: s, settings: settings}
		if other := byName[s.Name]; other != nil {
			if !w.same(other) {
				errs = append(errs, fmt.Errorf("messaging: topic %q: two specs want it differently: leave one of them out", s.Name))
			}
			continue
		}
		byName[s.Name] = w
		out = append(out, w)
	}
	return out, errors.Join(errs...)
}

func (s *TopicSpec) check() (map[string]string, error) {
	errs := []error{checkTopicName(s.Name)}
	if s.Partitions < 0 || s.Partitions > math.MaxInt32 {
		errs = append(errs, fmt.Errorf("has Partitions %d: give 1 or more, or 0 for the broker's default", s.Partitions))
	}
	if s.ReplicationFactor < 0 || s.ReplicationFactor > math.MaxInt16 {
		errs = append(errs, fmt.Errorf("has ReplicationFactor %d: give 1 or more, or 0 for the broker's default", s.ReplicationFactor))
	}
	settings := maps.Clone(s.Config)
	if settings == nil {
		settings = map[string]string{}
	}
	if _, ok := settings[""]; ok {
		errs = append(errs, errors.New("has a setting without a name in Config"))
	}
	if _, ok := settings[configRetention]; ok && s.Retention != 0 {
		errs = append(errs, errors.New("has both Retention and Config[retention.ms]: give one of them"))
	}
	switch ms := s.Retention.Milliseconds(); {
	case s.Retention == 0:
	case s.Retention == RetentionForever:
		settings[configRetention] = "-1"
	case s.Retention < 0 || s.Retention%time.Millisecond != 0:
		errs = append(errs, fmt.Errorf("has Retention %s: give whole milliseconds, RetentionForever, or 0 for the broker's default", s.Retention))
	default:
		settings[configRetention] = strconv.FormatInt(ms, 10)
	}
	return settings, errors.Join(errs...)
}

func (w *wantedTopic) same(o *wantedTopic) bool {
	return w.Partitions == o.Partitions && w.ReplicationFactor == o.ReplicationFactor && maps.Equal(w.settings, o.settings)
}

// state compares what is wanted with what is there.
func (w *wantedTopic) state() TopicState {
	s := TopicState{Name: w.Name, Created: w.created}
	if w.created {
		return s
	}
	differ := func(setting, want, have string) {
		s.Differences = append(s.Differences, TopicDifference{Setting: setting, Want: want, Have: have})
	}
	if w.Partitions != 0 && w.partitions != w.Partitions {
		differ("partitions", strconv.Itoa(w.Partitions), strconv.Itoa(w.partitions))
	}
	if lo, hi := extremes(w.replicas); w.ReplicationFactor != 0 && (lo != w.ReplicationFactor || hi != w.ReplicationFactor) {
		have := strconv.Itoa(lo)
		if lo != hi {
			have += " to " + strconv.Itoa(hi) // as in the middle of a reassignment
		}
		differ("replication factor", strconv.Itoa(w.ReplicationFactor), have)
	}
	for _, name := range slices.Sorted(maps.Keys(w.settings)) {
		want := w.settings[name]
		switch have, ok := w.configs[name]; {
		case !ok:
			differ(name, want, "unset")
		case !sameSetting(want, have):
			differ(name, want, cmp.Or(have, `""`))
		}
	}
	return s
}

func extremes(n []int) (lo, hi int) {
	if len(n) == 0 {
		return 0, 0
	}
	return slices.Min(n), slices.Max(n)
}

// sameSetting does not mind the order and the spaces of lists, such as "compact, delete".
func sameSetting(a, b string) bool {
	list := func(s string) []string {
		parts := strings.Split(s, ",")
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		slices.Sort(parts)
		return parts
	}
	return a == b || slices.Equal(list(a), list(b))
}
