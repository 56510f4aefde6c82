// The list's memory: bounded, and right about what passes the filter however much has come.

import assert from "node:assert/strict";
import { test } from "node:test";
import { EventStore, KEPT } from "../../static/test_client/event_store.js";

const event = (number) => ({ event_id: `e-${number}`, type: number % 2 ? "odd" : "even", execution_id: `x${number % 10}`, number });

test("the newest are kept, and the filter follows", () => {
  const store = new EventStore();
  store.filter({ type: "odd" });
  const total = KEPT * 2;
  for (let number = 0; number < total; number += 1) assert.equal(store.add(event(number), false, 1), true);
  assert.ok(store.size >= KEPT && store.size < KEPT * 1.1);
  assert.ok(store.view.every((record) => record.event.type === "odd"));
  assert.equal(store.view.at(-1).event.number, total - 1);
  assert.ok(Math.abs(store.view.length - store.size / 2) < 1);
  assert.equal(store.has("e-0"), false);
  assert.equal(store.has(`e-${total - 1}`), true);
  store.filter({ type: "", execution: "x3", text: `"number":${total - 7}` });
  assert.deepEqual(store.view.map((record) => record.event.number), [total - 7]);
});

test("an event that is there is not added again, and notes pass no filter", () => {
  const store = new EventStore();
  assert.equal(store.add(event(1), true, null), true);
  assert.equal(store.add(event(1), false, 5), false);
  store.addNote("said");
  assert.equal(store.view.length, 2);
  store.filter({ text: "odd" });
  assert.equal(store.view.length, 1);
  store.clear();
  assert.deepEqual([store.size, store.view.length], [0, 0]);
});
