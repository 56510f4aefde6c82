// The list of events, newest first. However many arrive, the page is touched once per frame and holds ROWS rows.

import { byId, fromTemplate, milliseconds, oncePerFrame, setText, timeOfDay } from "./dom.js";

const ROWS = 500;
const KEPT = 2_000;

const TONES = {
  execution_started: ["start", "▶"],
  node_started: ["quiet", "▷"],
  node_completed: ["good", "✓"],
  node_failed: ["bad", "✕"],
  execution_completed: ["done", "■"],
};

function toneOf(event) {
  if (event.type === "execution_completed" && event.status === "failed") return ["bad", "■"];
  return TONES[event.type] ?? ["custom", "◆"];
}

export class EventList {
  #records = []; // oldest first; {event, replay, latency, text} or {note}
  #fresh = []; // not painted yet
  #held = 0; // came while paused
  #types = new Set();
  #text = "";
  #type = "";
  #rows = byId("events");
  #scroll = byId("scroll");
  #paint = oncePerFrame(() => this.#render());

  paused = false;

  constructor() {
    this.#rows.addEventListener("click", (click) => {
      const line = click.target.closest(".line");
      if (line) this.#toggle(line);
    });
  }

  add(event, { replay = false, latency = null } = {}) {
    this.#noteType(event.type);
    this.#keep({ event, replay, latency, text: null });
  }

  // A line between the events: what was replayed, what was missed.
  addNote(note, tone = "") {
    this.#keep({ note, tone });
  }

  pause(paused) {
    // What came before the click still belongs on the page.
    this.#render();
    this.paused = paused;
    if (!paused) this.#repaint();
    this.#render();
  }

  filter(text, type) {
    this.#text = text.trim().toLowerCase();
    this.#type = type;
    this.#repaint();
    this.#paint();
  }

  clear() {
    this.#records = [];
    this.#repaint();
    this.#paint();
  }

  #keep(record) {
    this.#records.push(record);
    if (this.#records.length > KEPT * 1.2) this.#records.splice(0, this.#records.length - KEPT);
    if (this.paused) this.#held += 1;
    else this.#fresh.push(record);
    if (this.#fresh.length > ROWS) this.#fresh.splice(0, this.#fresh.length - ROWS);
    this.#paint();
  }

  #repaint() {
    this.#rows.replaceChildren();
    this.#fresh = this.#records.filter((record) => this.#passes(record)).slice(-ROWS);
    this.#held = 0;
  }

  #passes(record) {
    if (record.note) return !this.#text && !this.#type;
    if (this.#type && record.event.type !== this.#type) return false;
    if (!this.#text) return true;
    record.text ??= JSON.stringify(record.event).toLowerCase();
    return record.text.includes(this.#text);
  }

  #render() {
    const batch = document.createDocumentFragment();
    for (const record of this.#fresh) {
      if (this.#passes(record)) batch.prepend(record.note ? makeNote(record) : makeRow(record));
    }
    this.#fresh = [];
    this.#rows.prepend(batch);
    while (this.#rows.childElementCount > ROWS) this.#rows.lastElementChild.remove();
    this.#status();
  }

  #status() {
    byId("no-events").hidden = this.#rows.childElementCount > 0;
    setText(byId("no-events"), this.#records.length ? "No event passes the filter." : "Events appear here, newest first.");
    setText(byId("pause"), this.paused ? `Resume${this.#held ? ` (${this.#held} new)` : ""}` : "Pause");
    byId("pause").setAttribute("aria-pressed", String(this.paused));
    const shown = this.#rows.querySelectorAll(":scope > .row").length;
    setText(byId("shown"), shown ? `${shown} shown; the newest ${ROWS} that pass the filter, of the last ${KEPT.toLocaleString("en")}.` : "");
  }

  #noteType(type) {
    if (this.#types.has(type) || this.#types.size >= 50) return;
    this.#types.add(type);
    const select = byId("type-filter");
    const option = new Option(type, type);
    const after = [...select.options].slice(1).find((other) => other.value > type);
    select.add(option, after ?? null);
  }

  #toggle(line) {
    const row = line.parentElement;
    const open = line.getAttribute("aria-expanded") !== "true";
    line.setAttribute("aria-expanded", String(open));
    if (!open) {
      row.querySelector("pre").remove();
      return;
    }
    const body = document.createElement("pre");
    body.dataset.testid = "event-json";
    body.tabIndex = 0;
    body.setAttribute("role", "region");
    body.setAttribute("aria-label", `The whole event ${row.event.event_id ?? row.event.type}`);
    body.textContent = JSON.stringify(row.event, null, 2);
    row.append(body);
    // At the very top browsers do not anchor the scroll position, and new rows would push away what is being read.
    if (this.#scroll.scrollTop === 0) this.#scroll.scrollTop = 1;
  }
}

function makeRow({ event, replay, latency }) {
  const row = fromTemplate("row");
  const [tone, sign] = toneOf(event);
  row.event = event;
  row.dataset.type = event.type;
  row.dataset.replay = String(replay);
  row.dataset.tone = tone;
  const [time, type, workflow, execution, node, delay, offset] = row.firstElementChild.children;
  time.textContent = timeOfDay(event.timestamp);
  time.title = event.timestamp;
  type.textContent = `${sign} ${event.type}`;
  workflow.textContent = event.workflow_id;
  execution.textContent = shortExecution(event);
  execution.title = event.execution_id;
  node.textContent = event.node_id ?? "";
  delay.textContent = replay ? "replay" : milliseconds(latency);
  offset.textContent = event.offsets?.all === undefined ? "" : `#${event.offsets.all}`;
  if (event.event_id) offset.title = event.event_id;
  return row;
}

// The workflow stands in its own column: leave its name out of the execution's.
function shortExecution(event) {
  const prefix = `exec_${event.workflow_id}_`;
  const id = String(event.execution_id);
  return id.startsWith(prefix) ? id.slice(prefix.length) : id;
}

function makeNote({ note, tone }) {
  const row = document.createElement("li");
  row.className = "note";
  row.dataset.testid = "note";
  row.dataset.tone = tone;
  row.textContent = note;
  return row;
}
