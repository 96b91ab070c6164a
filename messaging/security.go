package messaging

import (
	"log/slog"
	"strings"
	"time"

	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/wire"
)

// dialTimeout is for connecting and all handshakes; another broker can be tried.
const dialTimeout = 5 * time.Second

// clusterParams is what the engines need of c to connect.
func (c Config) clusterParams(log *slog.Logger) (cluster.Params, error) {
	var seeds []string
	for s := range strings.SplitSeq(c.BootstrapServers, ",") {
		if s = strings.TrimSpace(s); s != "" {
			seeds = append(seeds, s)
		}
	}
	return cluster.Params{
		Seeds:          seeds,
		Wire:           wire.Params{ClientID: c.ClientID, DialTimeout: dialTimeout},
		RequestTimeout: c.RequestTimeout,
		Logger:         log,
	}, nil
}
