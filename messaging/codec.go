package messaging

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/events"
)

// Codec turns events into the bodies of records and back. The default is the
// JSON of [events.AppendEncode] and [events.Decode]; see [WithCodec] for another
// one: another JSON library, or another format.
//
// Any number of goroutines call it at once. It is called for events that are
// stamped, and it must not change them when it encodes. A panic becomes an error.
//
// A Codec whose bodies are not JSON also has a method ContentType() string: it
// names the header content-type, which is application/json without it, and
// always the same.
type Codec interface {
	// AppendEvent appends the body of e to dst and returns the whole, as append
	// does. dst is empty and mostly has room, which is to be used. It must retain
	// neither dst nor what it returns. With an error it may return anything, and
	// the event is not published.
	AppendEvent(dst []byte, e events.IntegrationEvent) ([]byte, error)
	// DecodeEvent fills e, a pointer to the zero value of its type, from a body.
	// data is borrowed: it is to be copied from, neither changed nor retained. It
	// may be empty, and holds whatever somebody wrote to the topic. An error
	// sends the record to the dead letters. That the eventId is set is looked at
	// by the caller.
	DecodeEvent(data []byte, e events.IntegrationEvent) error
}

// WithCodec replaces the JSON of bodies; the default, and nil, is that of
// [events.AppendEncode] and [events.Decode]. Publisher and subscribers of a topic
// need codecs that understand each other. It holds for what Publish and
// PublishAsync encode and for what [Handle] decodes; [Encode], and through it an
// outbox, and [Mux.Dispatch] outside of a Subscriber have the default.
func WithCodec(c Codec) Option {
	return commonOption(func(o *commonOptions) { o.codec = c })
}

// contentTypeJSON is the header content-type of the default, and of a Codec that names none.
const contentTypeJSON = "application/json"

// appendBody encodes with c, nil being the default.
func appendBody(c Codec, dst []byte, e events.IntegrationEvent) (body []byte, err error) {
	defer recovered(&err) // of the type's own methods, or the codec's
	if c == nil {
		return events.AppendEncode(dst, e)
	}
	// One that forgets to append, and returns what it made elsewhere, does no harm to what dst holds.
	body, err = c.AppendEvent(dst[len(dst):], e)
	if err != nil {
		return dst, err
	}
	return append(dst, body...), nil
}

// contentType is what c calls its bodies.
func contentType(c Codec) string {
	if named, ok := c.(interface{ ContentType() string }); ok {
		return named.ContentType()
	}
	return contentTypeJSON
}

// contextWithCodec tells the handlers of a Subscriber, through whatever
// middleware, how to decode. c is nil for the default.
func contextWithCodec(ctx context.Context, c Codec) context.Context {
	return context.WithValue(ctx, codecKey{}, c)
}

// decodeEvent reads r into e, with ctx's codec. Its error is a [DecodeError].
func decodeEvent(ctx context.Context, r *Record, e events.IntegrationEvent) error {
	c, _ := ctx.Value(codecKey{}).(Codec)
	err := decodeBody(c, r, e)
	if err == nil {
		return nil
	}
	return &DecodeError{Topic: r.Topic, Type: fmt.Sprintf("%T", e), Err: err}
}

func decodeBody(c Codec, r *Record, e events.IntegrationEvent) (err error) {
	defer recovered(&err) // of the type's own UnmarshalJSON, or the codec's
	if r.Value == nil {
		return errors.New("it is a tombstone: it has no body")
	}
	if c == nil {
		err = events.Decode(r.Value, e)
	} else {
		err = c.DecodeEvent(r.Value, e)
	}
	if err != nil {
		return err
	}
	if e.Metadata().EventID == uuid.Nil {
		return errors.New("the body has no eventId")
	}
	return nil
}
