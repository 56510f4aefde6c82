// The event that was chosen in the list, as JSON.

import { byId, setText } from "./dom.js";

export class Inspector {
  #panel = byId("inspector");
  #event = null;

  constructor({ onExecution }) {
    byId("close-inspector").addEventListener("click", () => this.close());
    byId("copy-event").addEventListener("click", () => this.#copy());
    byId("inspect-execution").addEventListener("click", () => onExecution(this.#event.execution_id));
    for (const place of [this.#panel, byId("events")]) {
      place.addEventListener("keydown", (key) => key.key === "Escape" && this.close());
    }
  }

  show(event) {
    this.#event = event;
    setText(byId("inspector-title"), event.event_id ?? event.type);
    setText(byId("event-json"), JSON.stringify(event, null, 2));
    setText(byId("copy-event"), "Copy");
    byId("event-json").scrollTop = 0;
    this.#panel.hidden = false;
  }

  close() {
    if (this.#panel.hidden) return;
    this.#panel.hidden = true;
    byId("events").focus();
  }

  async #copy() {
    const text = byId("event-json").textContent;
    // The clipboard is there on https and localhost only; elsewhere the text is selected, for the keyboard to copy.
    const copied = await navigator.clipboard?.writeText(text).then(() => true, () => false);
    if (!copied) getSelection().selectAllChildren(byId("event-json"));
    setText(byId("copy-event"), copied ? "Copied" : "Press Ctrl+C");
  }
}
