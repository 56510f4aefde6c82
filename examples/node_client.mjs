// Follow a workflow from Node.
//
//     npm install socket.io-client
//     node node_client.mjs [workflow] [url]        WS_AUTH_TOKEN=… if the server wants a token

import { io } from "socket.io-client";

const [workflow = "arb_btc_001", url = "http://127.0.0.1:8001"] = process.argv.slice(2);
const token = process.env.WS_AUTH_TOKEN ?? "";

const socket = io(url);
const subscribe = () => socket.emit("subscribe_workflow", { workflow_id: workflow });

function show(event) {
  console.log(`${event.timestamp}  ${event.type.padEnd(20)} ${event.execution_id}  ${event.node_id ?? ""}`);
}

// `connected` comes after every connection, the repeated ones too, so subscriptions survive a reconnection.
socket.on("connected", ({ sid, auth_required }) => {
  console.log(`Connected as ${sid}`);
  if (auth_required) socket.emit("authenticate", { token });
  else subscribe();
});

socket.on("auth_response", ({ success, message }) => {
  console.log(message);
  if (success) subscribe();
  else socket.disconnect();
});

socket.on("recent_events", ({ events, count }) => {
  console.log(`${count} recent events:`);
  events.forEach(show);
});

socket.on("workflow_event", show);
socket.on("error", ({ message }) => console.error(`Error: ${message}`));
socket.on("connect_error", (error) => console.error(`Cannot connect to ${url}: ${error.message}`));
socket.on("disconnect", (reason) => console.log(`Disconnected: ${reason}`));

process.on("SIGINT", () => socket.disconnect());
