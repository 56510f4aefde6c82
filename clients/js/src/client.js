// One connection to a server, and everything that is subscribed over it.

import { Emitter } from "./emitter.js";
import { Feed } from "./feed.js";
import { Subscription } from "./subscription.js";
import { fieldsOf, keysOf, topicIn, topicOf } from "./topic.js";

/** @import { Answer } from "./feed.js" */
/** @import { ClientEvents, ClientOptions, ConnectionState, Failure, Gap, Selector, SubscribeOptions, WorkflowEvent } from "./types.js" */
/** @import { ManagerOptions, Socket, SocketOptions } from "socket.io-client" */

/** @typedef {(url: string, options: Partial<ManagerOptions & SocketOptions>) => Socket} Io */

const RENEW_MS = 1_000;
const RENEW_MAX_MS = 30_000;
const REJOIN_MS = 1_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** What ends the token of a connection. */
const ENDED = ["token_expired", "token_revoked"];
/** After what the same token may be right. */
const AGAIN = ["authentication_unavailable", "too_many_attempts"];
/** A smaller difference of the clocks may as well be the time that the greeting took. */
const LEAST_SKEW_MS = 2_000;

/** @type {ConnectionState} */
export const CLOSED = {
  status: "disconnected",
  ready: false,
  sid: null,
  transport: null,
  authRequired: false,
  authenticated: false,
  reconnects: 0,
  reason: null,
  clockSkewMs: 0,
};

/**
 * A client of one server. It reconnects by itself, authenticates and subscribes anew, and goes on where each subscription was.
 *
 * @extends {Emitter<ClientEvents>}
 */
export class WorkflowClient extends Emitter {
  /** The connection now. A new object after each change. */
  state = CLOSED;
  /** Socket.IO's own socket, for what this client does not do. @type {Socket} */
  socket;
  #options;
  /** @type {Map<string, Feed>} */
  #feeds = new Map();
  /** Whose requests are not answered yet. The server works on them one after the other. @type {Feed[]} */
  #asking = [];
  #token = "";
  #lagging = false;
  #connections = 0;
  #renewals = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {string} url
   * @param {ClientOptions} options
   * @param {Io} io Socket.IO's `io`
   */
  constructor(url, options, io) {
    super();
    this.#options = options;
    this.#token = options.token ?? "";
    this.socket = io(url, {
      ...(options.transports && { transports: options.transports }),
      ...options.socket,
      forceNew: true,
      autoConnect: false,
      auth: (send) => void this.#fetchToken().then((token) => send(token ? { token } : {})),
    });
    this.#watchLink();
    this.#watchServer();
    this.connect();
  }

  // -- what one does -----------------------------------------------------------------------------------------------------

  /**
   * Follow a topic, through all connections, until `close()` of what is returned. Throws `TypeError` when the selector names none.
   *
   * @param {Selector} selector
   * @param {SubscribeOptions} [options]
   * @returns {Subscription}
   */
  subscribe(selector, options = {}) {
    const topic = topicOf(selector);
    const feed = this.#feeds.get(topic.key) ?? this.#newFeed(topic);
    const subscription = new Subscription(topic, options, (each) => this.#end(feed, each));
    feed.subscriptions.add(subscription);
    if (this.state.ready) feed.open();
    return subscription;
  }

  /** Give a token, or another one. It is used for later connections too. @param {string} token */
  authenticate(token) {
    this.#token = token;
    if (this.socket.connected) this.socket.emit("authenticate", { token });
  }

  /** The server's numbers. Fails with the server's refusal. @returns {Promise<Record<string, any>>} */
  async stats() {
    const answer = await this.socket.timeout(10_000).emitWithAck("request_stats");
    if (answer.code) throw Object.assign(new Error(answer.message), answer);
    return answer;
  }

  /** Connect again after `close()`. */
  connect() {
    if (this.state.status !== "disconnected") return;
    this.#set({ status: "connecting", reason: null });
    this.socket.connect();
  }

  /** End the connection. The subscriptions stay, and are in force again after `connect()`. */
  close() {
    clearTimeout(this.#timer);
    this.#lost("disconnected", "closed by the client");
    this.socket.disconnect();
  }

  // -- the link ----------------------------------------------------------------------------------------------------------

  #watchLink() {
    const { socket } = this;
    socket.on("connect", () => {
      const { engine } = socket.io;
      const reconnects = this.#connections++;
      this.#set({ status: "connected", reason: null, transport: engine.transport.name, reconnects });
      engine.on("upgrade", (transport) => this.#set({ transport: transport.name }));
    });
    socket.on("connect_error", (error) => {
      const data = /** @type {{ data?: Partial<Failure> }} */ (error).data;
      this.#fail({ code: "connection_failed", ...data, message: error.message });
      this.#lost(socket.active ? "reconnecting" : "disconnected", error.message);
    });
    socket.on("disconnect", (reason) => {
      if (reason === "io client disconnect") return;
      this.#lost("reconnecting", reason);
      // Socket.IO leaves it to the application to come back after the server said goodbye.
      if (!socket.active) this.#timer = setTimeout(() => socket.connect(), REJOIN_MS * (1 + Math.random()));
    });
  }

  /** @param {"reconnecting" | "disconnected"} status @param {string} reason */
  #lost(status, reason) {
    this.#asking = [];
    for (const feed of this.#feeds.values()) feed.suspend();
    this.#set({ status, reason, ready: false, authenticated: false, sid: null, transport: null });
  }

  /** @param {Partial<ConnectionState>} change */
  #set(change) {
    this.state = { ...this.state, ...change };
    this.emit("state", this.state);
  }

  /** @param {Failure} failure */
  #fail(failure) {
    this.emit("error", failure);
  }

  // -- what the server says ----------------------------------------------------------------------------------------------

  #watchServer() {
    const { socket } = this;
    socket.on("connected", (greeting) => this.#greeted(greeting));
    socket.on("auth_response", (answer) => this.#judged(answer));
    socket.on("recent_events", ({ events }) => {
      const [feed] = this.#asking;
      if (feed) for (const event of events) this.#take(event, feed);
    });
    socket.on("workflow_event", (event) => {
      this.#take(event, null);
      this.#watchLag(event);
    });
    socket.on("execution_snapshot", (snapshot) => this.#asking[0]?.load(snapshot));
    socket.on("events_missed", (hole) => this.#missed(hole));
    socket.on("subscription_revoked", ({ code, ...answer }) => {
      const message = "The token does not cover the subscription.";
      if (!ENDED.includes(code)) this.#feeds.get(topicIn(answer)?.key ?? "")?.revoke({ code, message });
    });
    // Not asked for by us: an operator ended it.
    socket.on("unsubscribed", (answer) => this.#feeds.get(topicIn(answer)?.key ?? "")?.revoke());
    socket.on("notice", (notice) => this.emit("notice", notice));
    socket.on("emergency_state", (emergency) => this.emit("emergency", emergency));
    socket.on("server_draining", ({ reconnect_in_ms: delay }) => {
      this.emit("draining", { reconnectInMs: delay });
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#move(), delay);
    });
    socket.on("error", (failure) => {
      this.#fail(failure);
      if (ENDED.includes(failure.code)) this.#tokenEnded();
      if (failure.code === "authentication_required") this.#renew();
      if (AGAIN.includes(failure.code)) this.#renew(true, failure.retry_after);
    });
  }

  /** @param {{ sid: string, auth_required: boolean, server_time: string }} greeting */
  #greeted({ sid, auth_required: authRequired, server_time }) {
    const ahead = Date.now() - Date.parse(server_time);
    this.#set({ sid, authRequired, clockSkewMs: Math.abs(ahead) < LEAST_SKEW_MS ? 0 : ahead });
    // With a token the server's verdict on it follows.
    if (this.#token) return;
    if (authRequired) this.#fail({ code: "token_missing", message: "The server asks for a token." });
    else this.#ready();
  }

  /** @param {{ success: boolean, message: string, code?: string, expires_at?: string }} answer */
  #judged({ success, message, code = "invalid_token", expires_at }) {
    // A token that was right stays right.
    this.#set({ authenticated: success || this.state.authenticated });
    if (success) this.#renewals = 0;
    else this.#fail({ code, message });
    if (success && expires_at) this.#renewBefore(Date.parse(expires_at) + this.state.clockSkewMs);
    if (success || !this.state.authRequired) this.#ready();
    else this.#renew();
  }

  #ready() {
    this.#set({ ready: true });
    for (const feed of this.#feeds.values()) feed.open();
  }

  /** @param {WorkflowEvent} event @param {Feed | null} replayedTo the feed that it was replayed to; null for a live one */
  #take(event, replayedTo) {
    const all = keysOf(event).flatMap((key) => this.#feeds.get(key) ?? []);
    const known = all.some((feed) => feed.has(event));
    const news = (replayedTo ? [replayedTo] : all).map((feed) => feed.take(event, replayedTo !== null));
    if (!known && news.includes(true)) this.emit("event", event, { replayed: replayedTo !== null });
  }

  /** @param {Record<string, any>} hole */
  #missed({ type, from = null, to = null, reason, epoch, count, source, ...ids }) {
    const topic = topicIn({ type, ...ids });
    /** @type {Gap} */
    const gap = { topic, from, to, reason, ...(topic ? {} : { count, source }) };
    const [asking] = this.#asking;
    if (topic) (asking?.topic.key === topic.key ? asking : this.#feeds.get(topic.key))?.skip(gap, epoch);
    this.emit("gap", gap);
  }

  /** @param {WorkflowEvent} event */
  #watchLag(event) {
    const ms = Date.now() - this.state.clockSkewMs - Date.parse(event.timestamp);
    const lagging = ms > (this.#options.lagMs ?? 5_000);
    if (lagging !== this.#lagging) {
      this.#lagging = lagging;
      this.emit("lag", { lagging, ms });
    }
  }

  /** Leave a server process that is about to end: the next connection goes to another one. */
  #move() {
    this.#lost("reconnecting", "the server process is about to end");
    this.socket.disconnect();
    this.socket.connect();
  }

  // -- tokens ------------------------------------------------------------------------------------------------------------

  async #fetchToken() {
    try {
      if (this.#options.getToken) this.#token = await this.#options.getToken();
    } catch (error) {
      this.#fail({ code: "token_unavailable", message: `getToken failed: ${error}` });
    }
    return this.#token;
  }

  /** The subscriptions go on where they are when there is another token. */
  #tokenEnded() {
    for (const feed of this.#feeds.values()) feed.suspend();
    this.#asking = [];
    this.#set({ ready: false, authenticated: false });
    this.#renew();
  }

  /** Renew a while before a moment, so that nothing is interrupted. @param {number} end */
  #renewBefore(end) {
    if (!this.#options.getToken) return;
    clearTimeout(this.#timer);
    const left = end - Date.now();
    this.#timer = setTimeout(() => this.#renew(), Math.min(left * 0.8, LONGEST_TIMER_MS));
  }

  /**
   * Ask for a new token and give it to the server; the more often in a row, the later, and not before so many seconds. `again`:
   * also the one that it had.
   */
  #renew(again = false, earliestS = 0) {
    if (!this.#options.getToken && !again) return;
    clearTimeout(this.#timer);
    const longest = Math.min(RENEW_MS * 2 ** this.#renewals++, RENEW_MAX_MS);
    // Others behind the same address wait for the same moment, and one at a time is heard.
    const delay = earliestS ? earliestS * 1_000 + Math.random() * longest : longest;
    this.#timer = setTimeout(async () => this.authenticate(await this.#fetchToken()), delay);
  }

  // -- feeds -------------------------------------------------------------------------------------------------------------

  /** @param {import("./types.js").TopicName} topic */
  #newFeed(topic) {
    /** @type {Feed} */
    const feed = new Feed(topic, {
      send: (name, data, answered) => {
        this.#asking.push(feed);
        const asked = this.#asking;
        this.socket.emit(name, data, (/** @type {Answer} */ answer) => {
          // Those of an earlier connection are nobody's any more.
          if (asked === this.#asking) answered((asked.shift(), answer));
        });
      },
      ready: () => this.state.ready,
      resumed: (result) => this.emit("resumed", result),
      gap: (gap) => this.emit("gap", gap),
    });
    this.#feeds.set(topic.key, feed);
    return feed;
  }

  /** @param {Feed} feed @param {Subscription} subscription */
  #end(feed, subscription) {
    feed.subscriptions.delete(subscription);
    if (feed.subscriptions.size || this.#feeds.get(feed.topic.key) !== feed) return;
    this.#feeds.delete(feed.topic.key);
    if (this.state.ready && feed.wanted) this.socket.emit("unsubscribe", { type: feed.topic.kind, ...fieldsOf(feed.topic) });
  }
}
