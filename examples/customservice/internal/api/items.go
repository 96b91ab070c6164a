package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/item"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/store"
)

// itemBody is what clients send. What GET answers may be sent back by PUT:
// fields that only the service sets are read over.
type itemBody struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	UserID      string `json:"userId"`
	CategoryID  string `json:"categoryId"`
	Status      string `json:"status"`
	ModifiedBy  string `json:"modifiedBy"`

	ID        json.RawMessage `json:"id"`
	Version   json.RawMessage `json:"version"`
	CreatedAt json.RawMessage `json:"createdAt"`
	UpdatedAt json.RawMessage `json:"updatedAt"`
}

// draft is strict about the form of UUIDs: 36 characters with hyphens.
func (b itemBody) draft() (item.Draft, error) {
	d := item.Draft{
		Name: b.Name, Description: b.Description, Status: item.Status(b.Status), ModifiedBy: b.ModifiedBy,
	}
	bad := item.Invalid{}
	var ok bool
	if b.UserID != "" {
		if d.UserID, ok = parseUUID(b.UserID); !ok {
			bad["userId"] = notUUID
		}
	}
	if b.CategoryID != "" {
		category, ok := parseUUID(b.CategoryID)
		if !ok {
			bad["categoryId"] = notUUID
		}
		d.CategoryID = &category
	}
	if len(bad) > 0 {
		return d, bad
	}
	return d, nil
}

const notUUID = "must be a UUID such as 550e8400-e29b-41d4-a716-446655440000"

func parseUUID(s string) (uuid.UUID, bool) {
	id, err := uuid.Parse(s)
	return id, err == nil && len(s) == 36
}

func (a *API) createItem(w http.ResponseWriter, r *http.Request) error {
	var body itemBody
	if err := decode(w, r, &body); err != nil {
		return err
	}
	draft, err := body.draft()
	if err != nil {
		return err
	}
	it, err := a.service.Create(r.Context(), draft)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/items/"+it.ID.String())
	writeItem(w, http.StatusCreated, it)
	return nil
}

func (a *API) getItem(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	it, err := a.service.Get(r.Context(), id)
	if err != nil {
		return err
	}
	writeItem(w, http.StatusOK, it)
	return nil
}

func (a *API) updateItem(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	version, err := ifMatch(r)
	if err != nil {
		return err
	}
	var body itemBody
	if err := decode(w, r, &body); err != nil {
		return err
	}
	draft, err := body.draft()
	if err != nil {
		return err
	}
	it, err := a.service.Update(r.Context(), id, version, draft)
	if err != nil {
		return err
	}
	writeItem(w, http.StatusOK, it)
	return nil
}

// deleteItem takes who deletes from the query, ?deletedBy=…, or from a JSON
// body: some clients and proxies send none with a DELETE.
func (a *API) deleteItem(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	version, err := ifMatch(r)
	if err != nil {
		return err
	}
	var body struct {
		DeletedBy string `json:"deletedBy"`
	}
	body.DeletedBy = r.URL.Query().Get("deletedBy")
	if r.ContentLength != 0 {
		if err := decode(w, r, &body); err != nil {
			return err
		}
	}
	if err := a.service.Delete(r.Context(), id, version, body.DeletedBy); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// The size of a page of GET /items.
const (
	defaultLimit = 50
	maxLimit     = 200
)

func (a *API) listItems(w http.ResponseWriter, r *http.Request) error {
	var (
		query = r.URL.Query()
		user  uuid.UUID
		after store.Position
		limit = defaultLimit
		err   error
	)
	if s := query.Get("userId"); s != "" {
		var ok bool
		if user, ok = parseUUID(s); !ok {
			return badField("userId", notUUID)
		}
	}
	if s := query.Get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 || limit > maxLimit {
			return badField("limit", fmt.Sprintf("must be a whole number from 1 to %d", maxLimit))
		}
	}
	if s := query.Get("cursor"); s != "" {
		var ok bool
		if after, ok = parseCursor(s); !ok {
			return badField("cursor", "must be the nextCursor of an earlier page, or left out")
		}
	}
	items, err := a.service.List(r.Context(), user, after, limit+1)
	if err != nil {
		return err
	}
	page := struct {
		Items      []item.Item `json:"items"`
		NextCursor string      `json:"nextCursor,omitempty"` // none: this is the last page
	}{Items: append([]item.Item{}, items...)} // a list even where it is empty
	if len(items) > limit {
		page.Items = items[:limit]
		page.NextCursor = formatCursor(store.After(items[limit-1]))
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, page)
	return nil
}

func formatCursor(p store.Position) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d/%s", p.CreatedMillis, p.ID))
}

func parseCursor(s string) (store.Position, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return store.Position{}, false
	}
	ms, id, _ := strings.Cut(string(raw), "/")
	var (
		p  store.Position
		ok bool
	)
	p.CreatedMillis, err = strconv.ParseInt(ms, 10, 64)
	p.ID, ok = parseUUID(id)
	return p, ok && err == nil
}

func pathID(r *http.Request) (uuid.UUID, error) {
	id, ok := parseUUID(r.PathValue("id"))
	if !ok {
		return uuid.Nil, badField("id", notUUID)
	}
	return id, nil
}

// writeItem answers with the item, and with its version as the ETag.
func writeItem(w http.ResponseWriter, status int, it item.Item) {
	w.Header().Set("ETag", `"`+strconv.FormatInt(it.Version, 10)+`"`)
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, status, it)
}

// ifMatch returns the version that the client expects, 0 for any.
func ifMatch(r *http.Request) (int64, error) {
	header := strings.TrimSpace(r.Header.Get("If-Match"))
	if header == "" || header == "*" {
		return 0, nil
	}
	tag, ok := strings.CutPrefix(header, `"`)
	tag, closed := strings.CutSuffix(tag, `"`)
	version, err := strconv.ParseInt(tag, 10, 64)
	if !ok || !closed || err != nil || version < 1 {
		return 0, badField("If-Match", `must be one ETag of the item, such as "3" with its quotes, or *`)
	}
	return version, nil
}
