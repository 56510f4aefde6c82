// The dashboard's charts: asks for the lines of the last hour every few seconds, and draws those of the chosen process.
"use strict";

(() => {
  const section = document.getElementById("charts");
  if (!section) {
    return;
  }
  const refreshMs = 5000;
  const patienceMs = 10000;
  const heightPx = 180;
  const shortestS = 120;
  const processes = document.getElementById("chart-process");
  const state = document.getElementById("chart-state");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let found = { at: [], lines: { total: {} } };
  let timer = null;
  let asking = false;

  const whole = (value) => value.toLocaleString("en-GB", { maximumFractionDigits: 0 });
  const short = (value) => value.toLocaleString("en-GB", { maximumFractionDigits: value < 10 ? 2 : 1 });
  const CHARTS = [
    { title: "Clients", unit: "", format: whole, lines: [["clients", "clients"]] },
    { title: "Events per second", unit: "/s", format: short, lines: [["received", "in"], ["sent", "out"]] },
    { title: "Latency, bus to socket", unit: " ms", format: short, lines: [["p50_ms", "p50"], ["p99_ms", "p99"]] },
    { title: "Relay lag", unit: " s", format: short, lines: [["relay_lag_s", "lag"]] },
    { title: "Lagging clients", unit: "", format: whole, lines: [["lagging", "lagging"]] },
    { title: "Rejected events per second", unit: "/s", format: short, lines: [["rejected", "rejected"]] },
  ];

  // Seconds between two ticks, whose labels are minutes.
  const MINUTES = [60, 120, 300, 600, 900];
  const WHOLE_STEPS = [1, 10, 100, 1000, 10000, 100000].flatMap((power) => [power, 2 * power, 5 * power]);

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const strokes = () => [colour("--link-fg"), colour("--error-fg")];

  function values(chart) {
    const lines = found.lines[processes.value] || {};
    return [found.at, ...chart.lines.map(([name]) => lines[name] || found.at.map(() => null))];
  }

  function latest(chart) {
    const [, ...rows] = values(chart);
    const last = rows.map((row, index) => {
      const value = row.findLast((each) => each !== null);
      return value === undefined ? "" : `${chart.lines.length > 1 ? `${chart.lines[index][1]} ` : ""}${chart.format(value)}${chart.unit}`;
    });
    return last.filter(Boolean).join(", ") || "nothing measured";
  }

  // The axis grows with what there is to see, up to the whole hour; a single sample does not become all of it.
  function span() {
    const end = found.at.at(-1) ?? Date.now() / 1000;
    return [end - Math.max(shortestS, end - (found.at[0] ?? end)), end];
  }

  function options(chart, width) {
    const axis = { stroke: colour("--body-quiet-color"), grid: { stroke: colour("--hairline-color"), width: 1 } };
    const format = (value) => (value === null || value === undefined ? "-" : `${chart.format(value)}${chart.unit}`);
    return {
      width,
      height: heightPx,
      cursor: { sync: { key: "hour" } },
      scales: { x: { range: span }, y: { range: (plot, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [
        { ...axis, incrs: MINUTES, values: (plot, ticks) => ticks.map((at) => new Date(at * 1000).toISOString().slice(11, 16)) },
        { ...axis, size: 60, incrs: chart.format === whole ? WHOLE_STEPS : undefined, values: (plot, ticks) => ticks.map((value) => chart.format(value)) },
      ],
      series: [
        { label: "UTC", value: (plot, at) => (at === null ? "-" : new Date(at * 1000).toISOString().slice(11, 19)) },
        ...chart.lines.map(([, label], index) => ({
          label,
          stroke: strokes()[index],
          width: 1.5,
          points: { size: 4 },
          value: (plot, value) => format(value),
        })),
      ],
    };
  }

  function build() {
    const room = section.querySelector(".charts");
    room.replaceChildren();
    for (const chart of CHARTS) {
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      const title = document.createElement("strong");
      title.textContent = chart.title;
      chart.now = document.createElement("span");
      chart.now.className = "quiet";
      caption.append(title, " ", chart.now);
      chart.canvas = document.createElement("div");
      figure.append(caption, chart.canvas);
      room.append(figure);
    }
    for (const chart of CHARTS) {
      chart.plot = new window.uPlot(options(chart, chart.canvas.clientWidth), values(chart), chart.canvas);
    }
  }

  function draw() {
    for (const chart of CHARTS) {
      chart.plot.setData(values(chart));
      chart.now.textContent = latest(chart);
    }
  }

  function offerProcesses() {
    const names = Object.keys(found.lines).filter((name) => name !== "total").sort();
    const known = Array.from(processes.options).slice(1).map((option) => option.value);
    if (names.join("\n") === known.join("\n")) {
      return;
    }
    const chosen = processes.value;
    processes.replaceChildren(processes.options[0], ...names.map((name) => new Option(name, name)));
    processes.value = names.includes(chosen) ? chosen : "total";
  }

  async function refresh() {
    const options = { credentials: "same-origin", redirect: "manual", signal: AbortSignal.timeout(patienceMs) };
    const response = await fetch(section.dataset.lines, options);
    if (response.status === 503) {
      state.textContent = (await response.json()).message;
    } else if (!response.ok) {
      state.textContent = "The charts show an earlier state.";
    } else {
      found = { lines: { total: {} }, ...(await response.json()) };
      found.lines.total = found.lines.total || {};
      state.textContent = found.at.length ? "" : "The first values come within 10 seconds.";
      offerProcesses();
      draw();
    }
  }

  async function tick() {
    if (asking || document.hidden) {
      return;
    }
    asking = true;
    try {
      await refresh();
    } catch {
      state.textContent = "The server does not answer. The charts show an earlier state; trying again.";
    } finally {
      asking = false;
      timer = window.setTimeout(tick, refreshMs);
    }
  }

  function rebuild() {
    build();
    draw();
  }

  processes.addEventListener("change", draw);
  dark.addEventListener("change", rebuild);
  new MutationObserver(rebuild).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  new ResizeObserver(() => {
    for (const chart of CHARTS) {
      chart.plot.setSize({ width: chart.canvas.clientWidth, height: heightPx });
    }
  }).observe(section);
  document.addEventListener("visibilitychange", () => {
    window.clearTimeout(timer);
    tick();
  });
  rebuild();
  tick();
})();
