// Errors that stay visible until they are dismissed. The same one again raises a number instead of a new line.

import { byId, setText, timeOfDay } from "./dom.js";

const LINES = 20;

export class Errors {
  #panel = byId("errors");
  #list = byId("error-list");

  constructor() {
    byId("clear-errors").addEventListener("click", () => this.clear());
  }

  show({ message, code, field }) {
    const details = [code, field && `field ${field}`].filter(Boolean).join(", ");
    const text = details ? `${message} (${details})` : String(message);
    const newest = this.#list.firstElementChild;
    if (newest?.dataset.text === text) this.#again(newest);
    else this.#list.prepend(makeLine(text));
    while (this.#list.childElementCount > LINES) this.#list.lastElementChild.remove();
    this.#panel.hidden = false;
  }

  clear() {
    this.#list.replaceChildren();
    this.#panel.hidden = true;
  }

  #again(line) {
    line.dataset.times = String(Number(line.dataset.times) + 1);
    setText(line.querySelector("time"), timeOfDay(new Date()));
    setText(line.querySelector(".times"), `× ${line.dataset.times}`);
  }
}

function makeLine(text) {
  const line = document.createElement("li");
  line.dataset.testid = "error";
  line.dataset.text = text;
  line.dataset.times = "1";
  const time = document.createElement("time");
  time.textContent = timeOfDay(new Date());
  const body = document.createElement("span");
  body.textContent = text;
  const times = document.createElement("span");
  times.className = "times";
  line.append(time, body, times);
  return line;
}
