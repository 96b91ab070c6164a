package events_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
)

func TestParseTopic(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"customservice.item.created", "customservice.item.created-dlt", "customservice.item.created-retry-3",
		"a.b.c", "A.B.C", "0.1.2", "-.-.-", strings.Repeat("s", 245) + ".d.e",
	} {
		topic, err := events.ParseTopic(s)
		require.NoError(t, err, s)
		assert.Equal(t, s, topic.String())
		require.NoError(t, topic.Validate())
	}
	topic, err := events.ParseTopic("customservice.item.created")
	require.NoError(t, err)
	assert.Equal(t, events.Topic{Service: "customservice", Domain: "item", Event: "created"}, topic)
	assert.Equal(t, events.NewTopic("customservice", "item", "created"), topic)
}

func TestParseTopicRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"empty":         {"", "does not have three parts"},
		"one part":      {"created", "does not have three parts"},
		"two parts":     {"item.created", "does not have three parts"},
		"four parts":    {"a.b.c.d", "does not have three parts"},
		"many parts":    {strings.Repeat(".", 1<<20), "does not have three parts"},
		"no service":    {".item.created", "its service is empty"},
		"no domain":     {"a..c", "its domain is empty"},
		"no event type": {"a.b.", "its event type is empty"},
		"underscore":    {"a.b.item_created", "metrics cannot tell it from '.'"},
		"space":         {"a. b.c", `its domain contains ' '`},
		"slash":         {"a.b/.c", `its domain contains '/'`},
		"line break":    {"a.b.c\n", `its event type contains '\n'`},
		"not ASCII":     {"a.b.ä", `its event type contains 'ä'`},
		"not UTF-8":     {"a.b.\xff", "its event type contains"},
		"250 bytes":     {strings.Repeat("s", 246) + ".d.e", "is 250 bytes long: Kafka takes 249"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topic, err := events.ParseTopic(c.in)
			require.ErrorContains(t, err, c.want)
			assert.Zero(t, topic)
			assert.Less(t, len(err.Error()), 300, "a hostile name must not fill the log")
		})
	}
}

func TestTopicValidate(t *testing.T) {
	t.Parallel()
	require.Error(t, events.Topic{}.Validate())
	require.ErrorContains(t, events.NewTopic("a", "b.c", "d").Validate(), "it separates the three parts")
	require.ErrorContains(t, events.NewTopic("a_b", "c", "d").Validate(), `"a_b.c.d": its service contains '_'`)
	require.NoError(t, events.NewTopic("custom-service", "item", "created").Validate())
}

// Kafka's metrics write '.' as '_'. Topics that we take keep apart there.
func TestTopicsDoNotCollideInMetrics(t *testing.T) {
	t.Parallel()
	parts := []string{"a", "b", "a-b", "a_b", "b_a", "_", "A"}
	metric := make(map[string]string)
	for _, s := range parts {
		for _, d := range parts {
			for _, e := range parts {
				topic := events.NewTopic(s, d, e)
				if topic.Validate() != nil {
					continue
				}
				name := strings.ReplaceAll(topic.String(), ".", "_")
				require.NotContains(t, metric, name, topic.String())
				metric[name] = topic.String()
			}
		}
	}
	assert.Len(t, metric, 4*4*4)
}

func FuzzParseTopic(f *testing.F) {
	for _, s := range []string{"customservice.item.created", "a.b.c", "a_b.c.d", "..", "a.b.c.d", "a.b.\xff", "A.B.C-dlt"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		topic, err := events.ParseTopic(s)
		if err != nil {
			assert.Zero(t, topic)
			return
		}
		assert.Equal(t, s, topic.String())
		require.NoError(t, topic.Validate())
		assert.LessOrEqual(t, len(s), 249)
		assert.Equal(t, 2, strings.Count(s, "."))
		for _, r := range s {
			assert.Contains(t, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.", string(r))
		}
	})
}
