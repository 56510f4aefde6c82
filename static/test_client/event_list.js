// The list of events, newest first. However many there are, only the rows that can be seen are in the page, and it is painted at
// most ten times a second.

import { byId, countOf, fromTemplate, grouped, milliseconds, oncePerFrame, setText, shortExecution, timeOfDay } from "./dom.js";
import { firstAfter, KEPT } from "./event_store.js";

const SPARE_ROWS = 6;
const MAX_TYPES = 50;

const TONES = {
  execution_started: ["start", "▶"],
  node_started: ["quiet", "▷"],
  node_completed: ["good", "✓"],
  node_failed: ["bad", "✕"],
  execution_completed: ["done", "■"],
};

function toneOf(event) {
  if (event.type === "execution_completed" && event.status === "failed") return ["bad", "■"];
  // A publisher's type may be called as something that every object has, such as "constructor".
  return Object.hasOwn(TONES, event.type) ? TONES[event.type] : ["custom", "◆"];
}

export class EventList {
  #store;
  #onOpen;
  #box = byId("events");
  #sheet = document.createElement("div");
  #rows = new Map(); // record -> element
  #types = new Set();
  #pausedAt = null; // the seq of the newest record that is shown
  #shown = 0; // records in the list when it was painted last
  #active = null; // the seq of the record that the keyboard is on
  #paint = oncePerFrame(() => this.#render());

  constructor(store, onOpen) {
    this.#store = store;
    this.#onOpen = onOpen;
    this.#sheet.setAttribute("role", "presentation");
    this.#sheet.className = "sheet";
    this.#box.append(this.#sheet);
    this.#box.addEventListener("scroll", () => this.#paint(), { passive: true });
    this.#box.addEventListener("click", (click) => this.#open(click.target.closest(".row")?.record));
    this.#box.addEventListener("keydown", (key) => this.#onKey(key));
    new ResizeObserver(() => this.#paint()).observe(this.#box);
  }

  get paused() {
    return this.#pausedAt !== null;
  }

  changed(type) {
    if (type) this.#noteType(type);
    this.#paint();
  }

  pause(paused) {
    this.#pausedAt = paused ? this.#store.seq : null;
    this.#render();
  }

  // The view is another one: begin at its top.
  restart() {
    this.#box.scrollTop = 0;
    this.#shown = 0;
    this.#paint();
  }

  // -- painting ----------------------------------------------------------------------------------------------------------

  get #length() {
    const { view } = this.#store;
    return this.paused ? firstAfter(view, this.#pausedAt) : view.length;
  }

  #at(index) {
    return this.#store.view[this.#length - 1 - index];
  }

  #render() {
    const length = this.#length;
    const height = this.#rowHeight();
    // Who has scrolled down keeps what is read where it is.
    if (this.#box.scrollTop > 0 && length > this.#shown) this.#box.scrollTop += (length - this.#shown) * height;
    this.#shown = length;
    this.#sheet.style.height = `${length * height}px`;
    const first = Math.max(0, Math.floor(this.#box.scrollTop / height) - SPARE_ROWS);
    const last = Math.min(length, Math.ceil((this.#box.scrollTop + this.#box.clientHeight) / height) + SPARE_ROWS);
    this.#place(first, last, length, height);
    this.#status();
  }

  #place(first, last, length, height) {
    const wanted = new Map();
    for (let index = first; index < last; index += 1) wanted.set(this.#at(index), index);
    for (const [record, row] of this.#rows) {
      if (wanted.has(record)) continue;
      row.remove();
      this.#rows.delete(record);
    }
    for (const [record, index] of wanted) {
      const row = this.#rows.get(record) ?? this.#add(record);
      row.style.transform = `translateY(${index * height}px)`;
      row.setAttribute("aria-posinset", index + 1);
      row.setAttribute("aria-setsize", length);
      row.setAttribute("aria-selected", String(record.seq === this.#active));
    }
    const active = this.#rows.has(this.#activeRecord) ? `event-${this.#active}` : "";
    this.#box.setAttribute("aria-activedescendant", active);
  }

  #add(record) {
    const row = record.event ? eventRow(record) : noteRow(record);
    row.id = `event-${record.seq}`;
    row.record = record;
    this.#rows.set(record, row);
    this.#sheet.append(row);
    return row;
  }

  #rowHeight() {
    return parseFloat(getComputedStyle(this.#box).getPropertyValue("--row")) || 30;
  }

  #status() {
    const { size, view, filtered } = this.#store;
    const empty = this.#length === 0;
    byId("no-events").hidden = !empty;
    if (empty) setText(byId("no-events"), size ? "No event passes the filter." : "Events appear here, newest first.");
    const held = this.paused ? this.#store.seq - this.#pausedAt : 0;
    setText(byId("pause"), this.paused ? `Resume${held ? ` (${grouped(held)} new)` : ""}` : "Pause");
    byId("pause").setAttribute("aria-pressed", String(this.paused));
    const all = countOf(size, "event");
    const bound = size >= KEPT ? `, the newest ${grouped(KEPT)} are kept` : "";
    setText(byId("shown"), size ? `${filtered ? `${grouped(view.length)} of ` : ""}${all}${bound}` : "");
  }

  // -- mouse and keyboard ------------------------------------------------------------------------------------------------

  get #activeRecord() {
    const index = this.#active === null ? -1 : firstAfter(this.#store.view, this.#active) - 1;
    return this.#store.view[index];
  }

  #open(record) {
    if (!record) return;
    this.#active = record.seq;
    this.#render();
    if (record.event) this.#onOpen(record);
  }

  #onKey(key) {
    const page = Math.max(1, Math.floor(this.#box.clientHeight / this.#rowHeight()) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (key.key in steps) this.#move(steps[key.key]);
    else if (key.key === "Enter" || key.key === " ") this.#open(this.#activeRecord);
    else return;
    key.preventDefault();
  }

  #move(step) {
    const length = this.#length;
    if (!length) return;
    const now = this.#active === null ? -1 : length - firstAfter(this.#store.view, this.#active);
    const index = Math.min(length - 1, Math.max(0, now + step));
    this.#active = this.#at(index).seq;
    const height = this.#rowHeight();
    const top = index * height;
    if (top < this.#box.scrollTop) this.#box.scrollTop = top;
    if (top + height > this.#box.scrollTop + this.#box.clientHeight) this.#box.scrollTop = top + height - this.#box.clientHeight;
    this.#render();
  }

  #noteType(type) {
    if (this.#types.has(type) || this.#types.size >= MAX_TYPES) return;
    this.#types.add(type);
    const select = byId("type-filter");
    const after = [...select.options].slice(1).find((other) => other.value > type);
    select.add(new Option(type, type), after ?? null);
  }
}

function eventRow({ event, replayed, latency }) {
  const row = fromTemplate("row");
  const [tone, sign] = toneOf(event);
  row.dataset.type = event.type;
  row.dataset.replay = String(replayed);
  row.dataset.tone = tone;
  const [time, type, workflow, execution, node, delay, offset, text] = row.children;
  time.textContent = timeOfDay(event.timestamp);
  time.title = event.timestamp;
  type.textContent = `${sign} ${event.type}`;
  workflow.textContent = event.workflow_id;
  execution.textContent = shortExecution(event);
  execution.title = event.execution_id;
  node.textContent = event.node_id ?? "";
  delay.textContent = replayed ? "replay" : milliseconds(latency);
  offset.textContent = event.offsets?.all === undefined ? "" : `#${event.offsets.all}`;
  offset.title = event.event_id ?? "";
  text.remove();
  return row;
}

function noteRow({ note, tone }) {
  const row = fromTemplate("row");
  row.classList.add("note");
  row.dataset.testid = "note";
  row.dataset.tone = tone;
  const text = row.lastElementChild;
  text.textContent = note;
  text.title = note;
  row.replaceChildren(text);
  return row;
}
