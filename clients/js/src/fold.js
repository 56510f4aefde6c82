// From events to the state of an execution: the rules of the server (events/domain/snapshot.py), held to them by the vectors
// in clients/vectors.

import { numberOf } from "./topic.js";

/** @import { Execution, NodeState, NodeStatus, WorkflowEvent } from "./types.js" */

const MAX_NODES = 500;
const MAX_TEXT = 1_000;

/**
 * @typedef {Execution & { nodes: NodeState[] }} Draft
 * @typedef {Record<string, unknown>} Fields
 */

/**
 * The state after one more event. An event that the state has seen already changes nothing: the same object comes back.
 *
 * @param {Execution | null} execution null before the first event
 * @param {WorkflowEvent} event
 * @param {number} [number] its number in the journal
 * @returns {Execution}
 */
export function fold(execution, event, number = numberOf(event)) {
  if (execution && number <= execution.last) return execution;
  const draft = execution && !beginsAnew(execution, event) ? copy(execution) : blank(event, number);
  for (const name of /** @type {const} */ (["bot_id", "strategy_id"])) {
    const id = draft[name] ?? idIn(event, name);
    if (id) draft[name] = id;
  }
  const type = text(event, "type");
  const timestamp = text(event, "timestamp");
  draft.last_event = { type, timestamp };
  draft.events += 1;
  draft.last = number;
  if (type !== null && Object.hasOwn(CHANGES, type)) CHANGES[type](draft, event, timestamp);
  return draft;
}

/** @param {Execution} execution @returns {Draft} */
function copy(execution) {
  return { ...execution, nodes: [...execution.nodes], counts: { ...execution.counts } };
}

/** @param {WorkflowEvent} event @param {number} first @returns {Draft} */
function blank(event, first) {
  return {
    execution_id: idIn(event, "execution_id") ?? "",
    workflow_id: idIn(event, "workflow_id") ?? "",
    status: "running",
    started: null,
    finished: null,
    duration_ms: null,
    node_count: null,
    nodes: [],
    counts: { started: 0, completed: 0, failed: 0 },
    error: null,
    last_event: { type: null, timestamp: null },
    events: 0,
    first,
    last: first,
  };
}

/** Whether an event starts a new run under the id of one that has ended. @param {Execution} execution @param {Fields} event */
function beginsAnew({ status, finished }, event) {
  return status !== "running" && event.type === "execution_started" && isLater(event, finished);
}

/** @type {Record<string, (draft: Draft, event: Fields, timestamp: string | null) => void>} */
const CHANGES = {
  execution_started(draft, event, timestamp) {
    draft.started ??= timestamp;
    const count = numberIn(event, "node_count");
    if (count !== null && Number.isInteger(count) && count >= 0) draft.node_count = count;
  },

  execution_completed(draft, event, timestamp) {
    const word = text(event, "status");
    // An end that calls itself running would never end.
    draft.status = word && word !== "running" ? word : "completed";
    draft.finished = timestamp;
    draft.duration_ms = numberIn(event, "duration_ms");
    draft.error = text(event, "error") ?? draft.error;
  },

  node_started(draft, event, timestamp) {
    draft.counts.started += 1;
    put(draft, event, (node) => {
      if (node.status !== "running" && !isLater(event, node.finished)) return { started: node.started ?? timestamp };
      return { ...UNKNOWN, started: node.status === "running" ? (node.started ?? timestamp) : timestamp };
    });
  },

  node_completed(draft, event, timestamp) {
    draft.counts.completed += 1;
    put(draft, event, () => end("completed", event, timestamp));
  },

  node_failed(draft, event, timestamp) {
    draft.counts.failed += 1;
    const error = text(event, "error");
    draft.error = error ?? draft.error;
    put(draft, event, () => ({ ...end("failed", event, timestamp), error, error_type: text(event, "error_type") }));
  },
};

const UNKNOWN = {
  status: /** @type {NodeStatus} */ ("running"),
  started: null,
  finished: null,
  duration_ms: null,
  error: null,
  error_type: null,
};

/** @param {NodeStatus} status @param {Fields} event @param {string | null} finished */
function end(status, event, finished) {
  return { status, finished, duration_ms: numberIn(event, "duration_ms"), error: null, error_type: null };
}

/**
 * Change the node that an event is about, if its state is kept. Its names are those that were told last.
 *
 * @param {Draft} draft
 * @param {Fields} event
 * @param {(node: NodeState) => Partial<NodeState>} change
 */
function put(draft, event, change) {
  const id = idIn(event, "node_id");
  if (id === null || lengthOf(id) > MAX_TEXT) return;
  const found = draft.nodes.findIndex((node) => node.node_id === id);
  if (found < 0 && draft.nodes.length >= MAX_NODES) return;
  const node = draft.nodes[found] ?? { node_id: id, name: null, category: null, ...UNKNOWN };
  draft.nodes[found < 0 ? draft.nodes.length : found] = {
    ...node,
    name: text(event, "node_name") ?? node.name,
    category: text(event, "node_category") ?? node.category,
    ...change(node),
  };
}

/** Characters as the server counts them. @param {string} value */
function lengthOf(value) {
  return value.length > MAX_TEXT ? [...value].length : value.length;
}

/** @param {Fields} event @param {string} name @returns {string | null} */
function idIn(event, name) {
  const value = event[name];
  return typeof value === "string" && value ? value : null;
}

/** @param {Fields} event @param {string} name */
function text(event, name) {
  const value = idIn(event, name);
  return value && lengthOf(value) > MAX_TEXT ? [...value].slice(0, MAX_TEXT).join("") : value;
}

/** @param {Fields} event @param {string} name */
function numberIn(event, name) {
  const value = event[name];
  return typeof value === "number" && Math.abs(value) <= Number.MAX_SAFE_INTEGER ? value : null;
}

/** Whether an event's timestamp is after another one. False when either cannot be read. @param {Fields} event @param {unknown} than */
function isLater(event, than) {
  return microseconds(event.timestamp) > microseconds(than);
}

const ISO = /^(\d{4})-?(\d\d)-?(\d\d)(?:[T ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?)?(Z|[+-]\d\d(?::?\d\d)?)?)?$/;

/**
 * A moment in microseconds since 1970, NaN for what is no ISO 8601. `Date` knows milliseconds only, and takes a time without
 * a zone for a local one; the server takes it for UTC.
 *
 * @param {unknown} value
 */
function microseconds(value) {
  const [, year, month, day, hour = "0", minute = "0", second = "0", fraction = "", zone = "Z"] = ISO.exec(String(value)) ?? [];
  if (!year || Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return NaN;
  const midnight = Date.UTC(Number(year), Number(month) - 1, Number(day));
  if (new Date(midnight).getUTCDate() !== Number(day)) return NaN;
  const [, sign, ahead = "0", minutes = "0"] = /^([+-])(\d\d):?(\d\d)?$/.exec(zone) ?? [];
  const offset = (sign === "-" ? -1 : 1) * (Number(ahead) * 60 + Number(minutes));
  const seconds = midnight / 1000 + (Number(hour) * 60 + Number(minute) - offset) * 60 + Number(second);
  return seconds * 1_000_000 + Number(fraction.slice(0, 6).padEnd(6, "0"));
}
