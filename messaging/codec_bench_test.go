package messaging

import (
	"encoding/json"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
)

type created struct {
	events.Base
	CustomItemID uuid.UUID `json:"customItemId"`
	Name         string    `json:"name"`
	Description  string    `json:"description"`
	UserID       uuid.UUID `json:"userId"`
	CategoryID   uuid.UUID `json:"categoryId"`
	Status       string    `json:"status"`
}

func (*created) Topic() events.Topic    { return events.NewTopic("customservice", "item", "created") }
func (e *created) PartitionKey() string { return e.UserID.String() }

// standard is encoding/json without more.
type standard struct{}

func (standard) AppendEvent(dst []byte, e events.IntegrationEvent) ([]byte, error) {
	body, err := json.Marshal(e)
	return append(dst, body...), err
}

func (standard) DecodeEvent(data []byte, e events.IntegrationEvent) error {
	return json.Unmarshal(data, e)
}

// BenchmarkCodec is what an event costs on its way to the engine (stamp, body, key, headers), and from it to the handler.
func BenchmarkCodec(b *testing.B) {
	e := &created{
		CustomItemID: uuid.New(), Name: "Sample Item", Description: "Item description",
		UserID: uuid.New(), CategoryID: uuid.New(), Status: "Active",
	}
	for name, codec := range map[string]Codec{"default": nil, "encoding/json": standard{}} {
		enc, s := encoder{codec: codec}, scratch{}
		b.Run("publish/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.reset()
				e.Base = events.Base{CorrelationID: "abc123-def456"}
				if _, err := enc.encode(b.Context(), &s, e); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("handle/"+name, func(b *testing.B) {
			body, err := appendBody(codec, nil, e)
			require.NoError(b, err)
			r, ctx := Record{Value: body}, contextWithCodec(b.Context(), codec)
			b.ReportAllocs()
			for b.Loop() {
				if err := decodeEvent(ctx, &r, &created{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
