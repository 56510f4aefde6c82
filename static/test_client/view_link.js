// The view as a query string: ?workflow=…&bot=…&strategy=…&all_bots=1&transport=…&url=…&tab=…&autoconnect=1. Never the token.

import { KINDS } from "./subscriptions.js";

// Where a link's server is: an origin; null for no address of a server.
export function originOf(url) {
  const address = URL.canParse(url) ? new URL(url) : null;
  return ["http:", "https:"].includes(address?.protocol) ? address.origin : null;
}

export function readView(search) {
  const query = new URLSearchParams(search);
  const wanted = KINDS.flatMap((kind) => query.getAll(kind).filter(Boolean).map((id) => ({ kind, id })));
  if (query.has("all_bots")) wanted.push({ kind: "all_bots", id: "" });
  const connectNow = query.get("autoconnect");
  return {
    url: query.get("url"),
    transport: query.get("transport"),
    tab: query.get("tab"),
    wanted,
    autoconnect: connectNow !== null && connectNow !== "0",
  };
}

export function writeView({ url, transport, tab, wanted }) {
  const query = new URLSearchParams();
  for (const { kind, id } of wanted) query.append(kind, kind === "all_bots" ? "1" : id);
  if (url !== location.origin) query.set("url", url);
  if (transport !== "auto") query.set("transport", transport);
  if (tab !== "events") query.set("tab", tab);
  query.set("autoconnect", "1");
  return `${location.origin}${location.pathname}?${query}`;
}
