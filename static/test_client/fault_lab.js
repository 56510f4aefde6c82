// Faults at the press of a button, each with its verdict: how long it took, how much was replayed, what is missing.

import { byId, countOf, milliseconds, setText, timeOfDay } from "./dom.js";

const BUTTONS = ["lab-drop", "lab-offline", "lab-freeze", "lab-rewind", "lab-switch-button"];
const LINES = 30;

export class FaultLab {
  #page;
  #fault = null; // {name, since, before, line}: what is being watched

  // `page` has client(), rewind(back), switchTo(url), counts(), allLive().
  constructor(page) {
    this.#page = page;
    const on = (id, act) => byId(id).addEventListener("click", act);
    on("lab-drop", () => this.#drop());
    on("lab-offline", () => this.#stayAway(seconds()));
    on("lab-freeze", () => this.#freeze(seconds()));
    on("lab-rewind", () => this.#rewind(Number(byId("lab-back").value)));
    byId("lab-switch").addEventListener("submit", (submit) => {
      submit.preventDefault();
      this.#switch(byId("lab-url").value);
    });
  }

  enable(possible) {
    for (const id of BUTTONS) byId(id).disabled = !possible;
  }

  // All subscriptions are in force again, their replays included.
  settled() {
    if (!this.#fault || !this.#page.allLive()) return;
    const { name, since, before, line } = this.#fault;
    this.#fault = null;
    const counts = this.#page.counts();
    const missed = counts.missed - before.missed;
    const verdict = missed ? `${countOf(missed, "event")} missing` : "nothing missing";
    line.dataset.good = String(missed === 0);
    setText(line.lastElementChild, `${name}: back after ${milliseconds(Date.now() - since)}, ${countOf(counts.replay - before.replay, "event")} replayed, ${verdict}.`);
  }

  #drop() {
    this.#begin("Dropped the socket");
    this.#page.client().socket.io.engine.close();
  }

  #stayAway(ms) {
    this.#begin(`Stayed away for ${milliseconds(ms)}`);
    const client = this.#page.client();
    client.close();
    setTimeout(() => this.#page.client() === client && client.connect(), ms);
  }

  async #freeze(ms) {
    this.#begin(`Read nothing for ${milliseconds(ms)}`);
    // The line is to be seen before the page stands still.
    await new Promise((go) => requestAnimationFrame(() => setTimeout(go)));
    const end = performance.now() + ms;
    while (performance.now() < end);
    // What the server sent before this answer has come when the answer comes.
    await this.#page.client().stats().catch(() => {});
    this.settled();
  }

  #rewind(back) {
    this.#begin(`Resumed from ${countOf(back, "event")} earlier`.replace("1,000,000 events earlier", "the beginning"));
    if (!this.#page.rewind(back)) this.settled();
  }

  #switch(url) {
    this.#begin(`Moved to ${url}`);
    this.#page.switchTo(url);
  }

  #begin(name) {
    const line = document.createElement("li");
    const time = document.createElement("time");
    const text = document.createElement("span");
    line.dataset.testid = "lab-line";
    time.textContent = timeOfDay(new Date());
    text.textContent = `${name} …`;
    line.append(time, text);
    byId("lab-log").prepend(line);
    while (byId("lab-log").childElementCount > LINES) byId("lab-log").lastElementChild.remove();
    this.#fault = { name, since: Date.now(), before: this.#page.counts(), line };
  }
}

const seconds = () => 1000 * Number(byId("lab-seconds").value);
