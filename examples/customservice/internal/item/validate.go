package item

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Lengths, in characters.
const (
	maxName        = 200
	maxDescription = 4000
	maxPerson      = 254 // of an e-mail address, RFC 5321
)

// Invalid says what is wrong with a draft, by the JSON name of the field.
type Invalid map[string]string

func (v Invalid) Error() string {
	parts := make([]string, 0, len(v))
	for _, field := range slices.Sorted(maps.Keys(v)) {
		parts = append(parts, field+": "+v[field])
	}
	return "item: " + strings.Join(parts, "; ")
}

// orNil avoids an error that is not nil and says nothing.
func (v Invalid) orNil() error {
	if len(v) == 0 {
		return nil
	}
	return v
}

// New makes the item that the draft describes; the store gives it its times and
// its version. The error is an [Invalid].
func New(d Draft) (Item, error) {
	bad := d.check()
	if d.UserID == uuid.Nil {
		bad["userId"] = "must be the UUID of the item's owner"
	}
	if err := bad.orNil(); err != nil {
		return Item{}, err
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return Item{}, fmt.Errorf("item: no random ID: %w", err)
	}
	it := Item{ID: id, UserID: d.UserID, Status: Active}
	it.set(d)
	return it, nil
}

// Change replaces what the draft says in it. The owner stays: the draft names
// the same one or none. The error is an [Invalid], and it is then as it was.
func (it *Item) Change(d Draft) error {
	bad := d.check()
	if d.UserID != uuid.Nil && d.UserID != it.UserID {
		bad["userId"] = "an item keeps its owner: leave the field out or send the present one"
	}
	if err := bad.orNil(); err != nil {
		return err
	}
	it.set(d)
	return nil
}

func (it *Item) set(d Draft) {
	it.Name, it.Description, it.CategoryID, it.ModifiedBy = d.Name, d.Description, d.CategoryID, d.ModifiedBy
	if d.Status != "" {
		it.Status = d.Status
	}
}

func (d Draft) check() Invalid {
	bad := Invalid{}
	if strings.TrimSpace(d.Name) == "" {
		bad["name"] = "must not be empty"
	} else {
		bad.text("name", d.Name, maxName, false)
	}
	bad.text("description", d.Description, maxDescription, true)
	bad.text("modifiedBy", d.ModifiedBy, maxPerson, false)
	if d.CategoryID != nil && *d.CategoryID == uuid.Nil {
		bad["categoryId"] = "must be a UUID other than the one of zeros, or left out"
	}
	if d.Status != "" && !slices.Contains(Statuses(), d.Status) {
		bad["status"] = fmt.Sprintf("must be one of %q", Statuses())
	}
	return bad
}

// CheckPerson returns the [Invalid] that says, under the name of the field, why
// s can't be who did something; nil where it can.
func CheckPerson(field, s string) error {
	bad := Invalid{}
	bad.text(field, s, maxPerson, false)
	return bad.orNil()
}

func (v Invalid) text(field, s string, limit int, lines bool) {
	if n := utf8.RuneCountInString(s); n > limit {
		v[field] = fmt.Sprintf("must have at most %d characters, not %d", limit, n)
		return
	}
	for _, r := range s {
		if unicode.IsControl(r) && (!lines || r != '\n' && r != '\r' && r != '\t') {
			v[field] = fmt.Sprintf("must not contain the control character %U", r)
			return
		}
	}
}
