package messaging

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
)

// framed is JSON behind a byte that says so, as schema registries have it.
type framed struct{ named string }

func (c framed) ContentType() string { return c.named }

func (framed) AppendEvent(dst []byte, e events.IntegrationEvent) ([]byte, error) {
	return events.AppendEncode(append(dst, 0), e)
}

func (framed) DecodeEvent(data []byte, e events.IntegrationEvent) error {
	body, ok := bytes.CutPrefix(data, []byte{0})
	if !ok {
		return errors.New("the frame is missing")
	}
	return events.Decode(body, e)
}

// failing is a codec of which nothing good comes.
type failing struct{}

func (failing) AppendEvent([]byte, events.IntegrationEvent) ([]byte, error) {
	return []byte("half"), errors.New("cannot write that")
}
func (failing) DecodeEvent([]byte, events.IntegrationEvent) error { panic("cannot read that") }

type panicking struct{ failing }

func (panicking) AppendEvent([]byte, events.IntegrationEvent) ([]byte, error) {
	panic("cannot write that")
}

func TestCodecEncodes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		codec Codec
		first byte
		named string
	}{
		"default":                {nil, '{', "application/json"},
		"with a content type":    {framed{"application/vnd.framed"}, 0, "application/vnd.framed"},
		"without a content type": {struct{ Codec }{framed{}}, 0, "application/json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var o publisherOptions
			WithCodec(c.codec).applyPublisher(&o)
			r, err := (&encoder{codec: o.codec}).encode(t.Context(), new(scratch), &paid{Amount: 7})
			require.NoError(t, err)
			assert.Equal(t, c.first, r.Value[0])
			assert.Equal(t, c.named, header(Record{Headers: r.Headers.List()}, "content-type"))
		})
	}
}

func TestCodecFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		codec Codec
		want  string
	}{
		"error": {failing{}, "cannot write that"},
		"panic": {panicking{}, "panic: cannot write that"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := (&encoder{codec: c.codec}).encode(t.Context(), new(scratch), &paid{})
			require.ErrorIs(t, err, ErrInvalidEvent)
			require.ErrorContains(t, err, c.want)
			assert.True(t, SafeToRetry(err))
			assert.Empty(t, r)
		})
	}
}

func TestCodecDecodes(t *testing.T) {
	t.Parallel()
	var got []int
	p := newPipelineTest(t, func(_ context.Context, e *paid) error {
		got = append(got, e.Amount)
		return nil
	})
	calls := 0
	p.mux.Use(func(next HandlerFunc) HandlerFunc {
		return func(ctx context.Context, r Record) error {
			calls++
			if err := next(ctx, r); err != nil {
				return err
			}
			return next(ctx, r) // decoded anew, by the same codec
		}
	})
	var o subscriberOptions
	WithCodec(framed{}).applySubscriber(&o)
	ctx := contextWithCodec(t.Context(), o.codec)
	r, err := (&encoder{codec: o.codec}).encode(t.Context(), new(scratch), p.event)
	require.NoError(t, err)
	p.rec.Value = r.Value
	require.NoError(t, p.run(ctx))
	assert.Equal(t, []int{7, 7}, got)
	assert.Equal(t, 1, calls)
	assert.Empty(t, p.sent)
	assert.Empty(t, p.lines(t))

	// What the codec refuses, and what it stumbles over, is dead-lettered at once.
	p.rec.Value = []byte("{}")
	require.NoError(t, p.run(ctx))
	require.Len(t, p.sent, 1)
	assert.Contains(t, header(p.sent[0], "dlt-error-message"), "the frame is missing")
	require.NoError(t, p.run(contextWithCodec(ctx, failing{})))
	require.Len(t, p.sent, 2)
	assert.Contains(t, header(p.sent[1], "dlt-error-message"), "cannot read that")
	assert.Equal(t, "1", header(p.sent[1], "dlt-attempts"))

	// A subscriber without a codec has the default, whoever runs it.
	p.rec.Value = r.Value[1:]
	require.NoError(t, p.run(contextWithCodec(ctx, nil)))
	assert.Equal(t, []int{7, 7, 7, 7}, got)
}
