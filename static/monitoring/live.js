// Keeps a page under Monitoring current: asks this same page for its changing part every few seconds and puts in what changed.
"use strict";

(() => {
  const root = document.getElementById("live");
  if (!root) {
    return;
  }
  const patienceMs = 10000;
  let timer = null;
  let asking = false;

  const part = (element, name) => element.querySelector(`[data-live="${name}"]`);

  function say(text) {
    const message = part(root, "message");
    message.hidden = text === "";
    if (message.textContent !== text) {
      message.textContent = text;
    }
    root.classList.toggle("stale", text !== "");
  }

  // Cells are replaced one by one, so that text which somebody is selecting stays selected while others change.
  function updateRow(row, fresh) {
    if (row.cells.length !== fresh.cells.length || row.dataset.key !== fresh.dataset.key) {
      row.replaceWith(fresh);
      return;
    }
    Array.from(fresh.cells).forEach((cell, index) => {
      if (!row.cells[index].isEqualNode(cell)) {
        row.cells[index].replaceWith(cell);
      }
    });
  }

  function updateRows(body, fresh) {
    const rows = Array.from(body.rows);
    Array.from(fresh.rows).forEach((row, index) => {
      if (index < rows.length) {
        updateRow(rows[index], row);
      } else {
        body.append(row);
      }
    });
    rows.slice(fresh.rows.length).forEach((row) => row.remove());
  }

  function updatePart(old, fresh) {
    if (old.tagName === "TBODY") {
      updateRows(old, fresh);
    } else if (!old.isEqualNode(fresh)) {
      old.replaceWith(fresh);
    }
  }

  function show(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html").getElementById("live");
    if (!fresh) {
      throw new Error("the answer is not this page");
    }
    if ("unavailable" in fresh.dataset) {
      say(part(fresh, "message").textContent);
      return;
    }
    for (const each of root.querySelectorAll("[data-live]")) {
      const replacement = part(fresh, each.dataset.live);
      if (each.dataset.live !== "message" && replacement) {
        updatePart(each, replacement);
      }
    }
    root.dataset.refreshMs = fresh.dataset.refreshMs;
    say("");
    root.dispatchEvent(new CustomEvent("refreshed", { bubbles: true }));
  }

  function fragmentAddress() {
    const address = new URL(window.location.href);
    address.searchParams.set("fragment", "1");
    address.hash = "";
    return address;
  }

  async function refresh() {
    const options = { credentials: "same-origin", redirect: "manual", signal: AbortSignal.timeout(patienceMs) };
    const response = await fetch(fragmentAddress(), options);
    if (response.type === "opaqueredirect" || response.status === 403) {
      say("You are signed out. Load the page again to sign in.");
    } else if (!response.ok) {
      say(`The server answered with status ${response.status}. The page shows an earlier state; trying again.`);
    } else {
      show(await response.text());
    }
  }

  async function tick() {
    if (asking || document.hidden) {
      return;
    }
    asking = true;
    try {
      await refresh();
    } catch {
      say("The server does not answer. The page shows an earlier state; trying again.");
    } finally {
      asking = false;
      timer = window.setTimeout(tick, Number(root.dataset.refreshMs));
    }
  }

  document.addEventListener("visibilitychange", () => {
    window.clearTimeout(timer);
    if (!document.hidden) {
      tick();
    }
  });
  timer = window.setTimeout(tick, Number(root.dataset.refreshMs));
})();
