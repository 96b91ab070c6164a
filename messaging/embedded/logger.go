package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
)

// logger is kfake's log. kfake's Close returns nothing: what it could not save it says here alone, so the errors of the
// last save are kept.
type logger struct {
	*slog.Logger

	mu      sync.Mutex
	closing bool
	errs    []error
}

func (l *logger) Logf(level kfake.LogLevel, format string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case kfake.LogLevelError:
		to = slog.LevelError
	case kfake.LogLevelWarn:
		to = slog.LevelWarn
	case kfake.LogLevelInfo, kfake.LogLevelDebug, kfake.LogLevelNone:
	}
	if to == slog.LevelError {
		l.keep(fmt.Errorf("embedded: close: "+format, args...))
	}
	if l.Enabled(context.Background(), to) {
		l.Log(context.Background(), to, fmt.Sprintf(format, args...))
	}
}

func (l *logger) keep(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		l.errs = append(l.errs, err)
	}
}

func (l *logger) startKeeping() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
}

func (l *logger) kept() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.errs...)
}
