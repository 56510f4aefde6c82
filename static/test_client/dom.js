// Small helpers for the page's elements.

export const byId = (id) => document.getElementById(id);

// Write only what changed: an unchanged text would still dirty the layout.
export function setText(element, text) {
  const value = String(text);
  if (element.textContent !== value) element.textContent = value;
}

export function fromTemplate(id) {
  return byId(id).content.firstElementChild.cloneNode(true);
}

const PAINT_GAP_MS = 100;

// Runs `work` before the next frame, once however often it is asked for, and at most ten times a second: a lone event shows at
// once, and a flood leaves the browser time for the user. A hidden tab gets no frames: there the timer alone does it.
export function oncePerFrame(work) {
  let planned = false;
  let last = -PAINT_GAP_MS;
  const run = () => {
    planned = false;
    last = performance.now();
    work();
    // The timer comes after the browser has drawn: on a slow machine the pause counts from there.
    setTimeout(() => (last = performance.now()));
  };
  const next = () => (document.hidden ? run() : requestAnimationFrame(run));
  return () => {
    if (planned) return;
    planned = true;
    const wait = last + PAINT_GAP_MS - performance.now();
    if (wait > 0 || document.hidden) setTimeout(next, Math.max(wait, 0));
    else next();
  };
}

const two = (number) => String(number).padStart(2, "0");

// Local time of day with milliseconds; the text itself when it is no date.
export function timeOfDay(timestamp) {
  const date = new Date(timestamp);
  if (Number.isNaN(date.getTime())) return String(timestamp ?? "–");
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${clock}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

export function milliseconds(value) {
  if (value === null) return "–";
  const size = Math.abs(value);
  if (size < 1000) return `${Math.round(value)} ms`;
  if (size < 100_000) return `${(value / 1000).toFixed(1)} s`;
  if (size < 6_000_000) return `${Math.round(value / 60_000)} min`;
  return size < 172_800_000 ? `${Math.round(value / 3_600_000)} h` : `${Math.round(value / 86_400_000)} days`;
}

export const grouped = (number) => number.toLocaleString("en");

export const countOf = (number, noun) => `${grouped(number)} ${noun}${number === 1 ? "" : "s"}`;

// The workflow stands beside it: leave its name out of the execution's.
export function shortExecution({ workflow_id, execution_id }) {
  const prefix = `exec_${workflow_id}_`;
  const id = String(execution_id);
  return id.startsWith(prefix) ? id.slice(prefix.length) : id;
}
