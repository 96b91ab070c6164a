// Command customservice is a service on the library: items over HTTP, their
// events over Kafka, and three consumers. Its -h tells the rest.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/app"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/settings"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/telemetry"
	"github.com/expensevault/sharedlibrary/tracing"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run returns the exit code: 2 for a command line that can't be meant.
func run(args []string, out, errOut io.Writer) int {
	command, err := settings.Parse(args, os.LookupEnv, out)
	if errors.Is(err, settings.ErrHelp) {
		return 0
	}
	if err != nil {
		_, _ = fmt.Fprintf(errOut, "customservice: %v\ncustomservice -h helps.\n", err)
		return 2
	}
	log := newLog(command.Settings, errOut)

	// The application decides how traces travel, and where spans and metrics go; the library asks.
	shown, err := telemetry.Start(context.Background(), os.LookupEnv, log)
	if err != nil {
		_, _ = fmt.Fprintf(errOut, "customservice: %v\n", err)
		return 2
	}
	stderr := log
	if shown.Logs != nil {
		log = slog.New(slog.NewMultiHandler(log.Handler(), shown.Logs))
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := shown.Shutdown(ctx); err != nil {
			stderr.Warn("The last spans, metrics or log lines did not reach their receiver", slog.Any("error", err))
		}
	}()
	logging.Disable() // Redis: its errors are logged by who meets them

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		stop()
		why := "A second signal: the process ends now"
		select {
		case <-signals:
		case <-time.After(command.Stop + 5*time.Second):
			why = "Stopping takes too long: the process ends now"
		}
		log.Error(why)
		os.Exit(1)
	}()
	if command.Consume != "" {
		err = app.Consume(ctx, command.Settings, command.Consume, log)
	} else {
		err = app.Serve(ctx, command.Settings, shown, log)
	}
	if err != nil {
		_, _ = fmt.Fprintf(errOut, "customservice: %v\n", err)
		return 1
	}
	return 0
}

func newLog(s settings.Settings, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: s.LogLevel}
	if s.LogFormat == "json" {
		return slog.New(tracing.NewLogHandler(slog.NewJSONHandler(out, options)))
	}
	return slog.New(tracing.NewLogHandler(slog.NewTextHandler(out, options)))
}
