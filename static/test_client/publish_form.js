// Publishing an event by hand, over HTTP as any program would.

import { byId, setText } from "./dom.js";

export class PublishForm {
  #server;

  // `server()` gives {url, token}.
  constructor(server) {
    this.#server = server;
    byId("publish-form").addEventListener("submit", (submit) => {
      submit.preventDefault();
      this.#publish();
    });
  }

  async #publish() {
    try {
      this.#say(await this.#post(eventIn()), true);
    } catch (error) {
      this.#say(error.message, false);
    }
  }

  async #post(event) {
    const { url, token } = this.#server();
    const headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
    const response = await fetch(`${url.replace(/\/$/, "")}/api/events`, { method: "POST", headers, body: JSON.stringify(event) }).catch(() => {
      throw new Error(`${url} does not answer, or does not take events from a page of another origin.`);
    });
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return `Accepted: ${event.type}, as ${answer.ids?.[0] ?? "the bus has it"}.`;
    const reasons = answer.errors?.map(({ message }) => message).join(" ");
    throw new Error(reasons || answer.message || answer.detail || `The server answered with status ${response.status}.`);
  }

  #say(text, good) {
    setText(byId("publish-result"), text);
    byId("publish-result").dataset.good = String(good);
  }
}

function eventIn() {
  const value = (name) => byId(`publish-${name}`).value.trim();
  const optional = Object.fromEntries(["bot", "strategy"].flatMap((name) => (value(name) ? [[`${name}_id`, value(name)]] : [])));
  const common = { type: value("type"), execution_id: value("execution"), workflow_id: value("workflow"), ...optional };
  return { ...common, timestamp: new Date().toISOString(), ...furtherFields(value("fields")) };
}

function furtherFields(text) {
  if (!text) return {};
  let fields;
  try {
    fields = JSON.parse(text);
  } catch (error) {
    throw new Error(`Further fields are not valid JSON: ${error.message}`);
  }
  if (fields === null || typeof fields !== "object" || Array.isArray(fields)) throw new Error('Further fields must be a JSON object, like {"price": 1}.');
  return fields;
}
