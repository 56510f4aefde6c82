// What the types promise, compiled and not run: each `@ts-expect-error` is a mistake that they must catch.

import { connect, fold, isEvent, type Execution, type WorkflowEvent } from "workflow-events";
import { useConnection, useExecution, useWorkflowEvents } from "workflow-events/react";

const client = connect("http://localhost:8001", { getToken: async () => "token", transports: ["websocket"] });

const subscription = client.subscribe(
  { workflow: "arb_btc_001" },
  {
    executions: true,
    onEvent(event, { replayed }) {
      const late: boolean = replayed;
      if (isEvent(event, "node_failed")) {
        const error: string | undefined = event.error;
        console.log(error, late);
      }
      // @ts-expect-error: a field of an event that may be of any type
      const duration: number = event.duration_ms;
      console.log(duration);
    },
    onGap: ({ from, to, reason }) => console.log(from, to, reason),
  },
);

const states: ReadonlyMap<string, Execution> | undefined = subscription.executions?.states;
const off: () => void = client.on("lag", ({ lagging, ms }) => console.log(lagging, ms.toFixed(), states?.size));
off();

// @ts-expect-error: no such topic
client.subscribe({ workflows: "x" });
// @ts-expect-error: no such event
client.on("events", () => {});
// @ts-expect-error: a token is a text
connect("http://localhost:8001", { token: 5 });

export function Component() {
  const { status, client: shared } = useConnection({ url: "http://localhost:8001" });
  const { events, live } = useWorkflowEvents({ bot: "bot_001" }, { limit: 50, types: ["node_failed"] });
  const execution: Execution | null = useExecution("all", "exec_1");
  const first: WorkflowEvent | undefined = events[0];
  return [status, shared?.state.sid, live, execution?.status, first?.type, fold(null, events[0]!).status].join();
}
