// What is on the wire, and what the client hands out. Types only: nothing of this file is left when it runs.

/** Where an event stands in each of its topics. Per topic the numbers go up by one. */
export interface Offsets {
  all: number;
  workflow: number;
  bot?: number;
  strategy?: number;
}

/** What every event has. `timestamp` is the publisher's, ISO 8601. */
export interface EventBase {
  type: string;
  execution_id: string;
  workflow_id: string;
  bot_id?: string | null;
  strategy_id?: string | null;
  timestamp: string;
  /** Unique: the epoch of the history, a dash, the number of the event in it. */
  event_id: string;
  offsets: Offsets;
}

export interface ExecutionStarted extends EventBase {
  type: "execution_started";
  node_count?: number;
}

export interface NodeStarted extends EventBase {
  type: "node_started";
  node_id: string;
  node_name?: string;
  node_category?: string;
}

export interface NodeCompleted extends EventBase {
  type: "node_completed";
  node_id: string;
  duration_ms?: number;
  status?: string;
  outputs?: Record<string, unknown>;
}

export interface NodeFailed extends EventBase {
  type: "node_failed";
  node_id: string;
  duration_ms?: number;
  error?: string;
  error_type?: string;
}

export interface ExecutionCompleted extends EventBase {
  type: "execution_completed";
  duration_ms?: number;
  status?: string;
  results?: Record<string, unknown>;
  error?: string;
}

/** The guide's event types by name. */
export interface KnownEvents {
  execution_started: ExecutionStarted;
  node_started: NodeStarted;
  node_completed: NodeCompleted;
  node_failed: NodeFailed;
  execution_completed: ExecutionCompleted;
}

/** Any event, those of your own types included. `isEvent(event, "node_failed")` narrows it. */
export interface WorkflowEvent extends EventBase {
  [field: string]: unknown;
}

/** What to follow: one workflow, bot or strategy, or everything. */
export type Selector = { workflow: string } | { bot: string } | { strategy: string } | "all";

/** A place in a topic: the last event that is known of it. Keep it, and go on from there with the option `after`. */
export interface Place {
  epoch: string;
  offset: number;
}

export interface TopicName {
  kind: "workflow" | "bot" | "strategy" | "all_bots";
  id: string;
  /** `workflow:<id>`, …, or `all_bots`. */
  key: string;
}

export type NodeStatus = "running" | "completed" | "failed";

export interface NodeState {
  node_id: string;
  name: string | null;
  category: string | null;
  status: NodeStatus;
  started: string | null;
  finished: string | null;
  duration_ms: number | null;
  error: string | null;
  error_type: string | null;
}

/** The state of an execution, as snapshots and `/api/executions` have it. Never changed in place. */
export interface Execution {
  execution_id: string;
  workflow_id: string;
  bot_id?: string;
  strategy_id?: string;
  /** `running`, or the publisher's word for the end. */
  status: string;
  started: string | null;
  finished: string | null;
  duration_ms: number | null;
  node_count: number | null;
  nodes: readonly NodeState[];
  counts: { started: number; completed: number; failed: number };
  error: string | null;
  last_event: { type: string | null; timestamp: string | null };
  events: number;
  first: number;
  last: number;
}

/** Events that will not come. `topic` is null for a gap of the bus: nobody knows whose events they were. */
export interface Gap {
  topic: TopicName | null;
  /** First and last missing offset of the topic; null when nobody can know. */
  from: number | null;
  to: number | null;
  /** The server's reason, or `unexplained` when the client found a hole that the server did not tell of. */
  reason: string;
  /** Gaps of the bus: how many, and which input. */
  count?: number | null;
  source?: string;
}

/** How a resumed subscription went. `recovered`: every event after `after` came. */
export interface Resumed {
  topic: TopicName;
  after: Place;
  recovered: boolean;
}

/** Live events come late (`lagging`), or in time again. `ms` is the age of the event that told. */
export interface Lag {
  lagging: boolean;
  ms: number;
}

export type ErrorCode =
  | "authentication_required"
  | "invalid_token"
  | "invalid_payload"
  | "missing_field"
  | "invalid_field"
  | "unknown_command"
  | "too_many_subscriptions"
  | "history_unavailable"
  | "internal_error"
  | "connection_failed"
  | "rate_limited"
  | "too_many_connections"
  | "unsubscribed"
  | "insufficient_scope"
  | "token_expired"
  | "token_revoked"
  | "token_missing"
  | "token_unavailable";

/** What went wrong: the server's refusal, or the client's own trouble. `message` is for people, `code` for programs. */
export interface Failure {
  code: ErrorCode | (string & {});
  message: string;
  field?: string;
  topic?: TopicName;
  /** The scope that a token would need for it. */
  needed?: string;
  /** Seconds after which the same may succeed. */
  retry_after?: number;
}

export type Status = "disconnected" | "connecting" | "connected" | "reconnecting";

/** The connection at one moment. Never changed in place. */
export interface ConnectionState {
  status: Status;
  /** Subscriptions are in force: connected, and authenticated where the server asks for it. */
  ready: boolean;
  sid: string | null;
  transport: string | null;
  authRequired: boolean;
  authenticated: boolean;
  /** How many connections there were before this one. */
  reconnects: number;
  /** Why it is not connected. */
  reason: string | null;
  /** Milliseconds by which this machine's clock is ahead of the server's, as far as one can tell. */
  clockSkewMs: number;
}

export interface EventInfo {
  /** It comes from the history, and was published before this subscription or while the connection was away. */
  replayed: boolean;
}

export interface SubscribeOptions {
  /** Only events of these types. */
  types?: readonly string[] | undefined;
  /** Keep the states of the topic's executions, begun from a snapshot: `subscription.executions`. */
  executions?: boolean;
  /** Go on after this place instead of beginning with the recent events. */
  after?: Place;
  onEvent?: (event: WorkflowEvent, info: EventInfo) => void;
  /** The executions have changed. Called once per event or snapshot. */
  onExecutions?: (executions: ReadonlyMap<string, Execution>) => void;
  /** The subscription is in force, and what was to be replayed has been. Again after each reconnection. */
  onLive?: () => void;
  onResumed?: (result: Resumed) => void;
  onGap?: (gap: Gap) => void;
  /** The server refused the subscription for good, or ended it; it is closed. */
  onRefused?: (failure: Failure) => void;
}

export interface ClientOptions {
  /** The token. `getToken` is better where tokens expire. */
  token?: string;
  /** Asked before each connection, and again when the server wants a new token. */
  getToken?: () => string | Promise<string>;
  /** Socket.IO's transports; by default long-polling first, then WebSocket. */
  transports?: ("polling" | "websocket")[];
  /** From which age on live events count as late; 5,000 ms by default. */
  lagMs?: number;
  /** Further options of Socket.IO's manager. */
  socket?: Record<string, unknown>;
}

export interface ClientEvents {
  state: [state: ConnectionState];
  /** Each event once, however many subscriptions it belongs to. */
  event: [event: WorkflowEvent, info: EventInfo];
  gap: [gap: Gap];
  lag: [lag: Lag];
  resumed: [result: Resumed];
  error: [failure: Failure];
  /** The server process is about to end; the client moves to another one by itself. */
  draining: [notice: { reconnectInMs: number }];
  /** A message of an operator to the people in front of this client. */
  notice: [notice: { level: "info" | "warning" | "critical"; message: string; timestamp: string }];
  /** The platform's emergency state. */
  emergency: [emergency: { state: string; reason: string | null; since: string | null }];
}
