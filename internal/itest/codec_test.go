package itest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
)

// framed is a codec of a service's own: JSON behind a zero byte.
type framed struct{}

func (framed) ContentType() string { return "application/vnd.framed" }

func (framed) AppendEvent(dst []byte, e events.IntegrationEvent) ([]byte, error) {
	body, err := json.Marshal(e)
	return append(append(dst, 0), body...), err
}

func (framed) DecodeEvent(data []byte, e events.IntegrationEvent) error {
	body, ok := bytes.CutPrefix(data, []byte{0})
	if !ok {
		return errors.New("no frame")
	}
	return json.Unmarshal(body, e)
}

// ownCodec: a codec of the service's own writes and reads the bodies, and nothing else is touched.
func ownCodec(t *testing.T, b broker) {
	c := newConsuming(t, b, 1)
	cfg := b.config(map[string]string{"itest.thing.happened": c.topic})
	p, err := messaging.NewKafkaPublisher(cfg, messaging.WithCodec(framed{}))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, p.Close()) })
	sent := []events.IntegrationEvent{&keyed{Key: "a", N: 1}, &keyed{Key: "a", N: 2, Padding: "<\n"}}
	require.NoError(t, p.Publish(t.Context(), sent...))
	for _, r := range b.records(t, c.topic) {
		require.NotEmpty(t, r.Value)
		assert.Zero(t, r.Value[0])
		assert.Contains(t, r.Headers, messaging.Header{Key: "content-type", Value: []byte("application/vnd.framed")})
	}
	c.cfg = cfg
	got := make(chan events.IntegrationEvent, 2)
	messaging.Handle(&c.mux, func(_ context.Context, e *keyed) error {
		got <- e
		return nil
	})
	c.run(t, messaging.WithCodec(framed{}))
	assert.ElementsMatch(t, sent, receive(t, got, 2)) // their keys differ: they have no order
}
