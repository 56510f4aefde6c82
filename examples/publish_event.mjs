// Publish a run from Node, over HTTP. Needs nothing but Node 18.
//
//     node publish_event.mjs [workflow] [url]        WS_AUTH_TOKEN=… if the server wants a token

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const [workflow = "my_workflow_001", url = "http://127.0.0.1:8001"] = process.argv.slice(2);

const ATTEMPTS = 5;

/** Publishes the events of one execution. Meant to be copied. */
class Publisher {
  constructor(url, token, ids) {
    this.url = `${url}/api/events`;
    this.headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
    this.ids = ids;
  }

  /** Returns when the bus has the event. Throws when it is refused, or when nobody takes it in several attempts. */
  async publish(type, fields = {}) {
    const event = { type, ...this.ids, timestamp: new Date().toISOString(), ...fields };
    const request = { method: "POST", headers: this.headers, body: JSON.stringify(event) };
    for (let attempt = 1; ; attempt += 1) {
      const response = await fetch(this.url, request).catch((error) => ({ status: 503, problem: error.message }));
      if (response.ok) return event;
      const problem = response.problem ?? (await response.text());
      // 503: the bus does not take events now. What is wrong with the event stays wrong.
      if (response.status !== 503 || attempt === ATTEMPTS) throw new Error(`${type} was not published: ${problem}`);
      await sleep(1000 * Number(response.headers?.get("Retry-After") ?? attempt));
    }
  }

  /** Runs `work` as a node: tells when it starts, and how it ended. */
  async node(id, name, work) {
    await this.publish("node_started", { node_id: id, node_name: name, node_category: "examples" });
    const began = Date.now();
    try {
      const outputs = await work();
      await this.publish("node_completed", { node_id: id, duration_ms: Date.now() - began, status: "success", outputs });
      return outputs;
    } catch (error) {
      await this.publish("node_failed", { node_id: id, duration_ms: Date.now() - began, error: error.message, error_type: error.name });
      throw error;
    }
  }
}

const ids = { execution_id: `exec_${workflow}_${randomBytes(4).toString("hex")}`, workflow_id: workflow, bot_id: "bot_001" };
const run = new Publisher(url, process.env.WS_AUTH_TOKEN, ids);

const began = Date.now();
await run.publish("execution_started", { node_count: 2 });
const { price } = await run.node("price", "Price", async () => ({ price: 50234.56 }));
await run.node("signal", "Signal", async () => ({ buy: price < 51000 }));
await run.publish("execution_completed", { duration_ms: Date.now() - began, status: "completed" });
console.log(`Published ${ids.execution_id}`);
