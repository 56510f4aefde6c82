// The JavaScript client, driven line by line: a JSON command per line on standard input, a JSON report per line on standard
// output.
//
//   {"do": "connect", "id", "url", "options"}       `options.tokens`: what getToken gives, one after the other, the last for ever
//   {"do": "subscribe", "id", "as", "to", "options"}
//   {"do": "call", "id", "method", "args"}          of the client
//   {"do": "emit", "id", "name", "data"}            past the client, on its socket
//   {"do": "end", "id", "as"}                       ends a subscription
//   {"do": "executions", "id", "as"}                reports "executions"
//
// Reports are {"from": id or as, "kind", "data"}.

import { createInterface } from "node:readline";
import { connect } from "workflow-events";

const clients = new Map();
const subscriptions = new Map();

const report = (from, kind, data) => process.stdout.write(JSON.stringify({ from, kind, data: data ?? null }) + "\n");

const commands = {
  connect({ id, url, options: { tokens, ...options } }) {
    if (tokens) options.getToken = async () => (tokens.length > 1 ? tokens.shift() : tokens[0]);
    const client = connect(url, { ...options, socket: { reconnectionDelay: 50, reconnectionDelayMax: 200, ...options.socket } });
    clients.set(id, client);
    const names = ["state", "gap", "lag", "resumed", "error", "draining", "notice", "emergency"];
    for (const name of names) client.on(name, (data) => report(id, name, data));
    client.on("event", (event, { replayed }) => report(id, replayed ? "replayed" : "event", event));
  },

  subscribe({ id, as, to, options }) {
    const tell = (name) => (data) => report(as, name, data);
    const subscription = clients.get(id).subscribe(to, {
      ...options,
      onEvent: (event, { replayed }) => report(as, replayed ? "replayed" : "event", event),
      onLive: () => report(as, "live", subscription?.place),
      onResumed: tell("resumed"),
      onGap: tell("gap"),
      onRefused: tell("refused"),
    });
    subscriptions.set(as, subscription);
  },

  call({ id, method, args = [] }) {
    Promise.resolve(clients.get(id)[method](...args)).then(
      (answer) => report(id, method, answer),
      (error) => report(id, "thrown", error.code ?? String(error)),
    );
  },

  emit({ id, name, data }) {
    clients.get(id).socket.emit(name, data);
  },

  end({ as }) {
    subscriptions.get(as).close();
  },

  executions({ as }) {
    report(as, "executions", [...subscriptions.get(as).executions.states.values()]);
  },
};

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const command = JSON.parse(line);
  commands[command.do](command);
});
lines.on("close", () => process.exit(0));
