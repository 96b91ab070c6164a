package settings_test

import (
	"bytes"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/settings"
)

func env(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func TestLayers(t *testing.T) {
	t.Parallel()
	c, err := settings.Parse(nil, env(), nil)
	require.NoError(t, err)
	assert.Equal(t, settings.Command{Settings: settings.Default()}, c)
	assert.Equal(t, "127.0.0.1:8080", c.Addr)
	assert.Equal(t, filepath.Join("customservice-data", "customservice.db"), c.Store(":memory:"))
	assert.Equal(t, []string{"analytics", "notification", "audit"}, c.InProcess())

	c, err = settings.Parse([]string{"-cache-ttl", "3s", "-memory", "-consumers=none"},
		env("CUSTOMSERVICE_CACHE_TTL", "2s", "CUSTOMSERVICE_CACHE_SIZE", "7", "CUSTOMSERVICE_LOG_LEVEL", "warn", "CUSTOMSERVICE_ADDR", ""), nil)
	require.NoError(t, err)
	assert.Equal(t, 3*time.Second, c.CacheTTL, "a flag is over the variable")
	assert.Equal(t, 7, c.CacheSize)
	assert.Equal(t, slog.LevelWarn, c.LogLevel)
	assert.Equal(t, "127.0.0.1:8080", c.Addr, "an empty variable is none")
	assert.Equal(t, ":memory:", c.Store(":memory:"))
	assert.Empty(t, c.InProcess())

	c, err = settings.Parse([]string{"consume", "audit", "-database", "postgres://x/y"}, env(), nil)
	require.NoError(t, err)
	assert.Equal(t, "audit", c.Consume)
	assert.Equal(t, "postgres://x/y", c.Store(":memory:"))
}

func TestWrong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args, env string
		want      string
	}{
		{"-nothing", "", "-nothing"},
		{"serve", "", `unknown argument "serve"`},
		{"-addr :80 consume audit", "", "consume, and it comes first"},
		{"consume", "", "consume analytics|notification|audit"},
		{"consume billing", "", "consume analytics|notification|audit"},
		{"-memory -database x.db", "", "-memory and -database exclude one another"},
		{"-partitions 0", "", "-partitions 0"},
		{"-log-format xml", "", `"xml"`},
		{"-consumers audit,billing", "", `-consumers "billing"`},
		{"-consumers audit,audit", "", "twice"},
		{"-cache-ttl 0s -queue 0", "", "-queue 0"},
		{"-kafka-port 70000", "", "-kafka-port"},
		{"-replication -1", "", "-replication -1"},
		{"-stop-timeout 0s", "", "-stop-timeout"},
		{"-data=", "", "-data"},
		{"", "CUSTOMSERVICE_CACHE_TTL=soon", `CUSTOMSERVICE_CACHE_TTL="soon"`},
	} {
		t.Run(tt.args+tt.env, func(t *testing.T) {
			t.Parallel()
			name, value, _ := strings.Cut(tt.env, "=")
			_, err := settings.Parse(strings.Fields(tt.args), env(name, value), nil)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"-h", "--help", "consume -h", "consume audit -h"} {
		var out bytes.Buffer
		_, err := settings.Parse(strings.Fields(args), env("CUSTOMSERVICE_REDIS", "redis://:hunter2@x"), &out)
		require.ErrorIs(t, err, flag.ErrHelp)
		assert.NotContains(t, out.String(), "hunter2", "the help shows defaults, not what is set")
		for _, want := range []string{"-addr host:port", "(default 127.0.0.1:8080)", "CUSTOMSERVICE_CACHE_TTL", "-log-level level", "-kafka servers"} {
			assert.Contains(t, out.String(), want)
		}
	}
}

// Every flag stands in the help.
func TestHelpIsComplete(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	_, err := settings.Parse([]string{"-h"}, env(), &out)
	require.ErrorIs(t, err, settings.ErrHelp)
	for _, name := range settings.Flags() {
		assert.Contains(t, out.String(), "\n  -"+name+placeholder(name), "-%s", name)
	}
}

func TestLoadKafka(t *testing.T) {
	t.Parallel()
	const explicit = `{"Kafka": {"BootstrapServers": "localhost:9092"}}`
	for name, tt := range map[string]struct {
		files    map[string]string
		env      []string
		flag     string
		servers  string
		embedded bool
	}{
		"nowhere":          {servers: "localhost:9092", embedded: true},
		"the default, set": {files: map[string]string{"appsettings.json": explicit}, servers: "localhost:9092"},
		"other settings":   {files: map[string]string{"appsettings.json": `{"Kafka": {"ClientId": "x"}}`}, servers: "localhost:9092", embedded: true},
		"another environment": {
			files: map[string]string{"appsettings.Development.json": explicit}, servers: "localhost:9092", embedded: true,
		},
		"this environment": {
			files: map[string]string{"appsettings.Development.json": explicit},
			env:   []string{"DOTNET_ENVIRONMENT", "Development"}, servers: "localhost:9092",
		},
		"a variable":          {env: []string{"Kafka__BootstrapServers", "a:1"}, servers: "a:1"},
		"the other variable":  {env: []string{"KAFKA_BOOTSTRAP_SERVERS", "a:1"}, servers: "a:1"},
		"a flag over them":    {env: []string{"Kafka__BootstrapServers", "a:1"}, flag: "b:2", servers: "b:2"},
		"null in the setting": {files: map[string]string{"appsettings.json": `{"Kafka": {"BootstrapServers": null}}`}, servers: "localhost:9092", embedded: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for file, text := range tt.files {
				require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600))
			}
			s := settings.Default()
			s.Appsettings, s.Kafka = dir, tt.flag
			cfg, embedded, err := s.LoadKafka(env(tt.env...))
			require.NoError(t, err)
			assert.Equal(t, tt.servers, cfg.BootstrapServers)
			assert.Equal(t, tt.embedded, embedded)
		})
	}
	s := settings.Default()
	s.Appsettings, s.Kafka = t.TempDir(), "no port"
	_, _, err := s.LoadKafka(env())
	require.ErrorContains(t, err, "BootstrapServers")
	s.Kafka = ""
	_, _, err = s.LoadKafka(env("Kafka__Acks", "7"))
	require.ErrorContains(t, err, "Acks")
}

// placeholder is what follows a flag's name in the help.
func placeholder(name string) string {
	if name == "memory" {
		return "\n"
	}
	return " "
}
