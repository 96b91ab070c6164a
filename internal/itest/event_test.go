package itest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
)

// The guide's three events.
type itemCreated struct {
	events.Base
	CustomItemID uuid.UUID `json:"customItemId"`
	Name         string    `json:"name"`
	Description  string    `json:"description"`
	UserID       uuid.UUID `json:"userId"`
	CategoryID   uuid.UUID `json:"categoryId"`
	Status       string    `json:"status"`
}

func (*itemCreated) Topic() events.Topic    { return events.NewTopic("customservice", "item", "created") }
func (e *itemCreated) PartitionKey() string { return e.UserID.String() }

type itemUpdated struct {
	events.Base
	CustomItemID uuid.UUID `json:"customItemId"`
	Name         string    `json:"name"`
	Description  string    `json:"description"`
	UserID       uuid.UUID `json:"userId"`
	Status       string    `json:"status"`
	ModifiedBy   string    `json:"modifiedBy"`
}

func (*itemUpdated) Topic() events.Topic    { return events.NewTopic("customservice", "item", "updated") }
func (e *itemUpdated) PartitionKey() string { return e.UserID.String() }

type itemDeleted struct {
	events.Base
	CustomItemID uuid.UUID `json:"customItemId"`
	UserID       uuid.UUID `json:"userId"`
	Name         string    `json:"name"`
	DeletedBy    string    `json:"deletedBy"`
}

func (*itemDeleted) Topic() events.Topic    { return events.NewTopic("customservice", "item", "deleted") }
func (e *itemDeleted) PartitionKey() string { return e.UserID.String() }

// keyed is an event of our own: its topic is mapped to a fresh one by Config.Topics.
type keyed struct {
	events.Base
	Key     string `json:"key"`
	N       int    `json:"n"`
	Padding string `json:"padding,omitempty"`
}

func (*keyed) Topic() events.Topic    { return events.NewTopic("itest", "thing", "happened") }
func (e *keyed) PartitionKey() string { return e.Key }

// guideJSON returns the guide's body of an event, without the spaces that are there for the reader.
func guideJSON(t *testing.T, name string) string {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("..", "..", "events", "testdata", name+".json"))
	require.NoError(t, err)
	var compact bytes.Buffer
	require.NoError(t, json.Compact(&compact, file))
	return compact.String()
}
