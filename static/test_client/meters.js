// Numbers about what arrived: counts, events per second, latency.

import { byId, milliseconds, setText } from "./dom.js";

const WINDOW_S = 5;
const SAMPLES = 200;

export class Meters {
  #counts = { event: 0, replay: 0, missed: 0, duplicate: 0, error: 0 };
  #latencies = [];
  #perSecond = new Map();

  constructor() {
    setInterval(() => this.paint(), 500);
  }

  add(name, number = 1) {
    this.#counts[name] += number;
    if (name === "error") this.paint();
  }

  live(latency) {
    this.add("event");
    const second = Math.floor(performance.now() / 1000);
    this.#perSecond.set(second, (this.#perSecond.get(second) ?? 0) + 1);
    if (latency === null) return;
    this.#latencies.push(latency);
    if (this.#latencies.length > SAMPLES) this.#latencies.shift();
  }

  reset() {
    for (const name of Object.keys(this.#counts)) this.#counts[name] = 0;
    this.#latencies = [];
    this.#perSecond.clear();
    this.paint();
  }

  paint() {
    for (const [name, count] of Object.entries(this.#counts)) {
      const tile = byId(`${name}-count`);
      setText(tile, count);
      tile.dataset.zero = String(count === 0);
    }
    setText(byId("rate"), this.#rate());
    setText(byId("latency"), this.#latency());
  }

  // Over whole seconds only: the running one would read too low.
  #rate() {
    const now = Math.floor(performance.now() / 1000);
    let sum = 0;
    for (const [second, count] of this.#perSecond) {
      if (second < now - WINDOW_S) this.#perSecond.delete(second);
      else if (second < now) sum += count;
    }
    const rate = sum / WINDOW_S;
    return rate >= 10 ? Math.round(rate) : rate.toFixed(1);
  }

  #latency() {
    if (!this.#latencies.length) return "–";
    const sorted = [...this.#latencies].sort((a, b) => a - b);
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
    return `${milliseconds(at(0.5))} / ${milliseconds(at(0.95))}`;
  }
}
