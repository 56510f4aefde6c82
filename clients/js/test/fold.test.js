// The reducer against the vectors that the server's own reducer is held to, and against whatever comes on standard input.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fold } from "../src/core.js";

const source = process.env.VECTORS ?? new URL("../../vectors/executions.json", import.meta.url);

for (const { name, events, state } of JSON.parse(readFileSync(source, "utf8"))) {
  test(name, () => {
    const folded = events.reduce((before, [number, event]) => fold(before, event, number), null);
    assert.deepEqual(folded, state);
  });
}

test("a state is never changed in place", () => {
  const event = { type: "node_started", execution_id: "x", workflow_id: "w", node_id: "n", timestamp: "2026-01-24T10:00:00Z" };
  const before = fold(null, event, 1);
  const kept = structuredClone(before);
  const after = fold(before, { ...event, type: "node_failed", error: "e" }, 2);
  assert.deepEqual(before, kept);
  assert.notEqual(after, before);
  assert.equal(fold(after, event, 2), after);
});
