// What the user wants to be subscribed to, and what the server confirmed. Wishes outlive the connection, and so does the place
// of the last event of each topic: with it a new connection goes on where the old one ended.

import { fromTemplate, oncePerFrame, setText } from "./dom.js";

export const KINDS = ["workflow", "bot", "strategy"];
const ALL = "all_bots";

const keyOf = (kind, id) => (kind === ALL ? ALL : `${kind}:${id}`);
const epochOf = (event) => String(event.event_id ?? "").replace(/-\d+$/, "");

// The offset of an event in a subscription's topic; null where the server sends none.
function offsetIn(event, kind) {
  return event.offsets?.[kind === ALL ? "all" : kind] ?? null;
}

function countsOf({ live, replayed, resumed }) {
  const parts = [`${live} live`];
  if (replayed) parts.push(`${replayed} replayed`);
  if (resumed) parts.push(resumed === 1 ? "resumed" : `resumed ${resumed} times`);
  return parts.join(", ");
}

export class Subscriptions {
  #items = new Map();
  #list;
  #hint;
  #onRemove;
  #awaitingReplay = []; // keys of topics that are confirmed and not settled, in that order
  #paint = oncePerFrame(() => this.#render());

  constructor(list, hint, onRemove) {
    this.#list = list;
    this.#hint = hint;
    this.#onRemove = onRemove;
  }

  get wanted() {
    return [...this.#items.values()].map(({ kind, id }) => ({ kind, id }));
  }

  add(kind, id) {
    const key = keyOf(kind, id);
    if (!this.#items.has(key)) {
      const counts = { live: 0, replayed: 0, resumed: 0 };
      this.#items.set(key, { key, kind, id, state: "waiting", settled: false, ...counts, offset: null, epoch: null, row: null });
    }
    this.#paint();
  }

  // {epoch, offset} of the last event that came of a topic; nulls when none has.
  placeOf(kind, id) {
    const { epoch, offset } = this.#items.get(keyOf(kind, id));
    return { epoch, offset };
  }

  waits(kind, id) {
    return this.#items.get(keyOf(kind, id))?.state === "waiting";
  }

  // The server took a subscription. Returns {topic, resumedAfter}: the offset that it went on from, null when it began anew.
  confirm(answer) {
    const key = keyOf(answer.type, answer[`${answer.type}_id`]);
    this.add(answer.type, answer[`${answer.type}_id`]);
    const item = this.#items.get(key);
    const resumedAfter = item.state === "waiting" ? item.offset : null;
    item.state = "active";
    // A server that says nothing of recovery does not tell the end of the replay either.
    item.settled = answer.recovered === undefined;
    if (answer.recovered && resumedAfter !== null) item.resumed += 1;
    if (answer.epoch !== item.epoch || item.offset > answer.offset) Object.assign(item, { epoch: null, offset: null });
    this.#awaitingReplay.push(key);
    this.#paint();
    return { topic: key, resumedAfter };
  }

  // The replay is over, and what comes of this topic from now on is live. Without a replay the topic's own end is the place.
  settle(kind, id, { epoch, offset }) {
    const key = keyOf(kind, id);
    const item = this.#items.get(key);
    this.#awaitingReplay = this.#awaitingReplay.filter((other) => other !== key);
    if (!item) return;
    item.settled = true;
    if (item.offset === null && typeof offset === "number") Object.assign(item, { epoch, offset });
  }

  remove(kind, id) {
    const item = this.#items.get(keyOf(kind, id));
    item?.row?.remove();
    this.#items.delete(keyOf(kind, id));
    this.#paint();
  }

  // The server refused a subscription. One that it confirmed before stays.
  refuse(kind, id) {
    if (this.waits(kind, id)) this.remove(kind, id);
  }

  suspend() {
    this.#awaitingReplay = [];
    for (const item of this.#items.values()) Object.assign(item, { state: "waiting", settled: false });
    this.#paint();
  }

  // Counts a live event. Returns how many events before it never came, by the offsets of the confirmed topics.
  countLive(event) {
    let missed = 0;
    for (const item of this.#items.values()) {
      // What comes of a topic before it is settled comes for another one that the event belongs to, and again in the replay.
      if (!item.settled || !this.#matches(item, event)) continue;
      item.live += 1;
      missed = Math.max(missed, this.#advance(item, event));
    }
    this.#paint();
    return missed;
  }

  // Counts a replay. Returns {topic, missed}.
  countReplay(events) {
    const item = this.#topicOfReplay(events);
    if (!item) return { topic: "", missed: 0 };
    item.replayed += events.length;
    let missed = 0;
    for (const event of events) missed += this.#advance(item, event);
    this.#paint();
    return { topic: item.key, missed };
  }

  // The server says itself that offsets `from` to `to` of a topic are not coming: do not report the same hole again.
  skip({ type, from, to, epoch, ...ids }) {
    const item = this.#items.get(keyOf(type, ids[`${type}_id`]));
    if (typeof from !== "number" || typeof to !== "number") return 1;
    if (item) Object.assign(item, { offset: to, epoch });
    return to - from + 1;
  }

  resetCounts() {
    for (const item of this.#items.values()) item.live = item.replayed = item.resumed = 0;
    this.#paint();
  }

  // A replay does not name its topic: it is the first one not settled that all its events belong to. Where the server does not
  // tell the end of a replay, one message is all of it.
  #topicOfReplay(events) {
    for (const [index, key] of this.#awaitingReplay.entries()) {
      const item = this.#items.get(key);
      if (!item || !events.every((event) => this.#matches(item, event))) continue;
      if (item.settled) this.#awaitingReplay.splice(index, 1);
      return item;
    }
    return null;
  }

  #matches(item, event) {
    return item.kind === ALL || event[`${item.kind}_id`] === item.id;
  }

  #advance(item, event) {
    const offset = offsetIn(event, item.kind);
    if (offset === null) return 0;
    const known = item.epoch === epochOf(event) && item.offset !== null;
    if (known && offset <= item.offset) return 0;
    const missed = known ? offset - item.offset - 1 : 0;
    item.offset = offset;
    item.epoch = epochOf(event);
    return missed;
  }

  #render() {
    this.#hint.hidden = this.#items.size > 0;
    for (const item of this.#items.values()) {
      item.row ??= this.#makeRow(item);
      item.row.dataset.state = item.state;
      setText(item.row.querySelector(".count"), item.state === "active" ? countsOf(item) : "waiting");
    }
  }

  #makeRow(item) {
    const row = fromTemplate("topic");
    row.dataset.topic = item.key;
    setText(row.querySelector(".kind"), item.kind === ALL ? "all bots" : item.kind);
    setText(row.querySelector(".id"), item.id);
    const button = row.querySelector("button");
    button.setAttribute("aria-label", `Remove ${item.key}`);
    button.addEventListener("click", () => this.#onRemove(item.kind, item.id));
    this.#list.append(row);
    return row;
  }
}
