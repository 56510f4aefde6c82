// Follow a workflow from Node.
//
//     npm install socket.io-client ./clients/js
//     node node_client.mjs [workflow] [url]        WS_AUTH_TOKEN=… if the server wants a token

import { connect } from "workflow-events";

const [workflow = "arb_btc_001", url = "http://127.0.0.1:8001"] = process.argv.slice(2);

const client = connect(url, { token: process.env.WS_AUTH_TOKEN ?? "" });

client.on("state", ({ ready, sid, status, reason }) => console.log(ready ? `Connected as ${sid}` : `${status} ${reason ?? ""}`));
client.on("error", ({ message }) => console.error(`Error: ${message}`));

// The subscription outlives connections: it goes on where it was, and nothing comes twice.
client.subscribe(
  { workflow },
  {
    onEvent(event, { replayed }) {
      const when = replayed ? "recent" : "live  ";
      console.log(`${when} ${event.timestamp}  ${event.type.padEnd(20)} ${event.execution_id}  ${event.node_id ?? ""}`);
    },
    onGap: ({ from, to, reason }) => console.error(`Events ${from} to ${to} are missing: ${reason}`),
  },
);

process.on("SIGINT", () => client.close());
