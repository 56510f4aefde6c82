// The client for applications that are bundled, and for Node.

import { io } from "socket.io-client";
import { WorkflowClient } from "./client.js";

/** @import { ClientOptions } from "./types.js" */

export * from "./core.js";

/**
 * Connect to a server.
 *
 *     const client = connect("http://localhost:8001");
 *     client.subscribe({ workflow: "arb_btc_001" }, { onEvent: (event) => console.log(event.type) });
 *
 * @param {string} url
 * @param {ClientOptions} [options]
 */
export function connect(url, options = {}) {
  return new WorkflowClient(url, options, io);
}
