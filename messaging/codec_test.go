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

// elsewhere does not append.
type elsewhere struct{ framed }

func (elsewhere) AppendEvent(_ []byte, e events.IntegrationEvent) ([]byte, error) {
	return events.AppendEncode([]byte{0}, e)
}

// unwritable has a method that is not written yet.
type unwritable struct {
	paid

	Due due `json:"due"`
}

type due struct{}

func (due) MarshalJSON() ([]byte, error) { panic("not written yet") }

// What others have in the same memory is not touched.
func TestCodecEncodesBehindOthers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Codec{"default": nil, "appends": framed{}, "does not": elsewhere{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, room := range []int{0, 2000} {
				s := scratch{body: append(make([]byte, 0, 100+room), "before"...)}
				enc := encoder{codec: c}
				first, err := enc.encode(t.Context(), &s, &paid{Secret: "key", Amount: 1})
				require.NoError(t, err)
				second, err := enc.encode(t.Context(), &s, &paid{Amount: 22})
				require.NoError(t, err)
				_, err = (&encoder{codec: panicking{}}).encode(t.Context(), &s, &paid{})
				require.Error(t, err)
				for amount, value := range map[int][]byte{1: first.Value, 22: second.Value} {
					var e paid
					require.NoError(t, decodeBody(c, &Record{Value: value}, &e), "%q", value)
					assert.Equal(t, amount, e.Amount)
				}
				assert.Equal(t, "key", string(first.Key))
				assert.Equal(t, "before", string(s.body[:6]))
			}
		})
	}
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
		event events.IntegrationEvent
		want  string
	}{
		"error":       {failing{}, &paid{}, "cannot write that"},
		"panic":       {panicking{}, &paid{}, "panic: cannot write that"},
		"own methods": {nil, &unwritable{}, "panic: not written yet"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := (&encoder{codec: c.codec}).encode(t.Context(), new(scratch), c.event)
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
