package item_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/item"
)

func TestNew(t *testing.T) {
	t.Parallel()
	user, category := uuid.New(), uuid.New()
	it, err := item.New(item.Draft{Name: "Lamp", Description: "two\nlines", UserID: user, CategoryID: &category, ModifiedBy: "me"})
	require.NoError(t, err)
	assert.NotEqual(t, uuid.Nil, it.ID)
	it.ID = uuid.Nil
	assert.Equal(t, item.Item{
		Name: "Lamp", Description: "two\nlines", UserID: user, CategoryID: &category, Status: item.Active, ModifiedBy: "me",
	}, it)
}

func TestRules(t *testing.T) {
	t.Parallel()
	good := func() item.Draft { return item.Draft{Name: "Lamp", UserID: uuid.New()} }
	tests := []struct {
		name   string
		change func(*item.Draft)
		field  string // "": it is good
	}{
		{"least", func(*item.Draft) {}, ""},
		{"no name", func(d *item.Draft) { d.Name = " \t" }, "name"},
		{"longest name", func(d *item.Draft) { d.Name = strings.Repeat("ö", 200) }, ""},
		{"long name", func(d *item.Draft) { d.Name = strings.Repeat("ö", 201) }, "name"},
		{"name of two lines", func(d *item.Draft) { d.Name = "a\nb" }, "name"},
		{"NUL in the description", func(d *item.Draft) { d.Description = "a\x00b" }, "description"},
		{"long description", func(d *item.Draft) { d.Description = strings.Repeat("x", 4001) }, "description"},
		{"no owner", func(d *item.Draft) { d.UserID = uuid.Nil }, "userId"},
		{"zero category", func(d *item.Draft) { d.CategoryID = new(uuid.UUID) }, "categoryId"},
		{"archived", func(d *item.Draft) { d.Status = item.Archived }, ""},
		{"unknown status", func(d *item.Draft) { d.Status = "active" }, "status"},
		{"long person", func(d *item.Draft) { d.ModifiedBy = strings.Repeat("x", 255) }, "modifiedBy"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := good()
			tt.change(&d)
			_, err := item.New(d)
			if tt.field == "" {
				require.NoError(t, err)
				return
			}
			var bad item.Invalid
			require.ErrorAs(t, err, &bad)
			require.Len(t, bad, 1)
			assert.Contains(t, bad, tt.field)
			assert.Contains(t, err.Error(), tt.field+": must")
		})
	}
}

func TestChange(t *testing.T) {
	t.Parallel()
	it, err := item.New(item.Draft{Name: "Lamp", UserID: uuid.New(), Status: item.Inactive})
	require.NoError(t, err)
	before := it

	require.Error(t, it.Change(item.Draft{Name: "Lamp", UserID: uuid.New()}), "another owner")
	require.Error(t, it.Change(item.Draft{}), "no name")
	assert.Equal(t, before, it, "what is refused changes nothing")

	require.NoError(t, it.Change(item.Draft{Name: "Bright lamp", UserID: it.UserID}))
	assert.Equal(t, "Bright lamp", it.Name)
	assert.Equal(t, item.Inactive, it.Status, "no status: the old one stays")
}

func TestCheckPerson(t *testing.T) {
	t.Parallel()
	require.NoError(t, item.CheckPerson("deletedBy", "user@example.com"))
	require.ErrorContains(t, item.CheckPerson("deletedBy", "a\r\nb"), "deletedBy")
}
