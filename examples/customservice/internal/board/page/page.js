// The page of customservice: it renders what GET /stream tells, and calls the API. All text goes in as text.
const $ = (id) => document.getElementById(id);

// el makes an element: el("p", {class: "meta"}, "text", other, …).
function el(tag, attrs = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attrs)) {
    if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else if (v === true) e.setAttribute(k, "");
    else if (v !== false && v != null) e.setAttribute(k, v);
  }
  e.append(...children.filter((c) => c != null));
  return e;
}

const most = 200;
const state = { events: [], byPlace: new Map(), outcomes: new Map(), seen: 0, held: false, items: new Map(), editing: null, trace: null };
const place = (r) => `${r.topic}/${r.partition}/${r.offset}`;
const short = (topic) => topic.replace(/^customservice\./, "");
const took = (us) => us < 1000 ? `${us} µs` : us < 1e6 ? `${(us / 1000).toFixed(1)} ms` : `${(us / 1e6).toFixed(2)} s`;
const clock = (t) => new Date(t).toLocaleTimeString(undefined, { hour12: false, hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });

async function call(method, path, body, headers = {}) {
  const r = await fetch(path, { method, headers: { ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers }, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await r.text();
  const v = text ? JSON.parse(text) : {};
  if (!r.ok) {
    const fields = Object.entries(v.errors ?? {}).map(([f, why]) => `${f} ${why}`).join("; ");
    throw new Error([v.detail ?? r.statusText, fields].filter(Boolean).join(" "));
  }
  return v;
}

// ---- the stream

function connect() {
  const stream = new EventSource("/stream");
  const on = (kind, f) => stream.addEventListener(kind, (m) => f(JSON.parse(m.data)));
  on("hello", () => { // everything comes anew
    state.events = []; state.byPlace.clear(); state.outcomes.clear();
    renderEvents(); loadItems();
  });
  on("event", seenEvent);
  on("handled", handled);
  on("state", renderState);
  on("letters", renderLetters);
  stream.onerror = () => pill("waiting", "connection lost, trying again…");
}

function pill(kind, text) {
  $("status").className = "pill " + kind;
  if ($("status").textContent !== text) $("status").textContent = text;
}

function seenEvent(e) {
  if (state.byPlace.has(place(e))) return;
  state.byPlace.set(place(e), e);
  state.events.unshift(e);
  state.seen++;
  for (const old of state.events.splice(most)) { state.byPlace.delete(place(old)); state.outcomes.delete(place(old)); }
  $("seen").textContent = state.seen;
  soon("items", loadItems, 250);
  if (!state.held) addEvent(e, true);
  if (state.trace && e.traceId === state.trace) soon("trace", () => showTrace(state.trace, false), 400);
}

function handled(h) {
  const p = place(h);
  const all = state.outcomes.get(p) ?? new Map();
  all.set(h.consumer, h);
  state.outcomes.set(p, all);
  const row = document.querySelector(`[data-place="${CSS.escape(p)}"] .outcomes`);
  if (row) row.replaceWith(outcomes(p));
  if (state.trace && state.byPlace.get(p)?.traceId === state.trace) soon("trace", () => showTrace(state.trace, false), 400);
}

const timers = {};
function soon(name, f, after) {
  clearTimeout(timers[name]);
  timers[name] = setTimeout(f, after);
}

// ---- events

function outcomes(p) {
  const all = [...(state.outcomes.get(p) ?? new Map()).values()].sort((a, b) => a.consumer.localeCompare(b.consumer));
  return el("ul", { class: "outcomes", "aria-label": "What the consumers made of it" }, ...all.map((h) =>
    el("li", { class: h.ok ? "ok" : "failed", title: h.error }, `${h.consumer} ${h.ok ? "✓ " + took(h.micros) : "✗ " + (h.error ?? "")}${h.attempt > 1 ? `, attempt ${h.attempt}` : ""}`)));
}

function details(r) {
  let value = r.value;
  try { value = JSON.stringify(JSON.parse(r.value), null, 2); } catch { /* not JSON: as it is */ }
  return [
    el("table", {}, el("caption", { class: "hidden" }, "Headers"), el("tbody", {}, ...r.headers.map(([k, v]) => el("tr", {}, el("th", { scope: "row" }, k), el("td", {}, v))))),
    el("pre", { tabindex: 0, "aria-label": "Value" }, value),
  ];
}

function eventRow(e, fresh) {
  const p = place(e);
  const d = el("details", {}, el("summary", {}, short(e.topic)));
  d.addEventListener("toggle", () => { if (d.open && d.children.length === 1) d.append(...details(e)); });
  let about = "";
  try { const v = JSON.parse(e.value); about = v.name ?? v.message ?? ""; } catch { about = "not JSON"; }
  return el("li", { class: fresh ? "fresh" : null, "data-place": p, "data-topic": e.topic },
    el("div", { class: "line" }, d, el("button", { type: "button", disabled: !e.traceId, onclick: () => showTrace(e.traceId, true) }, "Trace")),
    el("p", { class: "meta" }, `${clock(e.time)} · partition ${e.partition}, offset ${e.offset} · ${about}`),
    outcomes(p));
}

const shown = (e) => !$("filter").value || e.topic === $("filter").value;

function addEvent(e, fresh) {
  const filter = $("filter");
  if (![...filter.options].some((o) => o.value === e.topic)) filter.append(el("option", { value: e.topic }, short(e.topic)));
  if (shown(e)) $("events-list").prepend(eventRow(e, fresh));
  while ($("events-list").children.length > most) $("events-list").lastChild.remove();
  countEvents();
}

function countEvents() {
  $("events-count").textContent = state.events.length ? state.events.length : "";
  $("events-empty").hidden = $("events-list").children.length > 0;
}

function renderEvents() {
  $("events-list").replaceChildren(...state.events.filter(shown).map((e) => eventRow(e, false)));
  countEvents();
}

$("filter").addEventListener("change", renderEvents);
$("hold").addEventListener("click", () => {
  state.held = !state.held;
  $("hold").setAttribute("aria-pressed", state.held);
  $("hold").textContent = state.held ? "Held: go on" : "Hold";
  if (!state.held) renderEvents();
});

// ---- items

let loading = 0;
async function loadItems() {
  const mine = ++loading;
  try {
    const page = await call("GET", "/items?limit=200");
    if (mine !== loading) return; // a later one is on its way
    const items = page.items.sort((a, b) => b.createdAt.localeCompare(a.createdAt));
    $("items-count").textContent = items.length ? (page.nextCursor ? `the first ${items.length}` : items.length) : "";
    $("items-empty").hidden = items.length > 0;
    const focused = document.activeElement?.dataset?.focus;
    $("items-list").replaceChildren(...items.map(itemRow));
    if (focused) document.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  } catch (err) { $("items-count").textContent = err.message; }
}

function itemRow(it) {
  return el("li", { "data-item": it.id },
    el("div", { class: "line" }, el("strong", {}, it.name), el("span", { class: "meta" }, `${it.status}, version ${it.version}`)),
    el("p", { class: "meta" }, it.description || "–"),
    el("div", { class: "row" },
      el("button", { type: "button", "data-focus": "edit " + it.id, "aria-label": "Change " + it.name, onclick: () => edit(it) }, "Change"),
      el("button", { type: "button", "data-focus": "delete " + it.id, "aria-label": "Delete " + it.name, onclick: () => remove(it) }, "Delete")));
}

function edit(it) {
  state.editing = it;
  $("form-title").textContent = "Change item";
  $("save").textContent = "Save";
  $("cancel").hidden = false;
  $("name").value = it.name;
  $("description").value = it.description ?? "";
  $("item-status").value = it.status;
  $("user").value = it.userId;
  $("user").readOnly = true;
  $("name").focus();
}

function stopEditing() {
  state.editing = null;
  $("form-title").textContent = "New item";
  $("save").textContent = "Create";
  $("cancel").hidden = true;
  $("name").value = $("description").value = $("form-error").textContent = "";
  $("user").readOnly = false;
}

$("cancel").addEventListener("click", stopEditing);
$("item-form").addEventListener("keydown", (e) => { if (e.key === "Escape" && state.editing) stopEditing(); });
$("item-form").addEventListener("submit", async (e) => {
  e.preventDefault();
  $("form-error").textContent = "";
  const body = { name: $("name").value, description: $("description").value, userId: $("user").value, status: $("item-status").value };
  try {
    if (state.editing) {
      if (state.editing.categoryId) body.categoryId = state.editing.categoryId;
      await call("PUT", "/items/" + state.editing.id, { ...body, modifiedBy: "page" }, { "If-Match": `"${state.editing.version}"` });
    } else await call("POST", "/items", body);
    stopEditing();
    $("name").focus();
  } catch (err) { $("form-error").textContent = err.message; }
  loadItems();
});

async function remove(it) {
  try { await call("DELETE", "/items/" + it.id + "?deletedBy=page", undefined, { "If-Match": `"${it.version}"` }); } catch (err) { $("form-error").textContent = err.message; }
  if (state.editing?.id === it.id) stopEditing();
  loadItems();
}

for (const s of ["Active", "Inactive", "Archived"]) $("item-status").append(el("option", { value: s }, s));
let user = localStorage.getItem("user");
if (!user) localStorage.setItem("user", user = crypto.randomUUID ? crypto.randomUUID() : "550e8400-e29b-41d4-a716-446655440000");
$("user").value = user;
$("user").addEventListener("change", () => localStorage.setItem("user", $("user").value));

// ---- state and consumers

function renderState(h) {
  pill(h.status, h.status === "ok" ? "all is well" : h.status);
  const part = (id, p, text) => { $(id).textContent = text ?? p.name; $(id).className = p.ok ? "" : "failed"; $(id).title = p.detail ?? ""; };
  part("kafka", h.kafka);
  part("database", h.database);
  const o = h.outbox;
  part("outbox", { ok: !o.detail && !o.parked, detail: o.detail }, `${o.waiting} waiting${o.waiting ? `, ${Math.round(o.oldestSeconds)} s` : ""}${o.parked ? `, ${o.parked} parked` : ""}`);
  $("consumers-empty").hidden = h.consumers.length > 0;
  const focused = document.activeElement?.dataset?.focus;
  $("consumers-list").replaceChildren(...h.consumers.map((c) => el("li", { "data-consumer": c.name },
    el("div", { class: "line" },
      el("span", {}, el("strong", {}, c.name), " ", el("span", { class: c.ok ? "ok" : "failed" }, c.ok ? "runs" : "not well")),
      el("button", { type: "button", "data-focus": "fail " + c.name, "aria-pressed": String(c.failing), "aria-label": `Let ${c.name} fail`, onclick: () => fail(c) }, c.failing ? "Fails: mend it" : "Let it fail")),
    el("p", { class: "meta" }, `lag ${c.lag} · ${c.partitions} partitions · ${c.group}${c.oldestSeconds >= 1 ? ` · stands still for ${Math.round(c.oldestSeconds)} s` : ""}`),
    c.detail ? el("p", { class: "error" }, c.detail) : null)));
  if (focused) document.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
}

async function fail(c) {
  try { await call("POST", `/consumers/${c.name}/failing`, { failing: !c.failing }); } catch (err) { pill("down", err.message); }
}

// ---- dead letters

function renderLetters(v) {
  $("letters-count").textContent = v.total || "";
  $("letters-empty").hidden = v.total > 0;
  $("redrive").disabled = v.total === 0;
  $("letters-list").replaceChildren(...v.letters.map((l) => {
    const d = el("details", {}, el("summary", {}, `${short(l.originalTopic)} ${l.originalPartition}/${l.originalOffset}`));
    d.addEventListener("toggle", () => { if (d.open && d.children.length === 1) d.append(...details(l)); });
    return el("li", { "data-letter": place(l) },
      el("div", { class: "line" }, d, el("button", { type: "button", disabled: !l.traceId, onclick: () => showTrace(l.traceId, true) }, "Trace")),
      el("p", { class: "error" }, l.errorMessage),
      el("p", { class: "meta" }, `${clock(l.failedAt)} · ${l.group} · ${l.attempts} ${l.attempts === 1 ? "attempt" : "attempts"} · ${l.errorType}`));
  }));
}

$("redrive").addEventListener("click", async () => {
  $("redrive").disabled = true;
  $("redriven").textContent = "…";
  try { $("redriven").textContent = `${(await call("POST", "/dead-letters/redrive", {})).sent} sent back`; } catch (err) { $("redriven").textContent = err.message; $("redrive").disabled = false; }
});

// ---- trace

async function showTrace(id, focus) {
  state.trace = id;
  $("trace-id").textContent = id;
  let spans = [];
  try { spans = (await call("GET", "/traces/" + id)).spans; } catch (err) { $("trace-empty").textContent = err.message; }
  if (state.trace !== id) return;
  $("trace-empty").hidden = spans.length > 0;
  $("trace-table").hidden = spans.length === 0;
  renderTrace(id, spans);
  if (focus) { $("trace-title").focus(); $("trace").scrollIntoView({ block: "nearest" }); soon("trace", () => showTrace(id, false), 1500); }
}

function renderTrace(id, spans) {
  if (!spans.length) { $("trace-rows").replaceChildren(); return; }
  const begin = (s) => Date.parse(s.start) * 1000 + (Number((s.start.match(/\.\d{3}(\d{0,3})/) ?? [])[1]?.padEnd(3, "0")) || 0); // microseconds
  const first = Math.min(...spans.map(begin)), last = Math.max(...spans.map((s) => begin(s) + s.micros)), all = Math.max(last - first, 1);
  $("trace-length").textContent = `(${took(all)} in all)`;
  const byID = new Map(spans.map((s) => [s.spanId, s]));
  const children = new Map();
  for (const s of spans) { // below its parent, or else below what it links to
    const up = byID.has(s.parentId) ? s.parentId : s.links?.map((l) => l.spanId).find((l) => byID.has(l) && l !== s.spanId) ?? "";
    children.set(up, [...(children.get(up) ?? []), s]);
  }
  const rows = [], done = new Set();
  const walk = (up, depth) => {
    for (const s of children.get(up) ?? []) {
      if (done.has(s.spanId)) continue;
      done.add(s.spanId);
      rows.push([s, depth]);
      walk(s.spanId, depth + 1);
    }
  };
  walk("", 0);
  $("trace-rows").replaceChildren(...rows.map(([s, depth]) => {
    const name = el("details", {}, el("summary", {}, s.name), el("table", {}, el("tbody", {}, ...Object.entries(s.attributes).sort().map(([k, v]) => el("tr", {}, el("th", { scope: "row" }, k), el("td", {}, v))))));
    name.style.marginLeft = `${depth}rem`;
    const notes = el("div", {}, s.problem ? el("p", { class: "error" }, s.problem) : null, s.traceId !== id ? el("p", { class: "linked meta" }, "linked: a trace of its own") : null);
    notes.style.marginLeft = `${depth + 1}rem`;
    const bar = el("i");
    bar.style.left = `${(begin(s) - first) / all * 100}%`;
    bar.style.width = `${s.micros / all * 100}%`;
    return el("tr", { class: s.failed ? "wrong" : null, "data-span": s.name },
      el("td", {}, name, notes),
      el("td", { class: "kind" }, s.kind), el("td", {}, s.attributes["messaging.consumer.group.name"] ?? s.attributes["messaging.client.id"] ?? ""),
      el("td", { class: s.kind }, el("div", { class: "bar", title: `from ${took(Math.round(begin(s) - first))} on` }, bar)), el("td", { class: "num" }, took(s.micros)));
  }));
}

connect();
