// How far a subscription has come in its topic.

/** @import { Place } from "./types.js" */

/** Knows that it has every event after `#from` up to `#offset`, in one epoch. */
export class Progress {
  /** @type {string | null} */
  #epoch = null;
  #from = 0;
  #offset = 0;

  /** @param {Place} [place] */
  constructor(place) {
    if (place) this.begin(place);
  }

  /** The last event that it has; null when it has none. @returns {Place | null} */
  get place() {
    return this.#epoch === null ? null : { epoch: this.#epoch, offset: this.#offset };
  }

  /** Whether the event at this place was had already. @param {Place} place */
  covers({ epoch, offset }) {
    return epoch === this.#epoch && offset > this.#from && offset <= this.#offset;
  }

  /** Whether the event at this place is the very next one. @param {Place} place */
  continues({ epoch, offset }) {
    return epoch === this.#epoch && offset === this.#offset + 1;
  }

  /**
   * Take the event at this place.
   *
   * @param {Place} place
   * @returns {number} how many events before it never came; -1 when it is not new
   */
  advance({ epoch, offset }) {
    if (epoch !== this.#epoch) {
      this.begin({ epoch, offset: offset - 1 });
    } else if (offset <= this.#offset) {
      return -1;
    }
    const missed = offset - this.#offset - 1;
    if (missed) this.#from = offset - 1;
    this.#offset = offset;
    return missed;
  }

  /** What comes next is what follows this place. @param {Place} place */
  begin({ epoch, offset }) {
    this.#epoch = epoch;
    this.#from = this.#offset = offset;
  }

  forget() {
    this.#epoch = null;
  }
}
