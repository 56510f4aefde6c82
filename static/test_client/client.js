// The test client: puts the connection, the lists and the meters together.

import { Connection } from "./connection.js";
import { byId, setText, timeOfDay } from "./dom.js";
import { Errors } from "./errors.js";
import { EventList } from "./event_list.js";
import { Meters } from "./meters.js";
import { Subscriptions } from "./subscriptions.js";
import { readView, writeView } from "./view_link.js";

const SEEN_IDS = 20_000;
const RETRY_MS = 2_000;

const connection = new Connection();
const events = new EventList();
const meters = new Meters();
const errors = new Errors();
const subscriptions = new Subscriptions(byId("subscriptions"), byId("no-subscriptions"), removeTopic);
const seen = new Set();
let state = "disconnected";
let ready = false;
let authRequired = false;

// -- what the server says ----------------------------------------------------------------------------------------------

const on = (name, handle) => connection.addEventListener(name, ({ detail }) => handle(detail));

on("state", ({ state: next, reason }) => {
  state = next;
  const badge = byId("state");
  badge.dataset.state = next;
  setText(badge, next);
  badge.title = reason ?? "";
  setText(byId("connect"), next === "disconnected" ? "Connect" : "Disconnect");
  for (const id of ["url", "transport"]) byId(id).disabled = next !== "disconnected";
  for (const id of ["authenticate", "stats"]) byId(id).disabled = next !== "connected";
  if (next !== "connected") lost();
});

on("session", ({ sid, authRequired: required, serverTime }) => {
  authRequired = required;
  setText(byId("sid"), sid);
  setText(byId("server-time"), serverTime ? timeOfDay(serverTime) : "–");
  setText(byId("auth"), required ? "required: give a token" : "not required");
});

on("transport", ({ name }) => setText(byId("actual-transport"), name));

on("auth", (answer) => {
  const needed = authRequired ? "required" : "not required";
  setText(byId("auth"), answer?.success ? `${needed}, done` : `${needed}, refused`);
  if (!answer?.success) fail({ message: answer?.message ?? "Authentication failed" });
});

on("ready", () => {
  ready = true;
  for (const { kind, id } of subscriptions.wanted) subscribe(kind, id);
});

on("subscribed", (answer) => {
  const { topic, resumedAfter } = subscriptions.confirm(answer);
  if (resumedAfter === null) return;
  if (answer.recovered) events.addNote(`Resumed ${topic} after #${resumedAfter}: nothing is missing.`, "good");
  else events.addNote(`${topic} could not be resumed after #${resumedAfter} without a loss.`, "bad");
});
on("settled", ({ kind, id, answer }) => {
  if (!answer?.code) subscriptions.settle(kind, id, answer ?? {});
  else if (answer.code === "history_unavailable") setTimeout(() => subscribeAgain(kind, id), RETRY_MS);
  else subscriptions.refuse(kind, id);
});
on("unsubscribed", (answer) => subscriptions.remove(answer.type, answer[`${answer.type}_id`]));
on("failure", (error) => fail(error ?? {}));

on("event", (event) => {
  const missed = subscriptions.countLive(event);
  if (missed) noteMissed(`${missed} event${missed === 1 ? "" : "s"} before #${event.offsets.all} did not arrive.`, missed);
  if (!isNew(event)) {
    meters.add("duplicate");
    return;
  }
  const latency = latencyOf(event);
  meters.live(latency);
  events.add(event, { latency });
});

on("recent", ({ events: replayed = [] }) => {
  const { topic, missed } = subscriptions.countReplay(replayed);
  const fresh = replayed.filter(isNew);
  meters.add("replay", replayed.length);
  for (const event of fresh) events.add(event, { replay: true });
  const known = replayed.length - fresh.length;
  events.addNote(`Replayed ${replayed.length} for ${topic || "this client"}${known ? `, ${known} of them known already` : ""}.`);
  if (missed) noteMissed(`${missed} events before this replay are no longer kept.`, missed);
});

on("missed", (hole) => {
  const topic = hole.type === "all_bots" ? hole.type : `${hole.type}:${hole[`${hole.type}_id`]}`;
  const range = typeof hole.from === "number" ? `events ${hole.from} to ${hole.to}` : "some events";
  noteMissed(`The server reports that ${range} of ${topic} are missing (${hole.reason}).`, subscriptions.skip(hole));
});

on("stats", (stats) => {
  const output = byId("stats-output");
  output.hidden = false;
  setText(output, JSON.stringify(stats, null, 2));
});

function lost() {
  ready = false;
  for (const id of ["sid", "actual-transport", "auth", "server-time"]) setText(byId(id), "–");
  subscriptions.suspend();
}

function fail(error) {
  errors.show({ ...error, message: error.message ?? JSON.stringify(error) });
  meters.add("error");
}

function noteMissed(text, number) {
  meters.add("missed", number);
  events.addNote(text, "bad");
}

// False when this very event was shown before. Servers that give no ids never repeat themselves, as far as one can tell.
function isNew(event) {
  if (!event.event_id) return true;
  if (seen.has(event.event_id)) return false;
  seen.add(event.event_id);
  if (seen.size > SEEN_IDS) seen.delete(seen.values().next().value);
  return true;
}

function latencyOf(event) {
  const sent = Date.parse(event.timestamp);
  return Number.isNaN(sent) ? null : Date.now() - sent;
}

// -- what the user does ------------------------------------------------------------------------------------------------

function connect() {
  if (typeof globalThis.io !== "function") {
    fail({ message: "The Socket.IO client library is missing from the static files. Run `make install`." });
    return;
  }
  connection.connect({ url: byId("url").value, transport: byId("transport").value, token: byId("token").value });
}

function addTopic(kind, id) {
  if (kind !== "all_bots" && !id) {
    byId("topic-id").focus();
    fail({ message: `Give the id of the ${kind}.` });
    return;
  }
  subscriptions.add(kind, id);
  if (ready) subscribe(kind, id);
}

function subscribe(kind, id) {
  connection.subscribe(kind, id, subscriptions.placeOf(kind, id));
}

function subscribeAgain(kind, id) {
  if (ready && subscriptions.waits(kind, id)) subscribe(kind, id);
}

function removeTopic(kind, id) {
  if (ready) connection.unsubscribe(kind, id);
  else subscriptions.remove(kind, id);
}

function chooseKind(kind) {
  byId("kind").value = kind;
  byId("topic-id").disabled = kind === "all_bots";
}

byId("connection").addEventListener("submit", (submit) => {
  submit.preventDefault();
  if (state === "disconnected") connect();
  else connection.disconnect();
});
byId("authenticate").addEventListener("click", () => connection.authenticate(byId("token").value));
byId("stats").addEventListener("click", () => connection.requestStats());

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

byId("pause").addEventListener("click", () => events.pause(!events.paused));
byId("clear").addEventListener("click", () => {
  events.clear();
  meters.reset();
  subscriptions.resetCounts();
});
const applyFilter = () => events.filter(byId("filter").value, byId("type-filter").value);
byId("filter").addEventListener("input", applyFilter);
byId("type-filter").addEventListener("change", applyFilter);

byId("share").addEventListener("click", async () => {
  const link = writeView({ url: byId("url").value, transport: byId("transport").value, wanted: subscriptions.wanted });
  history.replaceState(null, "", link);
  // The clipboard is there on https and localhost only; the address bar has the link in any case.
  const copied = await navigator.clipboard?.writeText(link).then(() => true, () => false);
  setText(byId("share-note"), copied ? "Copied. The token is not part of it." : "The link is in the address bar. The token is not part of it.");
});

// -- start -------------------------------------------------------------------------------------------------------------

const view = readView(location.search);
byId("url").value = view.url ?? location.origin;
if (["auto", "websocket", "polling"].includes(view.transport)) byId("transport").value = view.transport;
for (const { kind, id } of view.wanted) subscriptions.add(kind, id);
meters.paint();
if (view.autoconnect) connect();
