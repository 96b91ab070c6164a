package main_test

import (
	"database/sql"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/servicetest"
	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

// The binary is used as its users do: by its command line, over HTTP, by its
// log, and by signals.
func TestCommand(t *testing.T) {
	t.Parallel()
	binary := build(t)
	for name, test := range map[string]func(*testing.T, string){
		"story in memory":      func(t *testing.T, binary string) { t.Helper(); story(t, serve(t, binary, nil, "-memory")) },
		"story on real parts":  storyOnRealParts,
		"story on real Kafka":  storyOnRealKafka,
		"data is kept":         dataIsKept,
		"no broker":            noBroker,
		"no broker, direct":    noBrokerDirect,
		"killed under load":    killedUnderLoad,
		"stops without broker": stopsWithoutBroker,
		"broker comes back":    brokerComesBack,
		"second signal":        secondSignal,
		"consumer alone":       consumerAlone,
		"command line":         commandLine,
		"page":                 page,
		"page refuses":         pageRefuses,
		"one trace":            oneTrace,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, binary)
		})
	}
}

// story is the life of two users' items, and what the consumers make of it.
func story(t *testing.T, p *process) {
	t.Helper()
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	ann, bob := uuid.NewString(), uuid.NewString()
	id := p.create(ann, "Lamp", "X-Correlation-ID", "story-created", "traceparent", "00-"+trace+"-00f067aa0ba902b7-01")
	p.create(bob, "Chair")
	for _, name := range []string{"first", "second", "third"} {
		status, v := p.do(http.MethodPut, "/items/"+id, `{"name":"`+name+`","status":"Inactive","modifiedBy":"user@example.com"}`,
			"X-Correlation-ID", "story-"+name)
		require.Equal(t, http.StatusOK, status, "%v", v)
	}
	status, v := p.do(http.MethodDelete, "/items/"+id, `{"deletedBy":"user@example.com"}`, "X-Correlation-ID", "story-deleted")
	require.Equal(t, http.StatusNoContent, status, "%v", v)
	status, _ = p.do(http.MethodGet, "/items/"+id, "")
	assert.Equal(t, http.StatusNotFound, status)

	// The audit trail has it all, in the order in which it happened.
	var entries []map[string]any
	p.eventually("/audit/items/"+id, func(c *assert.CollectT, status int, v map[string]any) {
		if !assert.Equal(c, http.StatusOK, status) || !assert.Len(c, v["events"], 10) {
			return
		}
		entries = nil
		for _, e := range v["events"].([]any) {
			entries = append(entries, e.(map[string]any))
		}
		state := v["state"].(map[string]any)
		assert.Equal(c, "third", state["name"])
		assert.Equal(c, true, state["deleted"])
		assert.Equal(c, "user@example.com", state["deletedBy"])
	})
	var happened, notified []string
	causes := map[any]any{}
	for _, e := range entries {
		payload := e["payload"].(map[string]any)
		assert.Equal(t, payload["correlationId"], e["correlationId"])
		if strings.HasPrefix(e["topic"].(string), "customservice.item.") {
			happened = append(happened, e["topic"].(string)+" "+payload["name"].(string)+" "+e["correlationId"].(string))
			causes[e["eventId"]] = e["correlationId"]
			continue
		}
		notified = append(notified, e["correlationId"].(string))
		assert.Contains(t, causes, e["causationId"])
		assert.Equal(t, causes[e["causationId"]], e["correlationId"], "a notification has the correlation ID of its cause")
	}
	assert.Equal(t, []string{
		"customservice.item.created Lamp story-created",
		"customservice.item.updated first story-first",
		"customservice.item.updated second story-second",
		"customservice.item.updated third story-third",
		"customservice.item.deleted third story-deleted",
	}, happened)
	assert.ElementsMatch(t, []string{"story-created", "story-first", "story-second", "story-third", "story-deleted"}, notified)

	// The log tells each step, with the correlation ID of the request.
	published := p.loggedText("Published ItemCreated for item " + id)
	assert.Equal(t, "story-created", published.CorrelationID)
	assert.Equal(t, trace, published.TraceID, "the caller's trace")
	var told []string
	for _, l := range p.messages("Wrote to the outbox") {
		if !strings.Contains(l.Msg, "for item "+id) {
			continue
		}
		told = append(told, l.CorrelationID)
	}
	assert.Equal(t, []string{"story-created", "story-first", "story-second", "story-third", "story-deleted"}, told,
		"one user's events are written in order, over all topics")
	for _, consumer := range []string{"analytics", "notification", "audit"} {
		p.logged(consumer+" received ItemDeleted", func(l line) bool {
			return strings.HasPrefix(l.Msg, consumer+" received ItemDeleted") && l.CorrelationID == "story-deleted"
		})
		// Another topic, and so no order between it and the deletion.
		p.logged(consumer+" received ItemUpdated", func(l line) bool {
			return strings.HasPrefix(l.Msg, consumer+" received ItemUpdated") && l.CorrelationID == "story-third"
		})
		var order []string
		for _, l := range p.messages(consumer + " received ItemUpdated") {
			order = append(order, l.CorrelationID)
			assert.NotEmpty(t, l.TraceID)
		}
		assert.Equal(t, []string{"story-first", "story-second", "story-third"}, order, "%s: one user's events in order", consumer)
	}

	p.eventually("/analytics?userId="+ann, func(c *assert.CollectT, _ int, v map[string]any) {
		assert.Equal(c, map[string]any{"Deleted": 1.0}, v["byStatus"])
	})
	p.eventually("/analytics?userId="+bob, func(c *assert.CollectT, _ int, v map[string]any) {
		assert.Equal(c, map[string]any{"Active": 1.0}, v["byStatus"])
	})
	p.eventually("/health", func(c *assert.CollectT, status int, v map[string]any) {
		assert.Equal(c, http.StatusOK, status)
		assert.Equal(c, "ok", v["status"], "%v", v)
	})

	status, v = p.do(http.MethodPost, "/items", `{"name": Lamp}`)
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Contains(t, v["detail"], "line 1, column 10")
	assert.Equal(t, 0, p.stop(), "a stop in order")
	p.loggedText("customservice has stopped")
}

// storyOnRealParts has PostgreSQL and Redis beside the embedded Kafka.
func storyOnRealParts(t *testing.T, binary string) {
	t.Helper()
	dsn := servicetest.Address(t, "postgres", "TEST_POSTGRES_DSN")
	redis := servicetest.Address(t, "redis", "TEST_REDIS_ADDR")
	p := serve(t, binary, []string{"CUSTOMSERVICE_DATABASE=" + schemaOf(t, dsn)}, "-redis", redis)
	health := func() map[string]any { _, v := p.do(http.MethodGet, "/health", ""); return v }()
	assert.Equal(t, map[string]any{"name": "PostgreSQL", "ok": true}, health["database"])
	assert.Equal(t, map[string]any{"name": "Redis", "ok": true}, health["cache"])
	story(t, p)
}

// storyOnRealKafka uses topics of its own, so that a Kafka of many tests is fine.
func storyOnRealKafka(t *testing.T, binary string) {
	t.Helper()
	servers := servicetest.Address(t, "real", "KAFKA_BOOTSTRAP_SERVERS")
	var topics []string
	own := strings.ReplaceAll(uuid.NewString(), "-", "")
	for _, name := range []string{"item.created", "item.updated", "item.deleted", "notification.notification"} {
		topics = append(topics, "customservice."+name+"="+own+"."+name)
	}
	story(t, serve(t, binary, []string{"Kafka__BootstrapServers=" + servers, "Kafka__Topics=" + strings.Join(topics, ",")},
		"-memory", "-partitions", "3", "-replication", "1"))
}

func schemaOf(t *testing.T, dsn string) string {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	schema := "s" + strings.ReplaceAll(uuid.NewString(), "-", "")
	_, err = db.ExecContext(t.Context(), "CREATE SCHEMA "+schema)
	require.NoError(t, err)
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

func dataIsKept(t *testing.T, binary string) {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	user := uuid.NewString()
	trail := func(p *process, id string, n int) {
		p.eventually("/audit/items/"+id, func(c *assert.CollectT, _ int, v map[string]any) { assert.Len(c, v["events"], n) })
	}
	first := serve(t, binary, nil, "-data", data)
	id := first.create(user, "Lamp")
	trail(first, id, 2)
	assert.Equal(t, 0, first.stop())

	second := serve(t, binary, nil, "-data", data)
	status, v := second.do(http.MethodGet, "/items/"+id, "")
	require.Equal(t, http.StatusOK, status)
	assert.Equal(t, "Lamp", v["name"])
	status, _ = second.do(http.MethodPut, "/items/"+id, `{"name":"Bright lamp"}`)
	require.Equal(t, http.StatusOK, status)
	trail(second, id, 4)
	second.eventually("/analytics", func(c *assert.CollectT, _ int, v map[string]any) {
		assert.Equal(c, map[string]any{"Active": 1.0}, v["byStatus"], "not counted twice")
	})
	assert.Len(t, second.messages("audit received ItemUpdated"), 1)
	assert.Empty(t, second.messages("audit received ItemCreated"), "what was finished is not delivered again")
	assert.Equal(t, 0, second.stop())
}

func noBroker(t *testing.T, binary string) { t.Helper(); startsWithoutBroker(t, binary, "outbox") }

func noBrokerDirect(t *testing.T, binary string) {
	t.Helper()
	startsWithoutBroker(t, binary, "direct", "-publish", "direct")
}

func startsWithoutBroker(t *testing.T, binary, waiting string, flags ...string) {
	t.Helper()
	port := closedPort(t)
	p := serve(t, binary, []string{"Kafka__BootstrapServers=127.0.0.1:" + strconv.Itoa(port)}, append(flags, "-memory")...)
	begin := time.Now()
	id := p.create(uuid.NewString(), "Lamp", "X-Correlation-ID", "early")
	assert.Less(t, time.Since(begin), 5*time.Second, "a request does not wait for Kafka")
	status, _ := p.do(http.MethodGet, "/items/"+id, "")
	assert.Equal(t, http.StatusOK, status)
	p.loggedText("Kafka is not reachable")
	p.eventually("/health", func(c *assert.CollectT, status int, v map[string]any) {
		assert.Equal(c, http.StatusOK, status)
		assert.Equal(c, "degraded", v["status"])
		assert.Equal(c, false, v["kafka"].(map[string]any)["ok"])
		assert.NotEmpty(c, v["kafka"].(map[string]any)["detail"])
		assert.InDelta(c, 1, v[waiting].(map[string]any)["waiting"], 0)
	})
	assert.Empty(t, p.messages("Published"))

	embedded.Run(t, embedded.WithPort(port))
	assert.Equal(t, "early", p.loggedText("Published ItemCreated for item "+id).CorrelationID)
	p.loggedText("Kafka is reachable")
	p.eventually("/audit/items/"+id, func(c *assert.CollectT, _ int, v map[string]any) { assert.Len(c, v["events"], 2) })
	p.eventually("/health", func(c *assert.CollectT, _ int, v map[string]any) { assert.Equal(c, "ok", v["status"], "%v", v) })
	assert.Equal(t, 0, p.stop())
}

func stopsWithoutBroker(t *testing.T, binary string) {
	t.Helper()
	port := closedPort(t)
	flags := []string{"-kafka", "127.0.0.1:" + strconv.Itoa(port), "-stop-timeout", "3s"}
	p := serve(t, binary, nil, append(flags, "-memory", "-publish", "direct")...)
	id := p.create(uuid.NewString(), "Lamp")
	begin := time.Now()
	assert.Equal(t, 0, p.stop())
	assert.Less(t, time.Since(begin), 20*time.Second)
	assert.Equal(t, "ERROR", p.loggedText("Failed to publish ItemCreated for item "+id).Level, "what is lost is told")

	flags = append(flags, "-database", filepath.Join(t.TempDir(), "kept.db"))
	p = serve(t, binary, nil, flags...)
	id = p.create(uuid.NewString(), "Lamp", "X-Correlation-ID", "kept")
	assert.Equal(t, 0, p.stop())
	embedded.Run(t, embedded.WithPort(port))
	p = serve(t, binary, nil, flags...)
	assert.Equal(t, "kept", p.loggedText("Published ItemCreated for item "+id).CorrelationID, "what is in the outbox is not lost")
	p.eventually("/audit/items/"+id, func(c *assert.CollectT, _ int, v map[string]any) { assert.Len(c, v["events"], 2) })
	assert.Equal(t, 0, p.stop())
}

// killedUnderLoad kills the service again and again while items are made: the items and the topic tell the same, each event once.
func killedUnderLoad(t *testing.T, binary string) {
	t.Helper()
	broker := embedded.Run(t)
	flags := []string{"-kafka", broker.Addr(), "-database", filepath.Join(t.TempDir(), "killed.db"), "-addr", "127.0.0.1:" + strconv.Itoa(closedPort(t))}
	user := uuid.NewString()
	var answered []string
	for range 6 { // without consumers, whose group would wait for those that were killed
		p := serve(t, binary, nil, append(flags, "-consumers", "none")...)
		kill := time.AfterFunc(time.Duration(100+rand.IntN(700))*time.Millisecond, func() { _ = p.cmd.Process.Kill() })
		for {
			id, ok := p.tryCreate(user)
			if !ok {
				break
			}
			answered = append(answered, id)
		}
		kill.Stop()
		p.wait()
	}
	p := serve(t, binary, nil, flags...)
	p.eventually("/health", func(c *assert.CollectT, _ int, v map[string]any) {
		assert.Equal(c, "ok", v["status"], "%v", v)
		assert.InDelta(c, 0, v["outbox"].(map[string]any)["waiting"], 0)
	})
	stored := p.items(user)
	for _, id := range answered {
		assert.Contains(t, stored, id, "what was answered is stored")
	}
	require.NotEmpty(t, stored)
	topic := readTopic(t, broker.Addr(), "customservice.item.created")
	assert.ElementsMatch(t, stored, topic, "each stored item has its event in the topic, once, and no other has")
	t.Logf("%d items answered, %d stored, %d events", len(answered), len(stored), len(topic))
	p.eventually("/analytics?userId="+user, func(c *assert.CollectT, _ int, v map[string]any) {
		assert.Equal(c, map[string]any{"Active": float64(len(stored))}, v["byStatus"])
	})
	p.eventually("/audit/items/"+stored[0], func(c *assert.CollectT, _ int, v map[string]any) { assert.Len(c, v["events"], 2) })
	p.eventually("/audit/items/"+stored[len(stored)-1], func(c *assert.CollectT, _ int, v map[string]any) { assert.Len(c, v["events"], 2) })
	assert.Len(t, readTopic(t, broker.Addr(), "customservice.notification.notification"), len(stored), "and each event its notification, once")
	assert.Equal(t, 0, p.stop())
}

// brokerComesBack has a broker that goes away while the service runs.
func brokerComesBack(t *testing.T, binary string) {
	t.Helper()
	port, data, user := closedPort(t), t.TempDir(), uuid.NewString()
	broker, err := embedded.Start(t.Context(), embedded.WithPort(port), embedded.WithDataDir(data))
	require.NoError(t, err)
	p := serve(t, binary, nil, "-memory", "-kafka", broker.Addr())
	trail := func(id string, n int) {
		t.Helper()
		p.eventually("/audit/items/"+id, func(c *assert.CollectT, _ int, v map[string]any) { assert.Len(c, v["events"], n) })
	}
	first := p.create(user, "Lamp")
	trail(first, 2)
	require.NoError(t, broker.Close())

	second := p.create(user, "Chair", "X-Correlation-ID", "during")
	p.loggedText("Kafka is not reachable")
	third := p.create(user, "Table", "X-Correlation-ID", "later")
	p.eventually("/health", func(c *assert.CollectT, _ int, v map[string]any) { assert.Equal(c, "degraded", v["status"]) })

	broker, err = embedded.Start(t.Context(), embedded.WithPort(port), embedded.WithDataDir(data))
	require.NoError(t, err)
	trail(second, 2)
	trail(third, 2)
	p.eventually("/audit/users/"+user, func(c *assert.CollectT, _ int, v map[string]any) {
		var order []any
		for _, e := range v["events"].([]any) {
			if e := e.(map[string]any); e["topic"] == "customservice.item.created" {
				order = append(order, e["payload"].(map[string]any)["name"], e["offset"])
			}
		}
		assert.Equal(c, []any{"Lamp", 0.0, "Chair", 1.0, "Table", 2.0}, order, "each once, and in order")
	})
	assert.Equal(t, 0, p.stop())
	require.NoError(t, broker.Close())
}

func secondSignal(t *testing.T, binary string) {
	t.Helper()
	p := serve(t, binary, nil, "-memory", "-kafka", "127.0.0.1:"+strconv.Itoa(closedPort(t)), "-stop-timeout", "1h", "-publish", "direct")
	p.create(uuid.NewString(), "Lamp")
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGINT))
	p.loggedText("not published yet")
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGINT))
	assert.Equal(t, 1, p.wait())
}

func consumerAlone(t *testing.T, binary string) {
	t.Helper()
	broker := embedded.Run(t)
	data := t.TempDir()
	shared := []string{"-kafka", broker.Addr(), "-database", filepath.Join(data, "shared.db")}
	p := serve(t, binary, nil, append(shared, "-consumers", "none")...)
	id := p.create(uuid.NewString(), "Lamp", "X-Correlation-ID", "alone")
	p.loggedText("Published ItemCreated for item " + id)
	status, _ := p.do(http.MethodGet, "/audit/items/"+id, "")
	assert.Equal(t, http.StatusNotFound, status, "nobody consumes")

	audit := launch(t, binary, nil, append([]string{"consume", "audit"}, shared...)...)
	assert.Equal(t, "alone", audit.loggedText("audit received ItemCreated").CorrelationID)
	p.eventually("/audit/items/"+id, func(c *assert.CollectT, _ int, v map[string]any) { assert.Len(c, v["events"], 1) })
	assert.Equal(t, 0, audit.stop())
	audit.loggedText("audit has stopped")
}

func commandLine(t *testing.T, binary string) {
	t.Helper()
	end := func(code int, want string, env []string, args ...string) {
		t.Helper()
		p := launch(t, binary, env, args...)
		assert.Equal(t, code, p.wait())
		p.mu.Lock()
		defer p.mu.Unlock()
		assert.Contains(t, p.rest.String(), want)
	}
	end(2, "-h helps", nil, "-nothing")
	end(2, `CUSTOMSERVICE_QUEUE="many"`, []string{"CUSTOMSERVICE_QUEUE=many"})
	end(1, "needs a broker that others use too", nil, "consume", "audit")
	end(1, "MessageTimeoutMs", []string{"Kafka__MessageTimeoutMs=soon"}, "-addr", "127.0.0.1:0")
	end(1, "PostgreSQL", nil, "-addr", "127.0.0.1:0", "-database", "postgres://nobody:hunter2@127.0.0.1:1/x")

	first := serve(t, binary, nil, "-memory")
	end(1, "another -addr?", nil, "-memory", "-addr", strings.TrimPrefix(first.base, "http://"))
	assert.Equal(t, 0, first.stop())
	_, err := os.Stat(filepath.Join(first.cmd.Dir, "customservice-data"))
	require.ErrorIs(t, err, os.ErrNotExist, "-memory leaves nothing behind")
}
