package messaging

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/consumer"
)

// TopicPartition names a partition, by its topic's name on the broker.
type TopicPartition = consumer.TopicPartition

// GroupActiveError is the error of [SeekGroup] and [Subscriber.Seek] for a group
// that has members: they would go on where they are, and commit that.
type GroupActiveError struct {
	Group   string
	Members []string // client IDs, each with its host; empty where they came while the offsets were being set
}

func (e *GroupActiveError) Error() string {
	who := "members came meanwhile"
	if len(e.Members) > 0 {
		who = fmt.Sprintf("it has %d members, %s", len(e.Members), strings.Join(e.Members, ", "))
	}
	return fmt.Sprintf("messaging: the offsets of group %q cannot be set: %s; stop them all, wait for the session timeout of those that were killed, and try again", e.Group, who)
}

// Is says that consumer.ErrGroupActive is the same.
func (e *GroupActiveError) Is(target error) bool { return target == consumer.ErrGroupActive }

// groupAdmin asks brokers about a group, and what its topics hold.
type groupAdmin struct {
	*consumer.Admin
	conns *cluster.Cluster
	group string
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

func newGroupAdmin(cfg *Config, group string, log *slog.Logger, dial dialFunc) (*groupAdmin, error) {
	params, err := cfg.clusterParams(log)
	if err != nil {
		return nil, err
	}
	params.Wire.Dial = dial
	conns := cluster.New(params)
	return &groupAdmin{Admin: consumer.NewAdmin(conns, log, group, cfg.MessageTimeout), conns: conns, group: group}, nil
}

func (a *groupAdmin) close() { a.conns.Close() }

// fail makes an engine's error one of ours.
func (a *groupAdmin) fail(what string, err error) error {
	var active *GroupActiveError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &active):
		return active
	case errors.Is(err, consumer.ErrGroupActive):
		return &GroupActiveError{Group: a.group}
	}
	return fmt.Errorf("messaging: %s of group %q: %w%s", what, a.group, classify(err), groupAdvice(err))
}

// groupAdvice says what an operator can do.
func groupAdvice(err error) string {
	switch {
	case errors.Is(classify(err), ErrNotAuthorized):
		return "; the rights READ on the group and DESCRIBE on the topics are needed"
	case errors.Is(classify(err), ErrUnknownTopic):
		return "; check its name, and Config.Topics"
	}
	return ""
}

// checkGroup validates what the functions for any group are given.
func checkGroup(cfg *Config, group string) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if group == "" {
		return errors.New("messaging: no consumer group: name it")
	}
	return nil
}
