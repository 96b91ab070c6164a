package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/event"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/store"
)

// Health is what GET /health answers. The status is "ok", or "degraded" while
// the service serves and something behind it is away: HTTP 200 with both, since
// a restart would help neither the broker nor the waiting events. Without its
// database it can't serve: "down" and HTTP 503.
type Health struct {
	Status    string     `json:"status"`
	Database  Part       `json:"database"`
	Cache     Part       `json:"cache"`
	Kafka     Part       `json:"kafka"`
	Outbox    Outbox     `json:"outbox"`
	Direct    *Direct    `json:"direct,omitempty"` // only with -publish direct
	Consumers []Consumer `json:"consumers"`
}

// Consumer is the state of a consumer in this process.
type Consumer struct {
	Part

	Group         string  `json:"group"`
	Partitions    int     `json:"partitions"`    // that it has
	Lag           int64   `json:"lag"`           // records that were not finished, in these
	OldestSeconds float64 `json:"oldestSeconds"` // for how long a partition has stood still with work to do
	Failing       bool    `json:"failing"`       // it was told to, on the page
}

// Outbox is what is committed and not published yet.
type Outbox struct {
	Waiting       int64   `json:"waiting"`
	OldestSeconds float64 `json:"oldestSeconds"` // for how long the oldest of them has waited
	Parked        int64   `json:"parked"`        // events that cannot be published, and hold back those of their key
	Detail        string  `json:"detail,omitempty"`
}

// Direct is what became of the events of requests that were published without the outbox, since the process began.
type Direct struct {
	Waiting   int    `json:"waiting"`  // for a broker
	OnItsWay  int    `json:"onItsWay"` // and not acknowledged yet
	Published int64  `json:"published"`
	Lost      int64  `json:"lost"`
	LastError string `json:"lastError,omitempty"`
}

// Part is the state of something that the service needs.
type Part struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

// HealthFunc looks, and answers before ctx ends.
type HealthFunc func(ctx context.Context) Health

func (a *API) getHealth(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	h := a.health(ctx)
	status := http.StatusOK
	if h.Status == "down" {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, status, h)
	return nil
}

// maxTrail is how much of a history is shown.
const maxTrail = 1000

// itemState is an item as its events tell it.
type itemState struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	UserID      string `json:"userId"`
	Status      string `json:"status"`
	ModifiedBy  string `json:"modifiedBy,omitempty"`
	Deleted     bool   `json:"deleted"`
	DeletedBy   string `json:"deletedBy,omitempty"`
}

func (a *API) auditItem(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	trail, err := a.store.Trail(r.Context(), id, maxTrail)
	if err != nil {
		return err
	}
	if len(trail) == 0 {
		return &httpError{status: http.StatusNotFound, detail: "The audit consumer has seen no event of this item (yet)."}
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, struct {
		ItemID uuid.UUID          `json:"itemId"`
		Events []store.AuditEntry `json:"events"`
		State  *itemState         `json:"state"`
	}{id, trail, rebuild(trail)})
	return nil
}

// auditUser tells what happened to all of a user's items, in order.
func (a *API) auditUser(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	trail, err := a.store.TrailOfUser(r.Context(), id, maxTrail)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, struct {
		UserID uuid.UUID          `json:"userId"`
		Events []store.AuditEntry `json:"events"`
	}{id, append([]store.AuditEntry{}, trail...)}) // a list even where it is empty
	return nil
}

// rebuild applies the events one after the other.
func rebuild(trail []store.AuditEntry) *itemState {
	var (
		state   = &itemState{}
		created = (*event.ItemCreated)(nil).Topic().String()
		updated = (*event.ItemUpdated)(nil).Topic().String()
		deleted = (*event.ItemDeleted)(nil).Topic().String()
	)
	for _, e := range trail {
		switch e.Topic {
		case created, updated:
			// What cannot be read changes nothing: the trail above shows it.
			_ = json.Unmarshal(e.Payload, state)
		case deleted:
			_ = json.Unmarshal(e.Payload, state)
			state.Deleted = true
		}
	}
	return state
}

// maxUsers is how many users GET /analytics tells of.
const maxUsers = 100

func (a *API) analytics(w http.ResponseWriter, r *http.Request) error {
	var user uuid.UUID
	if s := r.URL.Query().Get("userId"); s != "" {
		var ok bool
		if user, ok = parseUUID(s); !ok {
			return badField("userId", notUUID)
		}
	}
	byStatus, err := a.store.CountsByStatus(r.Context(), user)
	if err != nil {
		return err
	}
	byUser, err := a.store.CountsByUser(r.Context(), user, maxUsers)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, struct {
		ByStatus store.Counts       `json:"byStatus"`
		ByUser   []store.UserCounts `json:"byUser"`
	}{byStatus, byUser})
	return nil
}
