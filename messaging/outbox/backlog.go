package outbox

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Backlog is what is committed and not published.
type Backlog struct {
	Pending int64         // rows to be published, those that wait behind another one included
	Oldest  time.Duration // how long the oldest of these has been there, by the database's clock; 0 without any
	Parked  int64         // rows that cannot be published; see Outbox.Parked
}

// Backlog counts. It reads an index entry per row that is not published: ask
// each few seconds, not each request.
func (o *Outbox) Backlog(ctx context.Context, db *sql.DB) (Backlog, error) {
	if o.err != nil {
		return Backlog{}, o.err
	}
	s := o.store
	var b Backlog
	err := s.query(ctx, db, func(rows *sql.Rows) error {
		var state int
		var n, age int64
		if err := rows.Scan(&state, &n, &age); err != nil {
			return err
		}
		if state == stateParked {
			b.Parked = n
			return nil
		}
		b.Pending += n
		b.Oldest = max(b.Oldest, time.Duration(age)*time.Millisecond)
		return nil
	}, "SELECT 0, COUNT(*), COALESCE("+s.d.Now()+" - MIN(created_ms), 0) FROM "+s.o.table+" WHERE state = 0"+
		" UNION ALL SELECT state, COUNT(*), COALESCE("+s.d.Now()+" - MIN(created_ms), 0) FROM "+s.o.table+" WHERE state IN (2, 3) GROUP BY state")
	if err != nil {
		return Backlog{}, fmt.Errorf("outbox: read the backlog: %w", err)
	}
	return b, nil
}
