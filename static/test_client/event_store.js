// What came, oldest first, up to a bound; and the part of it that passes the filter.

export const KEPT = 100_000;
const SLACK = 5_000;

export class EventStore {
  #records = []; // {seq, event, replayed, latency} or {seq, note, tone}
  #ids = new Set();
  #view = this.#records; // the records that pass; the same array while there is no filter
  #filter = { text: "", type: "", execution: "" };
  #events = 0;
  seq = 0; // of the newest record

  get view() {
    return this.#view;
  }

  // Events, notes left out.
  get size() {
    return this.#events;
  }

  get filtered() {
    return Object.values(this.#filter).some(Boolean);
  }

  has(id) {
    return this.#ids.has(id);
  }

  // False when it is there already.
  add(event, replayed, latency) {
    if (this.#ids.has(event.event_id)) return false;
    this.#ids.add(event.event_id);
    this.#events += 1;
    this.#keep({ event, replayed, latency });
    return true;
  }

  // A line between the events: what was replayed, what was missed.
  addNote(note, tone = "") {
    this.#keep({ note, tone });
  }

  filter(change) {
    this.#filter = { ...this.#filter, ...change };
    this.#view = this.filtered ? this.#records.filter((record) => this.#passes(record)) : this.#records;
  }

  clear() {
    this.#records = [];
    this.#ids.clear();
    this.#events = 0;
    this.filter({});
  }

  #keep(record) {
    record.seq = ++this.seq;
    this.#records.push(record);
    if (this.filtered && this.#passes(record)) this.#view.push(record);
    if (this.#records.length > KEPT + SLACK) this.#evict();
  }

  #evict() {
    for (const { event } of this.#records.splice(0, this.#records.length - KEPT)) {
      if (!event) continue;
      this.#ids.delete(event.event_id);
      this.#events -= 1;
    }
    if (this.filtered) this.#view.splice(0, firstAfter(this.#view, this.#records[0].seq - 1));
  }

  #passes({ event }) {
    const { text, type, execution } = this.#filter;
    if (!event) return false;
    if (type && event.type !== type) return false;
    if (execution && event.execution_id !== execution) return false;
    return !text || JSON.stringify(event).toLowerCase().includes(text);
  }
}

// The index of the first record that is newer than `seq`.
export function firstAfter(records, seq) {
  let low = 0;
  let high = records.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (records[middle].seq <= seq) low = middle + 1;
    else high = middle;
  }
  return low;
}
