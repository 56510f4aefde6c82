// One Socket.IO connection that speaks the server's commands. It owns no elements; it tells what happens as DOM events:
//
//   state      {state, reason}            disconnected | connecting | connected | reconnecting
//   session    {sid, authRequired, serverTime}
//   transport  {name}
//   ready      {}                         subscribing is possible now (authenticated, or no need to be)
//   auth       {success, message}
//   subscribed, unsubscribed, event, recent, missed, stats, failure: the server's payload

const TRANSPORTS = {
  auto: ["polling", "websocket"],
  websocket: ["websocket"],
  polling: ["polling"],
};

export class Connection extends EventTarget {
  #socket = null;
  #token = "";

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

  subscribe(kind, id) {
    if (kind === "all_bots") this.#socket?.emit("subscribe_all_bots", {});
    else this.#socket?.emit(`subscribe_${kind}`, { [`${kind}_id`]: id });
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
      if (data?.success) this.#tell("ready", {});
    });
    const names = { workflow_event: "event", recent_events: "recent", events_missed: "missed", stats_update: "stats", error: "failure" };
    for (const name of ["subscribed", "unsubscribed", ...Object.keys(names)]) {
      socket.on(name, (data) => this.#tell(names[name] ?? name, data));
    }
  }

  #greeted(data) {
    this.#tell("session", { sid: data?.sid ?? this.#socket.id, authRequired: Boolean(data?.auth_required), serverTime: data?.server_time });
    if (this.#token) this.#socket.emit("authenticate", { token: this.#token });
    else if (!data?.auth_required) this.#tell("ready", {});
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
