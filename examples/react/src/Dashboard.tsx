// A dashboard of running workflows. All components share one connection.

import { useState } from "react";
import type { Execution, Selector } from "workflow-events";
import { useConnection, useExecution, useExecutions, useWorkflowEvents } from "workflow-events/react";

/** `VITE_SERVER_URL=… npm run dev` names another server. A real dashboard passes `getToken` here too. */
const server = { url: import.meta.env.VITE_SERVER_URL ?? "http://localhost:8001" };

const EVERYTHING: Selector = "all";

export function Dashboard() {
  const { status, error } = useConnection(server);
  const [chosen, setChosen] = useState<string>();
  return (
    <main>
      <header>
        <h1>Workflows</h1>
        <p role="status" className={status}>{status}</p>
      </header>
      {error && <p role="alert">{error.message}</p>}
      <div className="columns">
        <Executions chosen={chosen} onChoose={setChosen} />
        {chosen ? <Run id={chosen} /> : <Latest />}
      </div>
    </main>
  );
}

function Executions({ chosen, onChoose }: { chosen?: string; onChoose: (id: string) => void }) {
  const newestFirst = [...useExecutions(EVERYTHING, server).values()].reverse().slice(0, 20);
  return (
    <section aria-label="Executions">
      <h2>Executions</h2>
      <ul className="executions">
        {newestFirst.map((execution) => (
          <li key={execution.execution_id}>
            <button aria-pressed={execution.execution_id === chosen} onClick={() => onChoose(execution.execution_id)}>
              <strong>{execution.workflow_id}</strong> <span className={execution.status}>{execution.status}</span>
              <Progress execution={execution} />
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Progress({ execution: { counts, node_count, status, execution_id } }: { execution: Execution }) {
  const most = node_count ?? Math.max(1, counts.started);
  const done = status === "running" ? counts.completed + counts.failed : most;
  return <progress max={most} value={done} aria-label={`Nodes of ${execution_id}`} />;
}

function Run({ id }: { id: string }) {
  const execution = useExecution(EVERYTHING, id, server);
  if (!execution) return <p>This execution is not known any more.</p>;
  return (
    <section aria-label="Execution">
      <h2>{execution.execution_id}</h2>
      {execution.error && <p role="alert">{execution.error}</p>}
      <table>
        <thead>
          <tr><th>Node</th><th>Status</th><th>Duration</th></tr>
        </thead>
        <tbody>
          {execution.nodes.map((node) => (
            <tr key={node.node_id}>
              <td>{node.name ?? node.node_id}</td>
              <td className={node.status}>{node.status}</td>
              <td>{node.duration_ms === null ? "" : `${node.duration_ms} ms`}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Latest() {
  const { events, gaps, live } = useWorkflowEvents(EVERYTHING, { ...server, limit: 30 });
  return (
    <section aria-label="Events" aria-busy={!live}>
      <h2>Latest events</h2>
      {gaps.map((gap, index) => <p key={index} role="alert">Events are missing: {gap.reason}</p>)}
      <ol className="events">
        {events.toReversed().map((event) => (
          <li key={event.event_id}>
            <time>{event.timestamp.slice(11, 23)}</time> {event.type} <span>{event.workflow_id}</span>
          </li>
        ))}
      </ol>
    </section>
  );
}
