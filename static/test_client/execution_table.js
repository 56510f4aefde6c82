// Executions as a table, the newest first.

import { byId, fromTemplate, milliseconds, setText, shortExecution, timeOfDay } from "./dom.js";
import { durationOf, spanOf } from "./moments.js";

const ROWS = 100;

export class ExecutionTable {
  #rows = [];
  #onExecution;

  constructor(onExecution) {
    this.#onExecution = onExecution;
  }

  show(executions, now) {
    const shown = executions.slice(0, ROWS);
    byId("no-executions").hidden = shown.length > 0;
    while (this.#rows.length > shown.length) this.#rows.pop().remove();
    while (this.#rows.length < shown.length) this.#rows.push(this.#makeRow());
    for (const [index, execution] of shown.entries()) paintRow(this.#rows[index], execution, now);
  }

  #makeRow() {
    const row = fromTemplate("execution-row");
    row.querySelector("button").addEventListener("click", () => this.#onExecution(row.dataset.execution));
    byId("executions").append(row);
    return row;
  }
}

function paintRow(row, execution, now) {
  const { counts, node_count: count, status } = execution;
  const done = counts.completed + counts.failed;
  row.dataset.execution = execution.execution_id;
  row.dataset.status = status;
  const cells = Object.fromEntries([...row.cells].map((cell) => [cell.className, cell]));
  setText(cells.workflow, execution.workflow_id);
  setText(row.querySelector("button"), shortExecution(execution));
  setText(cells.status.firstElementChild, status);
  const bar = row.querySelector("progress");
  bar.max = count ?? Math.max(1, counts.started);
  // What ended early has gone as far as it will.
  bar.value = status === "running" ? done : bar.max;
  bar.setAttribute("aria-label", `Nodes of ${execution.execution_id}`);
  setText(cells.progress.lastElementChild, count ? `${done}/${count}` : done);
  const { start } = spanOf(execution, now);
  setText(cells.started, start === null ? "–" : timeOfDay(start));
  setText(cells.duration, milliseconds(durationOf(execution, now)));
  setText(cells.error, execution.error ?? "");
  cells.error.title = execution.error ?? "";
}
