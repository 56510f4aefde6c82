// The states of a topic's executions, from a snapshot on.

import { fold } from "./fold.js";
import { placeOf } from "./topic.js";

/** @import { Execution, Place, TopicName, WorkflowEvent } from "./types.js" */

/** As many as the server sends in a snapshot, and some that come after it. */
const KEPT = 200;

export class Executions {
  #topic;
  #epoch = "";
  /** @type {Place | null} */
  #asOf = null;
  /** @type {Map<string, Execution>} */
  #states = new Map();

  /** @param {TopicName} topic */
  constructor(topic) {
    this.#topic = topic;
  }

  /** By id, the one whose newest event is oldest first. A new map after each change. @returns {ReadonlyMap<string, Execution>} */
  get states() {
    return this.#states;
  }

  /** Begin from a snapshot. @param {{ epoch: string, offset: number, executions: Execution[] }} snapshot */
  load({ epoch, offset, executions }) {
    this.#epoch = epoch;
    this.#asOf = { epoch, offset };
    this.#states = new Map([...executions].reverse().map((state) => [state.execution_id, state]));
  }

  /** Add an event. @param {WorkflowEvent} event @returns {boolean} whether it was news */
  take(event) {
    const { epoch, offset } = placeOf(event, this.#topic);
    if (epoch === this.#asOf?.epoch && offset <= this.#asOf.offset) return false;
    if (epoch !== this.#epoch) this.clear();
    this.#epoch = epoch;
    const states = new Map(this.#states);
    const before = states.get(event.execution_id) ?? null;
    const after = fold(before, event);
    states.delete(event.execution_id);
    states.set(event.execution_id, after);
    for (const id of states.keys()) {
      if (states.size <= KEPT) break;
      states.delete(id);
    }
    this.#states = states;
    return after !== before;
  }

  clear() {
    this.#asOf = null;
    this.#states = new Map();
  }
}
