// Numbers about what arrived: counts, events per second, latency; for the tiles, and second by second for the charts.

import { byId, milliseconds, setText } from "./dom.js";

const WINDOW_S = 5;
const SAMPLES = 200;
const SECONDS = 120;

export class Meters {
  #counts = { event: 0, replay: 0, missed: 0, duplicate: 0, error: 0 };
  #latencies = [];
  #seconds = new Map(); // second -> latencies of its events, null where a timestamp is none
  #onSecond;

  // `onSecond(history)` is called twice per second.
  constructor(onSecond) {
    this.#onSecond = onSecond;
    setInterval(() => this.paint(), 500);
  }

  get counts() {
    return { ...this.#counts };
  }

  add(name, number = 1) {
    this.#counts[name] += number;
    if (name === "error") this.paint();
  }

  live(latency) {
    this.add("event");
    const second = now();
    if (!this.#seconds.has(second)) this.#seconds.set(second, []);
    this.#seconds.get(second).push(latency);
    if (latency === null) return;
    this.#latencies.push(latency);
    if (this.#latencies.length > SAMPLES) this.#latencies.shift();
  }

  reset() {
    for (const name of Object.keys(this.#counts)) this.#counts[name] = 0;
    this.#latencies = [];
    this.#seconds.clear();
    this.paint();
  }

  paint() {
    for (const [name, count] of Object.entries(this.#counts)) {
      const tile = byId(`${name}-count`);
      setText(tile, count);
      tile.dataset.zero = String(count === 0);
    }
    for (const second of this.#seconds.keys()) {
      if (second < now() - SECONDS) this.#seconds.delete(second);
    }
    setText(byId("rate"), this.#rate());
    setText(byId("latency"), this.#latency());
    this.#onSecond(this.#history());
  }

  // Over whole seconds only: the running one would read too low.
  #rate() {
    let sum = 0;
    for (let back = 1; back <= WINDOW_S; back += 1) sum += this.#seconds.get(now() - back)?.length ?? 0;
    const rate = sum / WINDOW_S;
    return rate >= 10 ? Math.round(rate) : rate.toFixed(1);
  }

  #latency() {
    if (!this.#latencies.length) return "–";
    const sorted = sort(this.#latencies);
    return `${milliseconds(at(sorted, 0.5))} / ${milliseconds(at(sorted, 0.95))}`;
  }

  // Columns over the last whole seconds, the oldest first; null where there is nothing to say.
  #history() {
    const columns = { seconds: [], rate: [], median: [], p95: [] };
    for (let back = SECONDS; back >= 1; back -= 1) {
      const latencies = this.#seconds.get(now() - back) ?? [];
      const sorted = sort(latencies.filter((latency) => latency !== null));
      columns.seconds.push(now() - back);
      columns.rate.push(latencies.length);
      columns.median.push(sorted.length ? at(sorted, 0.5) : null);
      columns.p95.push(sorted.length ? at(sorted, 0.95) : null);
    }
    return columns;
  }
}

const now = () => Math.floor(Date.now() / 1000);
const sort = (values) => [...values].sort((a, b) => a - b);
const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
