// Two charts of the last two minutes: rate and latency. The charts library comes when the page can be used already; without it
// there are no charts, and all else works.

import { byId } from "./dom.js";

const HEIGHT = 92;

export class Charts {
  #rate = null;
  #latency = null;
  #history = null;
  #drawn = 0;

  // Fetches the library, and draws what there is by then.
  async load() {
    const library = document.createElement("script");
    library.src = byId("charts").dataset.library;
    const loaded = new Promise((resolve) => {
      library.onload = () => resolve(true);
      library.onerror = () => resolve(false);
    });
    document.head.append(library);
    if (await loaded) this.#begin();
    else byId("charts").hidden = true;
  }

  #begin() {
    this.#make();
    // Colours are the page's, and change with it.
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#make());
    new ResizeObserver(() => this.#resize()).observe(byId("charts"));
  }

  // Draws once per second.
  show(history) {
    this.#history = history;
    const newest = history.seconds.at(-1);
    if (!this.#rate || document.hidden || newest === this.#drawn) return;
    this.#drawn = newest;
    this.#draw();
  }

  #draw() {
    const { seconds, rate, median, p95 } = this.#history;
    this.#rate.setData([seconds, rate]);
    this.#latency.setData([seconds, median, p95]);
    const latest = p95.findLast((value) => value !== null);
    byId("rate-chart").setAttribute("aria-label", `Events per second: ${rate.at(-1)} now, at most ${Math.max(...rate)} in two minutes`);
    byId("latency-chart").setAttribute("aria-label", latest === undefined ? "No latencies yet" : `Latency: 95 % within ${Math.round(latest)} ms`);
  }

  #make() {
    this.#rate?.destroy();
    this.#latency?.destroy();
    this.#rate = chart("rate-chart", [{ color: "--accent", fill: "--accent-soft", bars: true }], 1);
    this.#latency = chart("latency-chart", [{ color: "--accent" }, { color: "--custom", dash: [5, 3] }], 10);
    if (this.#history) this.#draw();
  }

  #resize() {
    for (const [name, plot] of [["rate-chart", this.#rate], ["latency-chart", this.#latency]]) {
      plot.setSize({ width: byId(name).clientWidth, height: HEIGHT });
    }
  }
}

function chart(name, series, atLeast) {
  const { uPlot } = globalThis;
  const style = getComputedStyle(document.documentElement);
  const color = (variable) => style.getPropertyValue(variable).trim();
  const axis = { stroke: color("--soft"), font: "11px system-ui", grid: { stroke: color("--line"), width: 1 }, ticks: { show: false } };
  const ago = (plot, splits) => splits.map((second) => (second === plot.data[0].at(-1) ? "now" : `−${Math.round(plot.data[0].at(-1) - second)} s`));
  const options = {
    width: byId(name).clientWidth,
    height: HEIGHT,
    padding: [6, 6, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: false }, y: { range: (_, low, high) => [0, Math.max(atLeast, (high ?? 0) * 1.1)] } },
    axes: [
      { ...axis, size: 20, gap: 2, values: ago, splits: (plot, _, low, high) => [high - 120, high - 80, high - 40].filter((at) => at >= low) },
      { ...axis, size: 44, gap: 4, space: 28 },
    ],
    series: [
      {},
      ...series.map(({ color: stroke, fill, dash, bars }) => ({
        stroke: color(stroke),
        width: 1.5,
        points: { show: false },
        spanGaps: false,
        ...(fill && { fill: color(fill) }),
        ...(dash && { dash }),
        ...(bars && { paths: uPlot.paths.stepped({ align: 1 }) }),
      })),
    ],
  };
  return new uPlot(options, [[], ...series.map(() => [])], byId(name));
}
