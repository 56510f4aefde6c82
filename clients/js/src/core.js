// Everything but the binding to Socket.IO: for pages that load `io` themselves.

export { WorkflowClient } from "./client.js";
export { Executions } from "./executions.js";
export { fold } from "./fold.js";
export { Subscription } from "./subscription.js";
export { isEvent, topicOf } from "./topic.js";

/**
 * @typedef {import("./types.js").ClientOptions} ClientOptions
 * @typedef {import("./types.js").ConnectionState} ConnectionState
 * @typedef {import("./types.js").ErrorCode} ErrorCode
 * @typedef {import("./types.js").EventInfo} EventInfo
 * @typedef {import("./types.js").Execution} Execution
 * @typedef {import("./types.js").ExecutionCompleted} ExecutionCompleted
 * @typedef {import("./types.js").ExecutionStarted} ExecutionStarted
 * @typedef {import("./types.js").Failure} Failure
 * @typedef {import("./types.js").Gap} Gap
 * @typedef {import("./types.js").KnownEvents} KnownEvents
 * @typedef {import("./types.js").Lag} Lag
 * @typedef {import("./types.js").NodeCompleted} NodeCompleted
 * @typedef {import("./types.js").NodeFailed} NodeFailed
 * @typedef {import("./types.js").NodeStarted} NodeStarted
 * @typedef {import("./types.js").NodeState} NodeState
 * @typedef {import("./types.js").Place} Place
 * @typedef {import("./types.js").Resumed} Resumed
 * @typedef {import("./types.js").Selector} Selector
 * @typedef {import("./types.js").SubscribeOptions} SubscribeOptions
 * @typedef {import("./types.js").TopicName} TopicName
 * @typedef {import("./types.js").WorkflowEvent} WorkflowEvent
 */
