package deploy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

const patience = 90 * time.Second

// command finds a program, or skips the test; where ITEST_REQUIRE names what it is of, the test fails.
func command(t *testing.T, name, of string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if slices.Contains(strings.Split(os.Getenv("ITEST_REQUIRE"), ","), of) {
		t.Fatalf("ITEST_REQUIRE names %s, and there is no %s", of, name)
	}
	t.Skip("there is no " + name)
	return ""
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s %v\n%s", name, args, out)
	return string(out)
}

func TestAlerts(t *testing.T) {
	t.Parallel()
	promtool := command(t, "promtool", "prometheus")
	assert.Contains(t, run(t, promtool, "check", "rules", "alerts.yml"), "8 rules found")
	run(t, promtool, "test", "rules", "alerts_test.yml")
	run(t, promtool, "check", "config", "--syntax-only", "prometheus.yml")
}

// TestCompose has the file read by what docker compose reads it with, and looks for the guide's services and ports.
func TestCompose(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "go", "run", "github.com/compose-spec/compose-go/v2/cmd@v2.16.2", "compose.yaml")
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	out, err := cmd.CombinedOutput()
	if err != nil && !slices.Contains(strings.Split(os.Getenv("ITEST_REQUIRE"), ","), "tools") && strings.Contains(string(out), "dial tcp") {
		t.Skip("compose-go cannot be downloaded here")
	}
	require.NoError(t, err, "%s", out)
	text := string(out)
	for _, port := range []string{"9092", "29092", "8080", "16686", "5342", "6379", "5434", "9090", "3000", "8090"} {
		assert.Contains(t, text, `published: "`+port+`"`)
	}
	for _, file := range []string{"prometheus.yml", "alerts.yml", "grafana/provisioning", "grafana/dashboards", "Dockerfile"} {
		_, err := os.Stat(file)
		assert.NoError(t, err, "it is mounted, or built from")
	}
}

// panel is what we want to know of one of Grafana's.
type panel struct {
	ID      int    `json:"id"`
	Type    string `json:"type"`
	Title   string `json:"title"`
	Targets []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
}

func panels(t *testing.T) []panel {
	t.Helper()
	raw, err := os.ReadFile("grafana/dashboards/events.json")
	require.NoError(t, err)
	var d struct {
		Panels []panel `json:"panels"`
	}
	require.NoError(t, json.Unmarshal(raw, &d))
	ids := map[int]bool{}
	for _, p := range d.Panels {
		assert.False(t, ids[p.ID], "panel %d is there twice", p.ID)
		ids[p.ID] = true
	}
	return d.Panels
}

// TestDashboard has a real Prometheus scrape the running service, and answer every query of the dashboard with numbers; and
// looks whether every metric that an alert names is there.
func TestDashboard(t *testing.T) {
	t.Parallel()
	prometheus := command(t, "prometheus", "prometheus")
	binary := filepath.Join(t.TempDir(), "customservice")
	run(t, "go", "build", "-o", binary, "../customservice")
	kafkaPort, data := freePort(t), t.TempDir()
	kafka := func() *embedded.Broker {
		b, err := embedded.Start(context.Background(), embedded.WithPort(kafkaPort), embedded.WithDataDir(data))
		require.NoError(t, err)
		return b
	}
	broker := kafka()
	t.Cleanup(func() { _ = broker.Close() })
	service := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	start(t, []string{"Kafka__MessageTimeoutMs=2000"}, binary, "-addr", service, "-kafka", broker.Addr(), "-data", t.TempDir(), "-partitions", "2")

	folder := t.TempDir()
	alerts, err := os.ReadFile("alerts.yml")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "alerts.yml"), alerts, 0o600))
	config := strings.NewReplacer("customservice:8090", service, "5s", "1s").Replace(read(t, "prometheus.yml"))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "prometheus.yml"), []byte(config), 0o600))
	api := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	start(t, nil, prometheus, "--config.file="+filepath.Join(folder, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(folder, "data"), "--web.listen-address="+api, "--log.level=error")

	base := "http://" + service
	require.Eventually(t, func() bool { return create(t.Context(), base) == nil }, patience, 200*time.Millisecond, "the service answers")
	require.Eventually(t, func() bool { v, err := query(t.Context(), api, "up"); return err == nil && v > 0 }, patience, 200*time.Millisecond, "Prometheus scrapes it")
	// Something goes wrong: a handler fails, and Kafka is away for a while.
	post(t, base+"/consumers/notification/failing", `{"failing":true}`)
	require.NoError(t, create(t.Context(), base))
	failing := `messaging_client_sent_messages_total{error_type!=""}`
	await(t, api, base, "events_dead_lettered_total")
	post(t, base+"/consumers/notification/failing", `{"failing":false}`)
	require.NoError(t, broker.Close())
	await(t, api, base, failing)
	broker = kafka()
	t.Cleanup(func() { _ = broker.Close() })

	ranges := strings.NewReplacer("$__rate_interval", "1m", "$topic", ".*", "$group", ".*")
	queries := 0
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			queries++
			await(t, api, base, ranges.Replace(target.Expr))
		}
	}
	assert.Greater(t, queries, 20)
	names := regexp.MustCompile(`\b(messaging|events)_[a-z_]+`)
	labels := []string{"messaging_destination_name", "messaging_consumer_group_name", "messaging_operation_name"}
	seen := 0
	for _, name := range names.FindAllString(string(alerts), -1) {
		if slices.Contains(labels, name) {
			continue
		}
		seen++
		await(t, api, base, `{__name__=~"`+name+`(_count)?"}`) // texts name histograms as a whole
	}
	assert.Greater(t, seen, 8)
}

// await waits until a query is answered with a number, while the service works.
func await(t *testing.T, api, base, expression string) {
	t.Helper()
	var last error
	ok := assert.Eventually(t, func() bool {
		_ = create(t.Context(), base) // fails when its database does, and then so does the test
		_, last = query(t.Context(), api, expression)
		return last == nil
	}, patience, 300*time.Millisecond)
	require.True(t, ok, "%s: %v", expression, last)
}

var errEmpty = errors.New("no number")

// query returns a finite number that the expression has.
func query(ctx context.Context, api, expression string) (float64, error) {
	raw, err := get(ctx, "http://"+api+"/api/v1/query?query="+url.QueryEscape(expression))
	if err != nil {
		return 0, err
	}
	var answer struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return 0, err
	}
	if answer.Status != "success" {
		return 0, errors.New(answer.Error)
	}
	for _, r := range answer.Data.Result {
		if v, err := strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64); err == nil && !math.IsNaN(v) {
			return v, nil
		}
	}
	return 0, errEmpty
}

func create(ctx context.Context, base string) error {
	body := `{"name":"Lamp","userId":"` + uuid.NewString() + `"}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/items", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusCreated {
		return errors.New(res.Status)
	}
	return nil
}

func post(t *testing.T, to, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	_ = res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
}

func get(ctx context.Context, from string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	return io.ReadAll(res.Body)
}

func read(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(raw)
}

// start runs a program until the test ends, and shows what it said if that fails.
func start(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	var said strings.Builder
	cmd := exec.Command(name, args...) //nolint:noctx // ended below
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			text := said.String()
			t.Logf("%s said:\n%s", filepath.Base(name), text[max(0, len(text)-8000):])
		}
	})
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // of TCP
}
