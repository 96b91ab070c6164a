package tracing

import "context"

const maxCorrelationID = 128

type (
	correlationKey struct{}
	causationKey   struct{}
)

// ValidCorrelationID reports whether id is 1 to 128 of A-Z, a-z, 0-9, '.', '_',
// ':' and '-': nothing that could end a header or a log line, or be read in two
// ways. The UUIDs, ULIDs and hexadecimal IDs in use are all valid. The same
// holds for causation IDs.
func ValidCorrelationID(id string) bool {
	if id == "" || len(id) > maxCorrelationID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == ':', c == '-':
		default:
			return false
		}
	}
	return true
}

// WithCorrelationID returns ctx with the correlation ID. "" takes away the one
// that ctx has. An ID that is not valid (see [ValidCorrelationID]) is not
// stored: ctx is returned as it is.
func WithCorrelationID(ctx context.Context, id string) context.Context {
	return withID(ctx, correlationKey{}, id)
}

// CorrelationID returns ctx's correlation ID, "" when it has none.
func CorrelationID(ctx context.Context) string {
	id, _ := ctx.Value(correlationKey{}).(string)
	return id
}

// WithCausationID returns ctx with the ID of the event whose handling causes
// what follows. "" and an ID that is not valid are treated as by [WithCorrelationID].
func WithCausationID(ctx context.Context, id string) context.Context {
	return withID(ctx, causationKey{}, id)
}

// CausationID returns ctx's causation ID, "" when it has none.
func CausationID(ctx context.Context) string {
	id, _ := ctx.Value(causationKey{}).(string)
	return id
}

func withID(ctx context.Context, key any, id string) context.Context {
	if id != "" && !ValidCorrelationID(id) {
		return ctx
	}
	if old, _ := ctx.Value(key).(string); old == id {
		return ctx
	}
	return context.WithValue(ctx, key, id)
}
