// React hooks. Components that name the same server and token share one connection; it ends when the last of them is gone.

import { useEffect, useRef, useState, useSyncExternalStore } from "react";
import { CLOSED } from "./client.js";
import { connect } from "./index.js";
import { topicOf } from "./topic.js";

/** @import { WorkflowClient } from "./client.js" */
/** @import { ConnectionState, Execution, Failure, Gap, Selector, SubscribeOptions, WorkflowEvent } from "./types.js" */

/**
 * @typedef {object} ServerOptions
 * @property {string} [url] the page's own origin by default
 * @property {string} [token]
 * @property {() => string | Promise<string>} [getToken] that of the component that connected first is used
 */

/** How long a connection that nobody uses waits for the next component, as when a page changes. */
const LINGER_MS = 1_000;
const HIDDEN_MS = 250;

// -- the shared connection -----------------------------------------------------------------------------------------------

/** @typedef {{ client: WorkflowClient, users: number, timer?: ReturnType<typeof setTimeout> }} Shared */

/** @type {Map<string, Shared>} */
const connections = new Map();

/** @param {string} key @param {() => WorkflowClient} make @returns {[WorkflowClient, () => void]} the client, and how to give it back */
function share(key, make) {
  const shared = connections.get(key) ?? { client: make(), users: 0 };
  connections.set(key, shared);
  clearTimeout(shared.timer);
  shared.users += 1;
  const giveBack = () => {
    shared.users -= 1;
    if (shared.users === 0) shared.timer = setTimeout(() => void (connections.delete(key), shared.client.close()), LINGER_MS);
  };
  return [shared.client, giveBack];
}

/** @param {ServerOptions} server @returns {WorkflowClient | null} null before the component is mounted */
function useClient({ url = globalThis.location?.origin ?? "", token, getToken }) {
  const [client, setClient] = useState(/** @type {WorkflowClient | null} */ (null));
  const latest = useRef(getToken);
  latest.current = getToken;
  const renewable = getToken !== undefined;
  useEffect(() => {
    const options = { token, ...(renewable && { getToken: () => latest.current?.() ?? "" }) };
    const [shared, giveBack] = share(JSON.stringify([url, token]), () => connect(url, options));
    setClient(shared);
    return giveBack;
  }, [url, token, renewable]);
  return client;
}

/**
 * The connection: its state, the last error until it is ready again, and the client itself for everything else.
 *
 * @param {ServerOptions} [server]
 * @returns {ConnectionState & { error: Failure | null, client: WorkflowClient | null }}
 */
export function useConnection(server = {}) {
  const client = useClient(server);
  const [error, setError] = useState(/** @type {Failure | null} */ (null));
  const state = useSyncExternalStore(
    (changed) => client?.on("state", changed) ?? (() => {}),
    () => client?.state ?? CLOSED,
    () => CLOSED,
  );
  useEffect(() => client?.on("error", setError), [client]);
  return { ...state, error: state.ready ? null : error, client };
}

// -- subscriptions -------------------------------------------------------------------------------------------------------

/**
 * Runs `work` once however often it is asked for, before the next frame; a hidden page has no frames.
 *
 * @param {() => void} work
 */
function oncePerFrame(work) {
  let planned = false;
  const run = () => {
    planned = false;
    work();
  };
  return () => {
    if (planned) return;
    planned = true;
    if (globalThis.document?.hidden ?? true) setTimeout(run, HIDDEN_MS);
    else requestAnimationFrame(run);
  };
}

/**
 * @template View
 * @typedef {{ options: SubscribeOptions, view: () => View }} Following the subscription's options, and what there is to show
 */

/**
 * Follow a topic while the component is there.
 *
 * @template View
 * @param {Selector} selector
 * @param {ServerOptions} server
 * @param {View} empty
 * @param {string} variant changes when the subscription is to begin anew
 * @param {(changed: () => void) => Following<View>} follow
 * @returns {View}
 */
function useTopic(selector, server, empty, variant, follow) {
  const client = useClient(server);
  const [view, setView] = useState(empty);
  const { key } = topicOf(selector);
  useEffect(() => {
    if (!client) return;
    let over = false;
    const following = follow(oncePerFrame(() => over || setView(following.view())));
    setView(empty);
    const subscription = client.subscribe(selector, following.options);
    return () => {
      over = true;
      subscription.close();
    };
    // What else is used here is the same while these are.
  }, [client, key, variant]);
  return view;
}

/**
 * @typedef {object} WorkflowEvents
 * @property {readonly WorkflowEvent[]} events oldest first: recent events, then live ones, each once
 * @property {readonly Gap[]} gaps what is missing between them
 * @property {boolean} live the recent events are there, and what comes is live
 * @property {Failure | null} error the server refused the subscription
 */

/** @type {WorkflowEvents} */
const NO_EVENTS = { events: [], gaps: [], live: false, error: null };

/**
 * The events of a topic, the newest `limit` of them.
 *
 *     const { events, live } = useWorkflowEvents({ workflow: "arb_btc_001" });
 *
 * @param {Selector} selector
 * @param {ServerOptions & { types?: readonly string[], limit?: number }} [options]
 * @returns {WorkflowEvents}
 */
export function useWorkflowEvents(selector, { types, limit = 500, ...server } = {}) {
  return useTopic(selector, server, NO_EVENTS, JSON.stringify([types, limit]), (changed) => {
    const now = { ...NO_EVENTS };
    /** @type {WorkflowEvent[]} */
    let events = [];
    const onEvent = (/** @type {WorkflowEvent} */ event) => {
      events.push(event);
      if (events.length > 2 * limit) events = events.slice(-limit);
      changed();
    };
    const set = (/** @type {Partial<WorkflowEvents>} */ change) => (Object.assign(now, change), changed());
    return {
      options: {
        types,
        onEvent,
        onGap: (gap) => set({ gaps: [...now.gaps, gap].slice(-limit) }),
        onLive: () => set({ live: true }),
        onRefused: (error) => set({ error }),
      },
      view: () => ({ ...now, events: events.slice(-limit) }),
    };
  });
}

/** @type {ReadonlyMap<string, Execution>} */
const NO_EXECUTIONS = new Map();

/**
 * The states of a topic's executions by id, the one whose newest event is oldest first.
 *
 * @param {Selector} selector
 * @param {ServerOptions} [server]
 * @returns {ReadonlyMap<string, Execution>}
 */
export function useExecutions(selector, server = {}) {
  return useTopic(selector, server, NO_EXECUTIONS, "", (changed) => {
    let states = NO_EXECUTIONS;
    const onExecutions = (/** @type {ReadonlyMap<string, Execution>} */ fresh) => {
      states = fresh;
      changed();
    };
    return { options: { executions: true, onExecutions }, view: () => states };
  });
}

/**
 * The state of one execution of a topic; without an id that of the newest. Null while it is not known.
 *
 * @param {Selector} selector
 * @param {string} [executionId]
 * @param {ServerOptions} [server]
 * @returns {Execution | null}
 */
export function useExecution(selector, executionId, server = {}) {
  const states = useExecutions(selector, server);
  return (executionId === undefined ? [...states.values()].at(-1) : states.get(executionId)) ?? null;
}
