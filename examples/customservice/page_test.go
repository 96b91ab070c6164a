package main_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// browser is a page in a real Chromium.
type browser struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp keeps the browser there

	mu       sync.Mutex
	problems []string // what its console complained about
}

// browse opens a URL in a window of this size.
func browse(t *testing.T, url string, width, height int) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if slices.Contains(strings.Split(os.Getenv("ITEST_REQUIRE"), ","), "chromium") {
			t.Fatal("ITEST_REQUIRE names chromium, and there is none")
		}
		t.Skip("there is no chromium")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.WindowSize(width, height))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	alloc, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, closeTab := chromedp.NewContext(alloc)
	t.Cleanup(closeTab)
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx}
	b.run() // the browser starts with the first action
	thrown := chromedp.Events(ctx, runtime.ExceptionThrown)
	go func() {
		for ev, err := range thrown {
			if err != nil {
				return
			}
			b.mu.Lock()
			b.problems = append(b.problems, ev.ExceptionDetails.Text)
			b.mu.Unlock()
		}
	}()
	b.run(chromedp.Navigate(url))
	return b
}

func (b *browser) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, actions...))
}

// eval returns what an expression of the page is.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	require.NoError(b.t, err, expression)
	return v
}

// until waits for an expression to become true.
func (b *browser) until(what, expression string) {
	b.t.Helper()
	_, err := chromedp.Run(b.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(patience)))
	if err != nil {
		b.shoot("failed")
	}
	require.NoError(b.t, err, what)
}

// shoot keeps a picture of the whole page in the folder PAGE_SCREENSHOTS, if that is set.
func (b *browser) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("PAGE_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600))
}

// fine checks what holds of every state of the page.
func (b *browser) fine(name string) {
	b.t.Helper()
	b.shoot(name)
	assert.LessOrEqual(b.t, eval[int](b, "document.documentElement.scrollWidth"), eval[int](b, "window.innerWidth"), "%s: nothing is beside the window", name)
	b.mu.Lock()
	defer b.mu.Unlock()
	assert.Empty(b.t, b.problems, name)
}

// page is the page in a browser, used by the keyboard where that can be.
func page(t *testing.T, binary string) {
	t.Helper()
	p := serve(t, binary, nil, "-memory")
	b := browse(t, p.base+"/", 1400, 950)
	b.until("it is connected", `document.querySelector("#status").textContent === "all is well"`)
	b.until("the consumers are there", `document.querySelectorAll("[data-consumer]").length === 3`)
	assert.True(t, eval[bool](b, `!document.querySelector("#items-empty").hidden && !document.querySelector("#events-empty").hidden && !document.querySelector("#letters-empty").hidden`))
	b.fine("empty")

	// Create, by the keyboard alone: from the top of the page to the name, and Enter.
	b.run(chromedp.Focus("#name"), chromedp.KeyEvent("Lamp <b>1</b>"+kb.Enter))
	b.until("the item", `document.querySelector("[data-item] strong")?.textContent === "Lamp <b>1</b>"`)
	b.until("its event, and the notification's", `document.querySelectorAll("[data-place]").length === 2`)
	created := `[...document.querySelectorAll("[data-topic='customservice.item.created']")]`
	b.until("what the consumers made of it", created+`[0].querySelectorAll(".outcomes .ok").length === 3`)
	assert.Equal(t, "name", eval[string](b, "document.activeElement.id"), "ready for the next one")
	b.run(chromedp.KeyEvent(strings.Repeat("x", 201)))
	assert.Equal(t, 200, eval[int](b, `document.querySelector("#name").value.length`))
	b.run(chromedp.KeyEvent(kb.Enter))
	b.until("the second item", `document.querySelectorAll("[data-item]").length === 2`)

	// Change it: the button is a button, whichever way it is pressed.
	b.run(chromedp.Focus(`[data-item]:last-child [data-focus^="edit"]`), chromedp.KeyEvent(kb.Enter))
	b.until("the form has it", `document.querySelector("#name").value === "Lamp <b>1</b>" && document.activeElement.id === "name"`)
	b.run(chromedp.SetValue("#name", "Lamp 2"), chromedp.KeyEvent(kb.Enter))
	b.until("it is changed", `[...document.querySelectorAll("[data-item] strong")].some(e => e.textContent === "Lamp 2")`)
	b.until("that is an event", `document.querySelector("[data-topic='customservice.item.updated'] .outcomes")?.children.length === 3`)

	// Events have their headers.
	b.run(chromedp.Focus("[data-topic='customservice.item.updated'] summary"), chromedp.KeyEvent(kb.Enter))
	b.until("the headers", `document.querySelector("[data-topic='customservice.item.updated'] details").textContent.includes("ce_correlationid")`)
	b.run(chromedp.KeyEvent(kb.Enter))

	// A trace as a waterfall: from the request to the notification's consumer.
	b.run(chromedp.Focus("[data-topic='customservice.item.updated'] .line button"), chromedp.KeyEvent(kb.Enter))
	for _, span := range []string{
		"PUT /items/{id}", "create customservice.item.updated", "send customservice.item.updated", "process customservice.item.updated",
		"create customservice.notification.notification", "process customservice.notification.notification",
	} {
		b.until("the span "+span, `[...document.querySelectorAll("[data-span]")].some(e => e.dataset.span === "`+span+`")`)
	}
	assert.Equal(t, 3, eval[int](b, `document.querySelectorAll("[data-span='process customservice.item.updated']").length`))
	assert.True(t, eval[bool](b, `[...document.querySelectorAll("#trace-rows .bar i")].every(e => { const i = e.getBoundingClientRect(), o = e.parentElement.getBoundingClientRect(); return i.left >= o.left - 1 && i.right <= o.right + 4 })`),
		"every bar is within its row")
	for range 8 {
		p.create(uuid.NewString(), "Chair")
	}
	b.until("all of that", `document.querySelectorAll("[data-item]").length === 10 && document.querySelectorAll("[data-place]").length === 22`)
	b.until("all is handled", `document.querySelector("#outbox").textContent === "0 waiting" && [...document.querySelectorAll("[data-consumer] .meta")].every(e => e.textContent.startsWith("lag 0"))`)
	b.fine("busy")

	// A consumer that fails makes dead letters, which go back to it when it is mended.
	b.run(chromedp.Focus("[data-consumer=notification] button"), chromedp.KeyEvent(kb.Enter))
	b.until("it fails", `document.querySelector("[data-consumer=notification] button").getAttribute("aria-pressed") === "true"`)
	b.run(chromedp.Focus(`[data-item]:last-child [data-focus^="delete"]`), chromedp.KeyEvent(kb.Enter))
	b.until("it is deleted", `document.querySelectorAll("[data-item]").length === 9`)
	b.until("a dead letter", `document.querySelectorAll("[data-letter]").length === 1 && document.querySelector("[data-letter]").textContent.includes("customservice-notification")`)
	b.until("the event says so", `document.querySelector("[data-topic='customservice.item.deleted'] .outcomes .failed")?.textContent.includes("notification")`)
	b.run(chromedp.Click("[data-letter] .line button"))
	b.until("its trace", `[...document.querySelectorAll("[data-span].wrong")].some(e => e.dataset.span === "process customservice.item.deleted")`)
	b.fine("dead-letters")
	b.run(chromedp.Focus("[data-consumer=notification] button"), chromedp.KeyEvent(kb.Enter))
	b.until("it is mended", `document.querySelector("[data-consumer=notification] button").getAttribute("aria-pressed") === "false"`)
	before := eval[int](b, `document.querySelectorAll("[data-topic='customservice.notification.notification']").length`)
	b.run(chromedp.Focus("#redrive"), chromedp.KeyEvent(kb.Enter))
	b.until("it was sent", `document.querySelector("#redriven").textContent === "1 sent back"`)
	b.until("none is left", `document.querySelectorAll("[data-letter]").length === 0 && !document.querySelector("#letters-empty").hidden`)
	b.until("and it was handled", `document.querySelectorAll("[data-topic='customservice.notification.notification']").length === `+strconv.Itoa(before+1))

	// As narrow as a phone.
	b.run(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	b.fine("narrow")

	// The service goes, and the page says so.
	require.Zero(t, p.stop())
	b.until("the page knows", `document.querySelector("#status").textContent.includes("lost")`)
}

// pageRefuses is what another site could try.
func pageRefuses(t *testing.T, binary string) {
	t.Helper()
	p := serve(t, binary, nil, "-memory")
	status, _ := p.do(http.MethodPost, "/dead-letters/redrive", `{}`, "Content-Type", "text/plain")
	assert.Equal(t, http.StatusUnsupportedMediaType, status, "a form of another site")
	status, _ = p.do(http.MethodPost, "/dead-letters/redrive", `{"gruop":"x"}`)
	assert.Equal(t, http.StatusBadRequest, status)
	status, _ = p.do(http.MethodPost, "/consumers/nobody/failing", `{"failing":true}`)
	assert.Equal(t, http.StatusNotFound, status)
	status, _ = p.do(http.MethodPost, "/consumers/audit/failing", `{}`)
	assert.Equal(t, http.StatusBadRequest, status)
	status, _ = p.do(http.MethodGet, "/traces/4bf92f3577b34da6a3ce929d0e0e4736", "")
	assert.Equal(t, http.StatusNotFound, status)
	res, err := http.Get(p.base + "/") //nolint:noctx // the test's own service
	require.NoError(t, err)
	_ = res.Body.Close()
	assert.Contains(t, res.Header.Get("Content-Security-Policy"), "default-src 'none'")
}
