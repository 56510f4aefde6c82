// The browser's Socket.IO client, driven line by line: a JSON command per line on standard input, a JSON report per line on
// standard output.
//
//   {"do": "connect", "id", "url", "options"}        reports "connect", "disconnect", "connect_error", "upgrade", "reconnect"
//   {"do": "emit", "id", "name", "args", "ack"}      reports "ack" with the number in "ack" when that is given
//   {"do": "disconnect", "id"}
//
// Each event from the server is reported as {"id", "event", "args"}. In arguments, {"$binary": "00ff"} stands for bytes.

import { createInterface } from "node:readline";
import { Manager } from "socket.io-client";

const sockets = new Map();

function report(id, kind, fields) {
  process.stdout.write(JSON.stringify({ id, kind, ...fields }) + "\n");
}

function decode(value) {
  if (Array.isArray(value)) return value.map(decode);
  if (value === null || typeof value !== "object") return value;
  if (typeof value.$binary === "string") return Buffer.from(value.$binary, "hex");
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, decode(item)]));
}

function connect({ id, url, namespace = "/", options }) {
  const { auth, ...rest } = options;
  const manager = new Manager(url, { reconnectionDelay: 50, reconnectionDelayMax: 200, ...rest, autoConnect: false });
  const socket = manager.socket(namespace, { auth });
  sockets.set(id, { socket, manager });
  manager.on("reconnect", () => report(id, "reconnect", {}));
  socket.on("connect", () => {
    report(id, "connect", { sid: socket.id, transport: manager.engine.transport.name });
    manager.engine.on("upgrade", (transport) => report(id, "upgrade", { transport: transport.name }));
  });
  socket.on("disconnect", (reason) => report(id, "disconnect", { reason }));
  socket.on("connect_error", (error) => report(id, "connect_error", { message: error.message }));
  socket.onAny((event, ...args) => report(id, "event", { event, args }));
  socket.connect();
}

function emit({ id, name, args, ack }) {
  const { socket } = sockets.get(id);
  const decoded = decode(args);
  if (ack === undefined) socket.emit(name, ...decoded);
  else socket.emit(name, ...decoded, (...answer) => report(id, "ack", { ack, args: answer }));
}

function disconnect({ id }) {
  const { socket, manager } = sockets.get(id);
  sockets.delete(id);
  socket.disconnect();
  manager._close();
}

const commands = { connect, emit, disconnect };
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const command = JSON.parse(line);
  commands[command.do](command);
});
lines.on("close", () => process.exit(0));
