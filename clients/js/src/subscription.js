// One follower of a topic.

import { Executions } from "./executions.js";
import { Progress } from "./progress.js";
import { placeOf } from "./topic.js";

/** @import { Gap, Place, SubscribeOptions, TopicName, WorkflowEvent } from "./types.js" */

/** What `client.subscribe` gives. It outlives connections, and goes on where it was. */
export class Subscription {
  /** The states of the topic's executions; null unless the subscription asked for them. */
  executions;
  /** @internal */
  options;
  /** @internal */
  progress;
  #live = false;
  #end;

  /**
   * @internal
   * @param {TopicName} topic
   * @param {SubscribeOptions} options
   * @param {(subscription: Subscription) => void} end
   */
  constructor(topic, options, end) {
    this.topic = topic;
    this.options = options;
    this.progress = new Progress(options.after);
    this.executions = options.executions ? new Executions(topic) : null;
    this.#end = end;
  }

  /** The last event that it has; null before the first. Keep it to go on from there another day. @returns {Place | null} */
  get place() {
    return this.progress.place;
  }

  /** In force, and past its replay. */
  get live() {
    return this.#live;
  }

  /** @internal */
  set live(live) {
    this.#live = live;
    if (live) this.options.onLive?.();
  }

  close() {
    this.#end(this);
  }

  /** @internal Whether it has handed out this event before. @param {WorkflowEvent} event */
  has(event) {
    return this.#wants(event) && this.progress.covers(placeOf(event, this.topic));
  }

  /**
   * @internal Take an event of the topic.
   *
   * @param {WorkflowEvent} event
   * @param {boolean} replayed
   * @returns {number} how many events before it never came, as far as one can tell; -1 when it is not new, or not wanted
   */
  take(event, replayed) {
    const place = placeOf(event, this.topic);
    // What comes of a topic before its replay has ended comes for another one, and again in the replay.
    if (!replayed && !this.#live && !this.progress.continues(place)) return -1;
    const skipped = this.progress.advance(place);
    if (skipped < 0 || !this.#wants(event)) return -1;
    // A filter makes holes of its own.
    const missed = this.options.types ? 0 : skipped;
    if (missed) {
      this.options.onGap?.({ topic: this.topic, from: place.offset - missed, to: place.offset - 1, reason: "unexplained" });
    }
    if (this.executions?.take(event)) this.options.onExecutions?.(this.executions.states);
    this.options.onEvent?.(event, { replayed });
    return missed;
  }

  /**
   * @internal The server says that events are not coming.
   *
   * @param {Gap} gap
   * @param {string} epoch
   */
  skip(gap, epoch) {
    const { from, to } = gap;
    if (from === null || to === null) {
      this.progress.forget();
      this.executions?.clear();
    } else {
      const had = this.progress.place;
      if (had && had.epoch === epoch && had.offset >= to) return;
      this.progress.begin({ epoch, offset: to });
    }
    this.options.onGap?.(gap);
  }

  /** @param {WorkflowEvent} event */
  #wants(event) {
    return this.options.types?.includes(event.type) ?? true;
  }
}
