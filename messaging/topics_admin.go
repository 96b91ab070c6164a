package messaging

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"

	"github.com/expensevault/sharedlibrary/internal/backoff"
	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/kerr"
	"github.com/expensevault/sharedlibrary/internal/wire"
)

// configResourceTopic is the type of a topic in a DescribeConfigs request.
const configResourceTopic int8 = 2

// topicAdmin creates and describes topics. It is of use for one call of ensure.
type topicAdmin struct {
	cluster *cluster.Cluster
	bound   time.Duration // of all of it
	pauses  backoff.Policy
}

func newTopicAdmin(cfg Config) (*topicAdmin, error) {
	params, err := cfg.clusterParams(slog.Default())
	if err != nil {
		return nil, err
	}
	return &topicAdmin{
		cluster: cluster.New(params),
		bound:   cfg.MessageTimeout,
		pauses:  backoff.Policy{Min: min(firstBackoff, cfg.RetryBackoff), Max: cfg.RetryBackoff},
	}, nil
}

func (a *topicAdmin) close() { a.cluster.Close() }

// ensure brings each topic to an end of its own: found, created, or failed.
func (a *topicAdmin) ensure(ctx context.Context, topics []*wantedTopic) ([]TopicState, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, a.bound, ErrTimeout)
	defer cancel()
	var errs []error
	for _, step := range []topicStep{a.settle, a.describe} {
		if err := a.again(ctx, topics, step); err != nil {
			errs = append(errs, fmt.Errorf("messaging: ensure topics: %w", err))
		}
	}
	var states []TopicState
	for _, w := range topics {
		switch {
		case w.err != nil:
			errs = append(errs, w.err)
		case !w.late:
			states = append(states, w.state())
		}
	}
	return states, errors.Join(errs...)
}

// topicStep does what it can for some topics. It returns those that another
// try may bring further, and why they need one.
type topicStep func(context.Context, []*wantedTopic) ([]*wantedTopic, error)

// again repeats a step until it leaves no topic, the refusal is final, or ctx
// ends; the topics left then are late, and the error says why.
func (a *topicAdmin) again(ctx context.Context, topics []*wantedTopic, step topicStep) error {
	left := slices.DeleteFunc(slices.Clone(topics), func(w *wantedTopic) bool { return w.late })
	var last error // that is not merely the end of ctx
	for try := 0; ; try++ {
		before := len(left)
		var err error
		if left, err = step(ctx, left); len(left) == 0 {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		var auth *wire.AuthError
		refused := errors.As(err, &auth)
		if len(left) < before {
			try = 0
		}
		if !refused && a.pauses.Wait(ctx, try) {
			continue
		}
		names := make([]string, len(left))
		for i, w := range left {
			w.late = true
			names[i] = w.Name
		}
		switch {
		case refused:
			return classify(err)
		case errors.Is(context.Cause(ctx), ErrTimeout):
			return fmt.Errorf("%w: topics left open: %s: %w", ErrTimeout, strings.Join(names, ", "), last)
		default:
			return fmt.Errorf("%w: topics left open: %s: %w", ctx.Err(), strings.Join(names, ", "), last)
		}
	}
}

// settle asks which topics are there and creates those that are not.
func (a *topicAdmin) settle(ctx context.Context, topics []*wantedTopic) ([]*wantedTopic, error) {
	names := make([]string, len(topics))
	for i, w := range topics {
		names[i] = w.Name
	}
	md, err := a.cluster.Metadata(ctx, names...)
	if err != nil {
		return topics, err
	}
	var left, missing []*wantedTopic
	for _, w := range topics {
		settled, err2 := w.see(md.Topics[w.Name])
		switch {
		case settled:
		case errors.Is(err2, kerr.UnknownTopicOrPartition) && !w.created && !w.taken:
			missing = append(missing, w)
		default:
			left = append(left, w)
			err = fmt.Errorf("topic %s: %w", w.Name, err2)
		}
	}
	if len(missing) == 0 {
		return left, err
	}
	unmade, err2 := a.create(ctx, md, missing)
	if err2 != nil {
		err = err2
	}
	return append(left, unmade...), err
}

// see takes what a broker says of the topic; its error is why that settles nothing yet.
func (w *wantedTopic) see(t *cluster.Topic) (settled bool, err error) {
	if t == nil {
		return false, errors.New("the broker left it out of its answer")
	}
	switch {
	case t.Err == kerr.TopicAuthorizationFailed:
		w.err = fmt.Errorf("messaging: topic %s: %w; the right DESCRIBE is needed", w.Name, classify(t.Err))
		return true, nil
	case t.Err == kerr.InvalidTopicException:
		w.err = fmt.Errorf("messaging: topic %s: %w", w.Name, t.Err)
		return true, nil
	case t.Err != kerr.None:
		return false, t.Err
	}
	w.partitions = len(t.Partitions)
	w.replicas = w.replicas[:0]
	for _, p := range t.Partitions {
		if w.created && p.Leader < 0 {
			return false, fmt.Errorf("partition %d: %w", p.ID, kerr.LeaderNotAvailable)
		}
		w.replicas = append(w.replicas, p.Replicas)
	}
	return true, nil
}

// create asks the controller for the topics. Those that it says it created are
// left as well: they are settled when metadata shows them.
func (a *topicAdmin) create(ctx context.Context, md *cluster.Metadata, topics []*wantedTopic) ([]*wantedTopic, error) {
	timeout := a.cluster.RequestTimeout()
	req := &createtopics.Request{TimeoutMs: int32(min(timeout/2, time.Hour).Milliseconds())} //nolint:gosec // an hour fits
	for _, w := range topics {
		req.Topics = append(req.Topics, w.request())
	}
	controller := md.Controller
	if !slices.Contains(md.Brokers, controller) {
		controller = cluster.Any // it passes the request on
	}
	res, err := roundTrip[*createtopics.Response](ctx, a.cluster, controller, req, timeout)
	if err != nil {
		return topics, fmt.Errorf("create topics: %w", err)
	}
	answers := make(map[string]createtopics.ResponseTopic, len(res.Topics))
	for _, t := range res.Topics {
		answers[t.Name] = t
	}
	var left []*wantedTopic
	err = errors.New("the topics that were created are not visible yet")
	for _, w := range topics {
		t, ok := answers[w.Name]
		switch code := kerr.Code(t.ErrorCode); {
		case !ok:
			left, err = append(left, w), fmt.Errorf("topic %s: the broker left it out of its answer", w.Name)
		case code == kerr.None:
			w.created = true
			left = append(left, w)
		case code == kerr.TopicAlreadyExists:
			w.taken = true
			left = append(left, w)
		case passing(code):
			left, err = append(left, w), fmt.Errorf("topic %s: create: %w", w.Name, told(code, t.ErrorMessage))
		default:
			hint := ""
			if code == kerr.TopicAuthorizationFailed || code == kerr.ClusterAuthorizationFailed {
				hint = "; the topic is missing, and the right CREATE is needed on it or on the cluster"
			}
			w.err = fmt.Errorf("messaging: topic %s: create: %w%s", w.Name, classify(told(code, t.ErrorMessage)), hint)
		}
	}
	return left, err
}

func (w *wantedTopic) request() createtopics.RequestTopic {
	t := createtopics.RequestTopic{Name: w.Name, NumPartitions: -1, ReplicationFactor: -1}
	if w.Partitions != 0 {
		t.NumPartitions = int32(w.Partitions) //nolint:gosec // checked with the spec
	}
	if w.ReplicationFactor != 0 {
		t.ReplicationFactor = int16(w.ReplicationFactor) //nolint:gosec // checked with the spec
	}
	for _, name := range slices.Sorted(maps.Keys(w.settings)) {
		t.Configs = append(t.Configs, createtopics.RequestConfig{Name: name, Value: w.settings[name]})
	}
	return t
}

// describe fetches the settings that are wanted otherwise than by default.
func (a *topicAdmin) describe(ctx context.Context, topics []*wantedTopic) ([]*wantedTopic, error) {
	topics = slices.DeleteFunc(topics, func(w *wantedTopic) bool { return w.err != nil || w.created || len(w.settings) == 0 })
	if len(topics) == 0 {
		return nil, nil
	}
	req := &describeconfigs.Request{}
	for _, w := range topics {
		req.Resources = append(req.Resources, describeconfigs.RequestResource{
			ResourceType: configResourceTopic, ResourceName: w.Name, ConfigNames: slices.Sorted(maps.Keys(w.settings)),
		})
	}
	res, err := roundTrip[*describeconfigs.Response](ctx, a.cluster, cluster.Any, req, a.cluster.RequestTimeout())
	if err != nil {
		return topics, fmt.Errorf("describe topics: %w", err)
	}
	answers := make(map[string]describeconfigs.ResponseResource, len(res.Resources))
	for _, r := range res.Resources {
		answers[r.ResourceName] = r
	}
	var left []*wantedTopic
	for _, w := range topics {
		r, ok := answers[w.Name]
		switch code := kerr.Code(r.ErrorCode); {
		case !ok:
			left, err = append(left, w), fmt.Errorf("topic %s: the broker left it out of its answer", w.Name)
		case code == kerr.None:
			w.configs = make(map[string]string, len(r.ConfigEntries))
			for _, e := range r.ConfigEntries {
				w.configs[e.ConfigName] = e.ConfigValue
			}
		case passing(code) || code == kerr.UnknownTopicOrPartition:
			left, err = append(left, w), fmt.Errorf("topic %s: describe: %w", w.Name, told(code, r.ErrorMessage))
		default:
			hint := ""
			if code == kerr.TopicAuthorizationFailed || code == kerr.ClusterAuthorizationFailed {
				hint = "; the topic exists, and the right DESCRIBE_CONFIGS is needed to compare its settings"
			}
			w.err = fmt.Errorf("messaging: topic %s: describe: %w%s", w.Name, classify(told(code, r.ErrorMessage)), hint)
		}
	}
	return left, err
}

func roundTrip[R protocol.Message](ctx context.Context, c *cluster.Cluster, broker int32, req protocol.Message, timeout time.Duration) (R, error) {
	var zero R
	msg, err := c.Do(ctx, broker, cluster.Control, req, timeout)
	if err != nil {
		return zero, err
	}
	res, ok := msg.(R)
	if !ok {
		return zero, fmt.Errorf("unexpected %T", msg)
	}
	return res, nil
}

// passing reports whether another try of an administrative request may go through.
func passing(c kerr.Code) bool {
	switch c { //nolint:exhaustive // the others are final
	case kerr.NotController, kerr.RequestTimedOut, kerr.NetworkException, kerr.LeaderNotAvailable, kerr.BrokerNotAvailable,
		kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator,
		kerr.ThrottlingQuotaExceeded, kerr.OperationNotAttempted:
		return true
	}
	return false
}

// told adds the broker's own words, which may be anybody's and anything.
func told(code kerr.Code, message string) error {
	const enough = 300
	if message == "" {
		return code
	}
	if len(message) > enough {
		message = message[:enough] + "…"
	}
	return fmt.Errorf("%w: %q", code, message)
}
