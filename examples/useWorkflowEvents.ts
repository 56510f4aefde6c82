// A React hook that follows one workflow.
//
//     const { events, connected, error } = useWorkflowEvents("arb_btc_001");

import { useEffect, useState } from "react";
import { io } from "socket.io-client";

export interface WorkflowEvent {
  type: string;
  execution_id: string;
  workflow_id: string;
  timestamp: string;
  event_id?: string;
  [field: string]: unknown;
}

export interface Options {
  url?: string;
  token?: string;
  /** Events kept, oldest dropped first. */
  limit?: number;
}

export interface WorkflowEvents {
  /** Oldest first: recent events, then live ones, none of them twice. */
  events: WorkflowEvent[];
  connected: boolean;
  error: string | null;
}

export function useWorkflowEvents(
  workflowId: string,
  { url = "http://localhost:8001", token, limit = 500 }: Options = {},
): WorkflowEvents {
  const [events, setEvents] = useState<WorkflowEvent[]>([]);
  const [connected, setConnected] = useState(false);
  const [error, setError] = useState<string | null>(null);

  useEffect(() => {
    const socket = io(url);
    const subscribe = () => socket.emit("subscribe_workflow", { workflow_id: workflowId });

    setEvents([]);
    setError(null);

    // All handlers are set here, once per socket: a handler that is added in `connect` is added again on every reconnection.
    socket.on("connected", ({ auth_required }: { auth_required: boolean }) => {
      setConnected(true);
      setError(null);
      if (auth_required) socket.emit("authenticate", { token: token ?? "" });
      else subscribe();
    });
    socket.on("auth_response", ({ success, message }: { success: boolean; message: string }) => {
      if (success) subscribe();
      else setError(message);
    });
    socket.on("recent_events", ({ events: recent }: { events: WorkflowEvent[] }) => {
      setEvents((known) => append(known, recent, limit));
    });
    socket.on("workflow_event", (event: WorkflowEvent) => {
      setEvents((known) => append(known, [event], limit));
    });
    socket.on("error", ({ message }: { message: string }) => setError(message));
    socket.on("connect_error", ({ message }: Error) => setError(message));
    socket.on("disconnect", () => setConnected(false));

    return () => {
      socket.removeAllListeners();
      socket.disconnect();
    };
  }, [workflowId, url, token, limit]);

  return { events, connected, error };
}

/** After a reconnection the server replays events, some of which are there already: `event_id` tells them apart. */
function append(known: WorkflowEvent[], fresh: WorkflowEvent[], limit: number): WorkflowEvent[] {
  const ids = new Set(known.map((event) => event.event_id));
  const unseen = fresh.filter((event) => event.event_id === undefined || !ids.has(event.event_id));
  return unseen.length ? [...known, ...unseen].slice(-limit) : known;
}
