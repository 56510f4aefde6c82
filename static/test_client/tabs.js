// Tabs by mouse and by keyboard, as the ARIA pattern has them.

export class Tabs {
  #tabs = [...document.querySelectorAll('[role="tab"]')];
  #onChange;

  constructor(onChange) {
    this.#onChange = onChange;
    for (const tab of this.#tabs) {
      tab.addEventListener("click", () => this.show(nameOf(tab)));
      tab.addEventListener("keydown", (key) => this.#onKey(key));
    }
  }

  get shown() {
    return nameOf(this.#tabs.find((tab) => tab.getAttribute("aria-selected") === "true"));
  }

  show(name) {
    for (const tab of this.#tabs) {
      const chosen = nameOf(tab) === name;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !chosen;
    }
    this.#onChange(name);
  }

  #onKey(key) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key.key];
    if (!step) return;
    const next = this.#tabs.at((this.#tabs.indexOf(key.currentTarget) + step) % this.#tabs.length);
    this.show(nameOf(next));
    next.focus();
    key.preventDefault();
  }
}

const nameOf = (tab) => tab.id.replace("tab-", "");
