// What the user wants to be subscribed to, and what the server confirmed. Wishes outlive the connection.

import { fromTemplate, oncePerFrame, setText } from "./dom.js";

export const KINDS = ["workflow", "bot", "strategy"];
const ALL = "all_bots";

const keyOf = (kind, id) => (kind === ALL ? ALL : `${kind}:${id}`);
const epochOf = (event) => String(event.event_id ?? "").replace(/-\d+$/, "");

// The offset of an event in a subscription's topic; null where the server sends none.
function offsetIn(event, kind) {
  return event.offsets?.[kind === ALL ? "all" : kind] ?? null;
}

export class Subscriptions {
  #items = new Map();
  #list;
  #hint;
  #onRemove;
  #awaitingReplay = []; // keys, in the order in which they were confirmed
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
      this.#items.set(key, { key, kind, id, state: "waiting", live: 0, replayed: 0, offset: null, epoch: null, row: null });
    }
    this.#paint();
  }

  confirm(answer) {
    const key = keyOf(answer.type, answer[`${answer.type}_id`]);
    this.add(answer.type, answer[`${answer.type}_id`]);
    this.#items.get(key).state = "active";
    this.#awaitingReplay.push(key);
  }

  remove(kind, id) {
    const item = this.#items.get(keyOf(kind, id));
    item?.row?.remove();
    this.#items.delete(keyOf(kind, id));
    this.#paint();
  }

  // The server refused: what it has not confirmed so far is not going to be.
  refuseWaiting() {
    for (const { kind, id, state } of [...this.#items.values()]) {
      if (state === "waiting") this.remove(kind, id);
    }
  }

  suspend() {
    this.#awaitingReplay = [];
    for (const item of this.#items.values()) item.state = "waiting";
    this.#paint();
  }

  // Counts a live event. Returns how many events before it never came, by the offsets of the confirmed topics.
  countLive(event) {
    let missed = 0;
    for (const item of this.#items.values()) {
      if (item.state !== "active" || !this.#matches(item, event)) continue;
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
    for (const item of this.#items.values()) item.live = item.replayed = 0;
    this.#paint();
  }

  // A replay does not name its topic: it is the first confirmed one without a replay so far that all its events belong to.
  #topicOfReplay(events) {
    for (const [index, key] of this.#awaitingReplay.entries()) {
      const item = this.#items.get(key);
      if (!item || !events.every((event) => this.#matches(item, event))) continue;
      this.#awaitingReplay.splice(index, 1);
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
      const replayed = item.replayed ? `, ${item.replayed} replayed` : "";
      setText(item.row.querySelector(".count"), item.state === "active" ? `${item.live} live${replayed}` : "waiting");
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
