// Executions as Gantt charts of their nodes, the newest first. What runs grows.

import { byId, fromTemplate, milliseconds, setText, shortExecution } from "./dom.js";
import { durationOf, failureOf, spanOf } from "./moments.js";

const RUNS = 20;
const LANES = 60;

export class Timeline {
  #runs = new Map(); // execution id -> {element, lanes: Map(node id -> element)}
  #onExecution;

  constructor(onExecution) {
    this.#onExecution = onExecution;
  }

  // `executions` are the newest first, `now` is the server's time.
  show(executions, now) {
    const shown = executions.slice(0, RUNS);
    byId("no-timeline").hidden = shown.length > 0;
    const ids = new Set(shown.map(({ execution_id }) => execution_id));
    for (const [id, { element }] of this.#runs) {
      if (ids.has(id)) continue;
      element.remove();
      this.#runs.delete(id);
    }
    for (const [index, execution] of shown.entries()) {
      const run = this.#runs.get(execution.execution_id) ?? this.#add(execution);
      // Moving an element that is in its place would lose the focus in it.
      if (byId("timeline").children[index] !== run.element) byId("timeline").insertBefore(run.element, byId("timeline").children[index] ?? null);
      paintRun(run, execution, now);
    }
  }

  #add({ execution_id }) {
    const element = fromTemplate("run");
    const run = { element, lanes: new Map() };
    element.querySelector("button").addEventListener("click", () => this.#onExecution(execution_id));
    this.#runs.set(execution_id, run);
    return run;
  }
}

function paintRun({ element, lanes }, execution, now) {
  const nodes = execution.nodes.slice(0, LANES);
  const spans = [execution, ...nodes].map((state) => spanOf(state, now)).filter(({ start }) => start !== null);
  const begin = Math.min(...spans.map(({ start }) => start));
  const length = Math.max(1, Math.max(...spans.map(({ end }) => end)) - begin);
  element.dataset.status = execution.status;
  setText(element.querySelector(".workflow"), execution.workflow_id);
  setText(element.querySelector("button"), shortExecution(execution));
  setText(element.querySelector(".facts"), factsOf(execution, now));
  for (const node of nodes) {
    if (!lanes.has(node.node_id)) lanes.set(node.node_id, element.querySelector(".lanes").appendChild(fromTemplate("lane")));
    paintLane(lanes.get(node.node_id), node, now, begin, length);
  }
  // An execution that begins anew has no nodes at first.
  for (const [id, lane] of lanes) {
    if (nodes.some(({ node_id }) => node_id === id)) continue;
    lane.remove();
    lanes.delete(id);
  }
  paintFailures(element.querySelector(".error"), execution);
}

function factsOf(execution, now) {
  const { status, node_count: count, counts } = execution;
  const done = counts.completed + counts.failed;
  const hidden = execution.nodes.length - LANES;
  return [
    status,
    count ? `${done} of ${count} nodes` : `${done} nodes`,
    milliseconds(durationOf(execution, now)),
    hidden > 0 && `${hidden} more nodes`,
  ].filter(Boolean).join(" · ");
}

function paintLane(lane, node, now, begin, length) {
  const { start, end } = spanOf(node, now);
  const bar = lane.querySelector(".bar");
  lane.dataset.status = node.status;
  lane.title = [node.node_id, node.category, node.status].filter(Boolean).join(" · ");
  setText(lane.querySelector(".name"), node.name ?? node.node_id);
  setText(lane.querySelector(".took"), start === null ? node.status : milliseconds(durationOf(node, now)));
  bar.hidden = start === null;
  if (start === null) return;
  bar.style.left = `${(100 * (start - begin)) / length}%`;
  bar.style.width = `${(100 * (end - start)) / length}%`;
}

function paintFailures(place, execution) {
  const failed = execution.nodes.filter(({ status }) => status === "failed").map((node) => `${node.name ?? node.node_id}: ${failureOf(node)}`);
  const text = failed.join("; ") || (execution.status === "failed" ? failureOf({ error: execution.error }) : "");
  place.hidden = !text;
  setText(place, text);
}
