// One Socket.IO connection that speaks the server's commands. It owns no elements; it tells what happens as DOM events:
//
//   state      {state, reason}            disconnected | connecting | connected | reconnecting
//   session    {sid, authRequired, serverTime}
//   transport  {name}
//   ready      {}                         subscribing is possible now (authenticated, or no need to be)
//   auth       {success, message}
//   settled    {kind, id, answer}         a subscription is carried out, its replay included, or refused: the answer has a code then
//   subscribed, unsubscribed, event, recent, missed, stats, failure: the server's payload

const TRANSPORTS = {
  auto: ["polling", "websocket"],
  websocket: ["websocket"],
  polling: ["polling"],
};

export class Connection extends EventTarget {
  #socket = null;
  #token = "";
  #authRequired = false;

  get open() {
    return this.#socket?.connected ?? false;
  }

  connect({ url, transport, token }) {
    this.disconnect();
    this.#token = token;
    const socket = globalThis.io(url, {
      transports: TRANSPORTS[transport] ?? TRANSPORTS.auto,
      forceNew: true,
      autoConnect: false,
      // Asked for at each reconnection, so that a token which was given later is sent then.
      auth: (send) => send(this.#token ? { token: this.#token } : {}),
    });
    this.#socket = socket;
    this.#watchLink(socket);
    this.#watchServer(socket);
    this.#tell("state", { state: "connecting" });
    socket.connect();
  }

  disconnect() {
    if (!this.#socket) return;
    this.#socket.disconnect();
    this.#socket.removeAllListeners();
    this.#socket.io.removeAllListeners();
    this.#socket = null;
    this.#tell("state", { state: "disconnected", reason: "closed here" });
  }

  authenticate(token) {
    this.#token = token;
    this.#socket?.emit("authenticate", { token });
  }

  // `place` is {epoch, offset} of the last event that the page has of this topic; both null when it has none.
  subscribe(kind, id, { epoch, offset }) {
    const topic = kind === "all_bots" ? {} : { [`${kind}_id`]: id };
    this.#socket?.emit(`subscribe_${kind}`, { ...topic, epoch, offset }, (answer) => this.#tell("settled", { kind, id, answer }));
  }

  unsubscribe(kind, id) {
    const payload = kind === "all_bots" ? { type: kind } : { type: kind, [`${kind}_id`]: id };
    this.#socket?.emit("unsubscribe", payload);
  }

  requestStats() {
    this.#socket?.emit("request_stats", {});
  }

  #watchLink(socket) {
    socket.on("connect", () => {
      this.#tell("state", { state: "connected" });
      this.#tell("transport", { name: socket.io.engine.transport.name });
      socket.io.engine.on("upgrade", (transport) => this.#tell("transport", { name: transport.name }));
    });
    socket.on("connect_error", (error) => {
      const refused = !socket.active;
      this.#tell("failure", { message: `Connection failed: ${error.message}`, ...error.data });
      this.#tell("state", { state: refused ? "disconnected" : "reconnecting", reason: error.message });
    });
    socket.on("disconnect", (reason) => {
      this.#tell("state", { state: socket.active ? "reconnecting" : "disconnected", reason });
    });
  }

  #watchServer(socket) {
    socket.on("connected", (data) => this.#greeted(data));
    socket.on("auth_response", (data) => {
      this.#tell("auth", data);
      if (data?.success || !this.#authRequired) this.#tell("ready", {});
    });
    const names = { workflow_event: "event", recent_events: "recent", events_missed: "missed", stats_update: "stats", error: "failure" };
    for (const name of ["subscribed", "unsubscribed", ...Object.keys(names)]) {
      socket.on(name, (data) => this.#tell(names[name] ?? name, data));
    }
  }

  #greeted(data) {
    this.#authRequired = Boolean(data?.auth_required);
    this.#tell("session", { sid: data?.sid ?? this.#socket.id, authRequired: this.#authRequired, serverTime: data?.server_time });
    // With a token the server's verdict on it follows.
    if (!this.#token && !this.#authRequired) this.#tell("ready", {});
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
