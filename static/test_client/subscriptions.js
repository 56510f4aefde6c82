// What the user wants to be subscribed to, and what came of it. Wishes outlive connections, and so does the place of each: with
// it another connection, or another server process, goes on where this one ended. Offsets are checked here once more, beside
// the client's own check: this page is where one looks when one doubts the client.

import { byId, fromTemplate, grouped, oncePerFrame, setText } from "./dom.js";

export const KINDS = ["workflow", "bot", "strategy"];
const ALL = "all_bots";
const HOLES_SHOWN = 3;

const keyOf = (kind, id) => (kind === ALL ? ALL : `${kind}:${id}`);
const selectorOf = (kind, id) => (kind === ALL ? "all" : { [kind]: id });
const epochOf = (event) => event.event_id.slice(0, event.event_id.lastIndexOf("-"));

function countsOf({ live, replayed, resumed }) {
  const parts = [`${live} live`];
  if (replayed) parts.push(`${replayed} replayed`);
  if (resumed) parts.push(resumed === 1 ? "resumed" : `resumed ${resumed} times`);
  return parts.join(", ");
}

function completenessOf({ first, last, missing, holes }) {
  if (missing) {
    const named = holes.slice(-HOLES_SHOWN).map(({ from, to }) => (from === null ? "?" : from === to ? `#${from}` : `#${from}–#${to}`));
    return `${grouped(missing)} missing: ${holes.length > HOLES_SHOWN ? "… " : ""}${named.join(", ")}`;
  }
  if (first === null) return "";
  return first === last ? `#${last}` : `#${first}–#${last} complete`;
}

export class Subscriptions {
  #items = new Map();
  #client = null;
  #hear;
  #paint = oncePerFrame(() => this.#render());

  // `hear` has onReplay(event), onReplayed(key, count, known), onResumed(result), onExecutions(), onLive(), isKnown(event).
  constructor(hear) {
    this.#hear = hear;
  }

  get wanted() {
    return [...this.#items.values()].map(({ kind, id }) => ({ kind, id }));
  }

  get allLive() {
    return [...this.#items.values()].every(({ followed }) => followed?.live);
  }

  // The states of executions of all topics; of those in several the newest.
  get executions() {
    const states = new Map();
    for (const { followed } of this.#items.values()) {
      for (const [id, state] of followed?.executions.states ?? []) {
        if (!(states.get(id)?.last >= state.last)) states.set(id, state);
      }
    }
    return [...states.values()].sort((a, b) => b.last - a.last);
  }

  add(kind, id) {
    const key = keyOf(kind, id);
    if (this.#items.has(key)) return;
    // `place` is where to go on, if not where `followed` is.
    const item = { key, kind, id, followed: null, place: null, row: null, ...blank() };
    this.#items.set(key, item);
    if (this.#client) this.#follow(item);
    this.#paint();
  }

  remove(key) {
    const item = this.#items.get(key);
    item?.followed?.close();
    item?.row?.remove();
    this.#items.delete(key);
    this.#hear.onExecutions();
    this.#paint();
  }

  // Go on over another client.
  moveTo(client) {
    this.#client = client;
    for (const item of this.#items.values()) this.#follow(item);
    this.#paint();
  }

  // Subscribe anew from `back` events before the newest. Returns how many topics there are.
  rewind(back) {
    for (const item of this.#items.values()) {
      const place = item.followed?.place;
      if (!place) continue;
      item.followed.close();
      item.place = { epoch: place.epoch, offset: Math.max(0, place.offset - back) };
      item.last = item.place.offset;
      item.first = Math.min(item.first ?? Infinity, item.last + 1);
      this.#follow(item);
    }
    this.#paint();
    return this.#items.size;
  }

  resetCounts() {
    for (const item of this.#items.values()) Object.assign(item, blank(), { first: null, last: item.last });
    this.#paint();
  }

  changed() {
    this.#paint();
  }

  #follow(item) {
    const after = item.place ?? item.followed?.place ?? undefined;
    let replayed = 0;
    let known = 0;
    item.place = null;
    item.followed = this.#client.subscribe(selectorOf(item.kind, item.id), {
      executions: true,
      after,
      onEvent: (event, info) => {
        this.#count(item, event, info.replayed);
        if (!info.replayed) return;
        replayed += 1;
        if (this.#hear.isKnown(event)) known += 1;
        this.#hear.onReplay(event);
      },
      onLive: () => {
        if (replayed) this.#hear.onReplayed(item.key, replayed, known);
        replayed = known = 0;
        this.#hear.onLive();
        this.#paint();
      },
      onResumed: (result) => {
        if (result.recovered) item.resumed += 1;
        this.#hear.onResumed(result);
      },
      onGap: (gap) => this.#skip(item, gap),
      onExecutions: () => this.#hear.onExecutions(),
      onRefused: () => this.remove(item.key),
    });
  }

  #count(item, event, replayed) {
    item[replayed ? "replayed" : "live"] += 1;
    const offset = event.offsets[item.kind === ALL ? "all" : item.kind];
    if (epochOf(event) !== item.epoch) Object.assign(item, { epoch: epochOf(event), last: null, first: null });
    if (item.last !== null && offset > item.last + 1) this.#skip(item, { from: item.last + 1, to: offset - 1 });
    item.first ??= offset;
    item.last = Math.max(offset, item.last ?? 0);
    this.#paint();
  }

  #skip(item, { from, to }) {
    // The client and this page's own check may find the same hole.
    if (to !== null && item.last !== null && item.last >= to) return;
    item.holes.push({ from, to });
    item.missing += from === null ? 1 : to - from + 1;
    item.last = to;
    this.#paint();
  }

  #render() {
    byId("no-subscriptions").hidden = this.#items.size > 0;
    for (const item of this.#items.values()) {
      item.row ??= this.#makeRow(item);
      const active = item.followed?.live ?? false;
      item.row.dataset.state = active ? "active" : "waiting";
      setText(item.row.querySelector(".count"), active ? countsOf(item) : "waiting");
      const complete = item.row.querySelector(".complete");
      complete.dataset.missing = String(item.missing > 0);
      setText(complete, completenessOf(item));
    }
  }

  #makeRow(item) {
    const row = fromTemplate("topic");
    row.dataset.topic = item.key;
    setText(row.querySelector(".kind"), item.kind === ALL ? "all bots" : item.kind);
    setText(row.querySelector(".id"), item.id);
    const button = row.querySelector("button");
    button.setAttribute("aria-label", `Remove ${item.key}`);
    button.addEventListener("click", () => this.remove(item.key));
    byId("subscriptions").append(row);
    return row;
  }
}

function blank() {
  return { live: 0, replayed: 0, resumed: 0, epoch: null, first: null, last: null, missing: 0, holes: [] };
}
