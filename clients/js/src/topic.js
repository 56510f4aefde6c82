// Topics: what one can subscribe to, and to which an event belongs.

/** @import { EventBase, Selector, TopicName, Place } from "./types.js" */

const ALL = "all_bots";
const KINDS = /** @type {const} */ (["workflow", "bot", "strategy"]);

/**
 * @param {TopicName["kind"]} kind
 * @param {string} id
 * @returns {TopicName}
 */
export function topic(kind, id) {
  return kind === ALL ? { kind, id: "", key: ALL } : { kind, id, key: `${kind}:${id}` };
}

/**
 * @param {Selector} selector
 * @returns {TopicName}
 */
export function topicOf(selector) {
  if (selector === "all") return topic(ALL, "");
  for (const kind of KINDS) {
    const id = /** @type {Record<string, unknown>} */ (selector)[kind];
    if (typeof id === "string" && id.trim()) return topic(kind, id);
  }
  throw new TypeError('Follow { workflow: "id" }, { bot: "id" }, { strategy: "id" } or "all".');
}

/**
 * The topic that an answer of the server names; null for one that is of no topic.
 *
 * @param {{ type?: unknown, [field: string]: unknown }} answer
 * @returns {TopicName | null}
 */
export function topicIn(answer) {
  const kind = /** @type {TopicName["kind"]} */ (answer.type);
  if (kind === ALL) return topic(ALL, "");
  return KINDS.includes(/** @type {any} */ (kind)) ? topic(kind, String(answer[`${kind}_id`])) : null;
}

/**
 * The fields that name a topic in a command.
 *
 * @param {TopicName} name
 * @returns {Record<string, string>}
 */
export function fieldsOf({ kind, id }) {
  return kind === ALL ? {} : { [`${kind}_id`]: id };
}

/**
 * The keys of an event's topics.
 *
 * @param {EventBase} event
 * @returns {string[]}
 */
export function keysOf(event) {
  const keys = [ALL];
  for (const kind of KINDS) {
    const id = event[`${kind}_id`];
    if (id) keys.push(`${kind}:${id}`);
  }
  return keys;
}

/**
 * Where an event stands in a topic.
 *
 * @param {EventBase} event
 * @param {TopicName} name
 * @returns {Place}
 */
export function placeOf(event, { kind }) {
  return {
    epoch: event.event_id.slice(0, event.event_id.lastIndexOf("-")),
    offset: event.offsets[kind === ALL ? "all" : kind] ?? 0,
  };
}

/**
 * The number of an event in the journal.
 *
 * @param {EventBase} event
 */
export function numberOf(event) {
  return Number(event.event_id.slice(event.event_id.lastIndexOf("-") + 1));
}

/**
 * Whether an event is of a type, so that its fields are known.
 *
 * @template {keyof import("./types.js").KnownEvents} Type
 * @param {EventBase} event
 * @param {Type} type
 * @returns {event is import("./types.js").KnownEvents[Type]}
 */
export function isEvent(event, type) {
  return event.type === type;
}
