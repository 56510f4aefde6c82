// The test client: puts the connection, the lists, the charts and the fault lab together. The connection is the JavaScript client
// that applications use, so what is seen here is what they get.

import { WorkflowClient } from "../vendor/workflow-events/core.js";
import { Charts } from "./charts.js";
import { byId, countOf, oncePerFrame, setText } from "./dom.js";
import { Errors } from "./errors.js";
import { EventList } from "./event_list.js";
import { EventStore } from "./event_store.js";
import { ExecutionTable } from "./execution_table.js";
import { FaultLab } from "./fault_lab.js";
import { Inspector } from "./inspector.js";
import { Meters } from "./meters.js";
import { PublishForm } from "./publish_form.js";
import { Subscriptions } from "./subscriptions.js";
import { Tabs } from "./tabs.js";
import { Timeline } from "./timeline.js";
import { originOf, readView, writeView } from "./view_link.js";

const TRANSPORTS = { auto: ["polling", "websocket"], websocket: ["websocket"], polling: ["polling"] };
const PING_MS = 5_000;
const GROW_MS = 200;
const LIVE_IDS = 20_000;
const DELAYED_FILTER_MS = 150;

let client = null;
let refused = false; // the server did not take the token
const liveIds = new Set();

const store = new EventStore();
const charts = new Charts();
const meters = new Meters((history) => charts.show(history));
const errors = new Errors();
const events = new EventList(store, ({ event }) => inspector.show(event));
const inspector = new Inspector({ onExecution: onlyExecution });
const timeline = new Timeline(onlyExecution);
const table = new ExecutionTable(onlyExecution);
const tabs = new Tabs(() => paintExecutions());
const paintExecutions = oncePerFrame(showExecutions);
const subscriptions = new Subscriptions({
  isKnown: (event) => store.has(event.event_id),
  onReplay: (event) => {
    meters.add("replay");
    addEvent(event, true);
  },
  onReplayed: (key, count, known) => note(`Replayed ${count} for ${key}${known ? `, ${known} of them known already` : ""}.`),
  onResumed: showResume,
  onExecutions: () => paintExecutions(),
  onLive: () => lab.settled(),
});
const lab = new FaultLab({
  client: () => client,
  rewind: (back) => subscriptions.rewind(back),
  switchTo: (url) => {
    byId("url").value = url;
    connect();
  },
  counts: () => meters.counts,
  allLive: () => Boolean(client?.state.ready) && subscriptions.allLive,
});
new PublishForm(() => ({ url: byId("url").value, token: byId("token").value }));

// -- the connection ----------------------------------------------------------------------------------------------------

function connect() {
  if (typeof globalThis.io !== "function") {
    fail({ message: "The Socket.IO client library is missing from the static files. Run `make install`." });
    return;
  }
  client?.close();
  const options = { token: byId("token").value, transports: TRANSPORTS[byId("transport").value] };
  client = new WorkflowClient(byId("url").value, options, globalThis.io);
  listen(client);
  showState(client.state);
  subscriptions.moveTo(client);
}

function listen(to) {
  // A client that was replaced has nothing to say any more.
  const on = (name, hear) => to.on(name, (...args) => to === client && hear(...args));
  on("state", showState);
  on("event", (event, { replayed }) => replayed || addLive(event));
  on("gap", showGap);
  on("lag", ({ lagging, ms }) => note(lagging ? `Live events come late: ${Math.round(ms / 1000)} s after their timestamps.` : "Live events come in time again.", lagging ? "bad" : "good"));
  on("error", showFailure);
  on("draining", ({ reconnectInMs }) => note(`The server process is about to end; reconnecting in ${(reconnectInMs / 1000).toFixed(1)} s.`));
  on("emergency", showEmergency);
  on("notice", showNotice);
  // Below the client, which keeps repetitions from us: whether the server repeats itself.
  to.socket.on("workflow_event", ({ event_id: id }) => {
    if (liveIds.has(id)) meters.add("duplicate");
    liveIds.add(id);
    if (liveIds.size > LIVE_IDS) liveIds.delete(liveIds.values().next().value);
  });
}

function showState(state) {
  const { status, ready } = state;
  const badge = byId("state");
  badge.dataset.state = status;
  setText(badge, status);
  badge.title = state.reason ?? "";
  setText(byId("connect"), status === "disconnected" ? "Connect" : "Disconnect");
  for (const id of ["url", "transport"]) byId(id).disabled = status !== "disconnected";
  for (const id of ["authenticate", "stats"]) byId(id).disabled = status !== "connected";
  lab.enable(ready);
  setText(byId("sid"), state.sid ?? "–");
  setText(byId("actual-transport"), state.transport ?? "–");
  setText(byId("reconnects"), state.reconnects);
  if (state.authenticated || status !== "connected") refused = false;
  setText(byId("auth"), authText(state));
  if (ready && byId("ping").textContent === "–") ping();
  if (!ready) setText(byId("ping"), "–");
  subscriptions.changed();
}

function authText({ sid, authRequired, authenticated }) {
  if (!sid) return "–";
  const needed = authRequired ? "required" : "not required";
  if (authenticated) return `${needed}, done`;
  if (refused) return `${needed}, refused`;
  return authRequired ? "required: give a token" : needed;
}

async function ping() {
  if (!client?.state.ready || document.hidden) return;
  const began = performance.now();
  // What goes wrong is told as an error already.
  const answer = await client.stats().catch(() => null);
  if (answer && client.state.ready) setText(byId("ping"), `${Math.max(1, Math.round(performance.now() - began))} ms`);
}

function showResume({ topic, after, recovered }) {
  if (recovered) note(`Resumed ${topic.key} after #${after.offset}: nothing is missing.`, "good");
  else note(`${topic.key} could not be resumed after #${after.offset} without a loss.`, "bad");
  setText(byId("resume"), recovered ? `${topic.key} after #${after.offset}: complete` : `${topic.key}: with a loss`);
}

function showGap({ topic, from, to, reason, count, source }) {
  meters.add("missed", from === null ? (count ?? 1) : to - from + 1);
  const which = from === null ? countOrSome(count) : `events ${from} to ${to}`;
  const whose = topic ? topic.key : `the bus (${source})`;
  note(reason === "unexplained" ? `Events ${from} to ${to} of ${whose} did not arrive.` : `The server reports that ${which} of ${whose} are missing (${reason}).`, "bad");
}

const countOrSome = (count) => (count ? countOf(count, "event") : "some events");

function showFailure(failure) {
  // The panel says already that a token is needed.
  if (failure.code === "token_missing") return;
  if (failure.code === "invalid_token") {
    refused = true;
    fail({ message: failure.message });
  } else if (failure.code === "connection_failed") {
    fail({ message: `Connection failed: ${failure.message}` });
  } else {
    fail(failure);
  }
  if (client) showState(client.state);
}

function fail(error) {
  errors.show({ ...error, message: error.message ?? JSON.stringify(error) });
  meters.add("error");
}

function showEmergency({ state, reason }) {
  const why = reason ? ` (${reason})` : "";
  byId("emergency").hidden = state === "normal";
  setText(byId("emergency"), `Emergency state of the platform: ${state}${why}. Events are delivered all the same.`);
}

function showNotice({ level, message }) {
  byId("notice").hidden = false;
  byId("notice").dataset.level = level;
  setText(byId("notice-text"), `Operator: ${message}`);
}

// -- events and executions ---------------------------------------------------------------------------------------------

function addLive(event) {
  const sent = Date.parse(event.timestamp);
  const latency = Number.isNaN(sent) ? null : Date.now() - client.state.clockSkewMs - sent;
  meters.live(latency);
  addEvent(event, false, latency);
}

function addEvent(event, replayed, latency = null) {
  if (store.add(event, replayed, latency)) events.changed(event.type);
}

function note(text, tone = "") {
  store.addNote(text, tone);
  events.changed();
}

function showExecutions() {
  const executions = subscriptions.executions;
  const running = executions.filter(({ status }) => status === "running").length;
  byId("running").hidden = running === 0;
  setText(byId("running"), `${running} running`);
  const now = Date.now() - (client?.state.clockSkewMs ?? 0);
  if (tabs.shown === "timeline") timeline.show(executions, now);
  if (tabs.shown === "executions") table.show(executions, now);
}

function onlyExecution(id) {
  const bar = byId("execution-filter");
  bar.hidden = !id;
  setText(bar.querySelector("code"), id);
  store.filter({ execution: id });
  events.restart();
  if (id) tabs.show("events");
}

function exportEvents() {
  const lines = store.view.filter(({ event }) => event).map(({ event }) => `${JSON.stringify(event)}\n`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(lines, { type: "application/x-ndjson" }));
  link.download = `events-${new Date().toISOString().replaceAll(":", "-").slice(0, 19)}.ndjson`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// -- what the user does ------------------------------------------------------------------------------------------------

function addTopic(kind, id) {
  if (kind !== "all_bots" && !id) {
    byId("topic-id").focus();
    fail({ message: `Give the id of the ${kind}.` });
    return;
  }
  subscriptions.add(kind, id);
}

function chooseKind(kind) {
  byId("kind").value = kind;
  byId("topic-id").disabled = kind === "all_bots";
}

const onClick = (id, act) => byId(id).addEventListener("click", act);

byId("connection").addEventListener("submit", (submit) => {
  submit.preventDefault();
  if (!client || client.state.status === "disconnected") connect();
  else client.close();
});
onClick("authenticate", () => client.authenticate(byId("token").value));
onClick("stats", async () => {
  const answer = await client.stats().catch(() => null);
  if (!answer) return;
  byId("stats-output").hidden = false;
  setText(byId("stats-output"), JSON.stringify(answer, null, 2));
});

byId("subscribe-form").addEventListener("submit", (submit) => {
  submit.preventDefault();
  addTopic(byId("kind").value, byId("topic-id").value.trim());
});
byId("kind").addEventListener("change", () => chooseKind(byId("kind").value));
for (const chip of document.querySelectorAll(".chip")) {
  chip.addEventListener("click", () => {
    chooseKind(chip.dataset.kind);
    byId("topic-id").value = chip.dataset.id;
    addTopic(chip.dataset.kind, chip.dataset.id);
  });
}

onClick("dismiss-notice", () => (byId("notice").hidden = true));
onClick("pause", () => events.pause(!events.paused));
onClick("export", exportEvents);
onClick("clear", () => {
  store.clear();
  events.restart();
  meters.reset();
  subscriptions.resetCounts();
});
let filtering;
byId("filter").addEventListener("input", () => {
  clearTimeout(filtering);
  filtering = setTimeout(() => {
    store.filter({ text: byId("filter").value.trim().toLowerCase() });
    events.restart();
  }, DELAYED_FILTER_MS);
});
byId("type-filter").addEventListener("change", () => {
  store.filter({ type: byId("type-filter").value });
  events.restart();
});
byId("execution-filter").querySelector("button").addEventListener("click", () => onlyExecution(""));

onClick("share", async () => {
  const link = writeView({ url: byId("url").value, transport: byId("transport").value, tab: tabs.shown, wanted: subscriptions.wanted });
  history.replaceState(null, "", link);
  // The clipboard is there on https and localhost only; the address bar has the link in any case.
  const copied = await navigator.clipboard?.writeText(link).then(() => true, () => false);
  setText(byId("share-note"), copied ? "Copied. The token is not part of it." : "The link is in the address bar. The token is not part of it.");
});

// Whoever follows a link need not know the server that it names, and may trust it for this page's address.
function askForServer(url, origin) {
  const question = byId("elsewhere");
  question.hidden = false;
  setText(question.querySelector("strong"), origin);
  question.querySelector("button").addEventListener("click", () => {
    question.hidden = true;
    byId("url").value = url;
    if (view.autoconnect) connect();
  });
}

// -- start -------------------------------------------------------------------------------------------------------------

const view = readView(location.search);
const linked = originOf(view.url);
byId("url").value = linked === location.origin ? view.url : location.origin;
if (Object.hasOwn(TRANSPORTS, view.transport)) byId("transport").value = view.transport;
if (["timeline", "executions"].includes(view.tab)) tabs.show(view.tab);
for (const { kind, id } of view.wanted) subscriptions.add(kind, id);
meters.paint();
setInterval(ping, PING_MS);
// What runs grows on without events.
setInterval(() => tabs.shown === "events" || document.hidden || paintExecutions(), GROW_MS);
if (linked && linked !== location.origin) askForServer(view.url, linked);
else if (view.autoconnect) connect();
performance.mark("interactive");
charts.load();
