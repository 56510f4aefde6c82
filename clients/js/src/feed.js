// One topic on the wire, for all its subscriptions.

import { fieldsOf, placeOf } from "./topic.js";

/** @import { Execution, Failure, Gap, Place, Resumed, TopicName, WorkflowEvent } from "./types.js" */
/** @import { Subscription } from "./subscription.js" */

/** How long to wait before a request that failed for a passing reason is made again. */
const RETRY_MS = 2_000;
const PASSING = ["history_unavailable", "internal_error", "rate_limited"];

/** @typedef {{ type?: string, epoch?: string, offset?: number, recovered?: boolean, code?: string, message?: string }} Answer */

/**
 * @typedef {object} Wire
 * @property {(name: string, data: object, answered: (answer: Answer) => void) => void} send
 * @property {() => boolean} ready
 * @property {(result: Resumed) => void} resumed
 * @property {(gap: Gap) => void} gap
 */

/** @typedef {{ targets: Subscription[], after: Place | null }} Request */

export class Feed {
  /** @type {Set<Subscription>} */
  subscriptions = new Set();
  /** Requests that are not answered yet, in the order in which the server works on them. @type {Request[]} */
  #requests = [];
  #joined = false;
  #wire;

  /** @param {TopicName} topic @param {Wire} wire */
  constructor(topic, wire) {
    this.topic = topic;
    this.#wire = wire;
  }

  /** Whether the server has this topic among ours, or is about to. */
  get wanted() {
    return this.#joined || this.#requests.length > 0;
  }

  /** Bring all subscriptions into force that are not, each from where it was. */
  open() {
    const waiting = [...this.subscriptions].filter((each) => !each.live && !this.#requests.some(({ targets }) => targets.includes(each)));
    /** @type {Map<string, Subscription[]>} */
    const epochs = new Map();
    for (const each of waiting) {
      const epoch = each.place?.epoch ?? "";
      epochs.set(epoch, [...(epochs.get(epoch) ?? []), each]);
    }
    for (const targets of epochs.values()) this.#request(targets);
  }

  /** The connection is gone, and with it all that was asked for. */
  suspend() {
    this.#requests = [];
    this.#joined = false;
    for (const each of this.subscriptions) each.live = false;
  }

  /** @param {WorkflowEvent} event */
  has(event) {
    return [...this.subscriptions].some((each) => each.has(event));
  }

  /**
   * Hand an event to those whom it is for: what is replayed is for those who asked.
   *
   * @param {WorkflowEvent} event
   * @param {boolean} replayed
   * @returns {boolean} whether it was news to any of them
   */
  take(event, replayed) {
    const targets = replayed ? (this.#requests[0]?.targets ?? []) : [...this.subscriptions];
    const missed = targets.reduce((most, each) => Math.max(most, each.take(event, replayed)), -1);
    if (missed > 0) {
      const { offset } = placeOf(event, this.topic);
      this.#wire.gap({ topic: this.topic, from: offset - missed, to: offset - 1, reason: "unexplained" });
    }
    return missed >= 0;
  }

  /** @param {{ epoch: string, offset: number, executions: Execution[] }} snapshot */
  load(snapshot) {
    for (const each of this.#requests[0]?.targets ?? []) {
      each.executions?.load(snapshot);
      if (each.executions) each.options.onExecutions?.(each.executions.states);
    }
  }

  /** @param {Gap} gap @param {string} epoch */
  skip(gap, epoch) {
    for (const each of this.#requests[0]?.targets ?? this.subscriptions) each.skip(gap, epoch);
  }

  /**
   * The server has ended it. While something is asked for, this is the answer to an end of our own.
   *
   * @param {Failure} [failure]
   */
  revoke(failure = { code: "unsubscribed", message: "The server ended the subscription." }) {
    if (!this.#joined || this.#requests.length) return;
    this.#joined = false;
    const targets = [...this.subscriptions];
    this.#refused({ targets, after: null }, failure);
  }

  /** @param {Subscription[]} targets */
  #request(targets) {
    const places = targets.map(({ place }) => place).filter((place) => place !== null);
    const after = places.length ? places.reduce((a, b) => (b.offset < a.offset ? b : a)) : null;
    const request = { targets, after };
    this.#requests.push(request);
    const options = {
      epoch: after?.epoch ?? null,
      offset: after?.offset ?? null,
      ...(targets.some(({ executions }) => executions) && { snapshot: true }),
      ...this.#filter(),
    };
    this.#wire.send(`subscribe_${this.topic.kind}`, { ...fieldsOf(this.topic), ...options }, (answer) => this.#answered(request, answer));
  }

  /** What any of the subscriptions wants: a later request replaces the filter of an earlier one. */
  #filter() {
    const wanted = [...this.subscriptions].map(({ options }) => options.types);
    return wanted.every((types) => types !== undefined) && { types: [...new Set(wanted.flat())] };
  }

  /** @param {Request} request @param {Answer} answer */
  #answered(request, answer) {
    if (!this.#requests.includes(request)) return;
    this.#requests = this.#requests.filter((other) => other !== request);
    if (answer.code) this.#refused(request, /** @type {Failure} */ (answer));
    else this.#settled(request, answer);
  }

  /** @param {Request} request @param {Answer} answer */
  #settled({ targets, after }, { epoch = "", offset = 0, recovered = false }) {
    this.#joined = true;
    for (const each of targets) {
      // Nothing was replayed: its place is the end of the topic as it was.
      if (!each.place) each.progress.begin({ epoch, offset });
    }
    if (after) {
      const result = { topic: this.topic, after, recovered };
      this.#wire.resumed(result);
      for (const each of targets) each.options.onResumed?.(result);
    }
    for (const each of targets) each.live = this.subscriptions.has(each);
  }

  /** @param {Request} request @param {Failure} failure */
  #refused({ targets }, failure) {
    if (PASSING.includes(failure.code)) {
      setTimeout(() => this.#wire.ready() && this.open(), RETRY_MS);
    } else if (failure.code !== "authentication_required") {
      for (const each of targets) {
        each.close();
        each.options.onRefused?.({ ...failure, topic: this.topic });
      }
    }
  }
}
