package cluster

import (
	"errors"
	"time"

	"github.com/expensevault/sharedlibrary/internal/wire"
)

const (
	// authPause is how long a refusal of a credential is believed: at most three tries a minute.
	authPause = 20 * time.Second
	// A new credential that replaces a good one may reach us before the broker has it: it is tried again sooner, for a while.
	freshPause = 500 * time.Millisecond
	freshFor   = 30 * time.Second
	// hopeFor is how long callers wait when we were accepted before: then the credential that was replaced at the broker
	// is about to be replaced here, or the other way round. hopePause is how often it is looked up.
	hopeFor   = 4 * time.Second
	hopePause = 100 * time.Millisecond
)

// failure is why an address could not be dialled the last time.
type failure struct {
	at  time.Time
	err error

	// Of refusals, which follow each other without a success.
	since      time.Time // the first one
	credential uint64    // that was refused
	shown      time.Time // when it was refused first
}

// next is the failure that follows f, which may be the zero one.
func (f failure) next(now time.Time, err error, credential uint64) failure {
	out := failure{at: now, err: err, since: now, credential: credential, shown: now}
	if !isRefusal(err) || !isRefusal(f.err) {
		return out
	}
	out.since = f.since
	if f.credential == credential {
		out.shown = f.shown
	}
	return out
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[*wire.AuthError](err)
	return ok
}

// believed reports whether a dial with this credential would be refused as the last one was. fresh says that the credential
// was never accepted, and another one was.
func (f failure) believed(now time.Time, credential uint64, fresh bool) bool {
	ago := now.Sub(f.at)
	switch {
	case !isRefusal(f.err) || f.credential != credential || ago >= authPause:
		return false
	case fresh && now.Sub(f.shown) < freshFor:
		return ago < freshPause
	}
	return true
}

// credential tells one credential from another.
func (c *Cluster) credential() uint64 {
	if c.params.Credential == nil {
		return 0
	}
	return c.params.Credential()
}

// refusal repeats an address's last AuthError for a while, so that wrong credentials do not hammer the brokers and lock the
// account.
func (c *Cluster) refusal(addr string, credential uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.failed[addr]; f.believed(time.Now(), credential, c.proven && credential != c.good) {
		return f.err
	}
	return nil
}

// hope reports whether the refusal may be over in a moment.
func (c *Cluster) hope(err error) bool {
	refused, ok := errors.AsType[*wire.AuthError](err)
	if !ok {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f, known := c.failed[refused.Addr]
	return known && c.proven && !c.closed && time.Since(f.since) < hopeFor
}
