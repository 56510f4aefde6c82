// When things began and ended, from the states of executions: Unix milliseconds, null where nothing told.

export function momentOf(timestamp) {
  const at = Date.parse(timestamp ?? "");
  return Number.isNaN(at) ? null : at;
}

// {start, end} of a node or an execution. What runs ends now; where only the end and the duration are known, the start follows.
export function spanOf({ status, started, finished, duration_ms }, now) {
  const end = momentOf(finished) ?? (status === "running" ? now : null);
  const start = momentOf(started) ?? (end !== null && duration_ms !== null ? end - duration_ms : end);
  return { start, end: end ?? start };
}

export function durationOf(state, now) {
  if (state.duration_ms !== null) return state.duration_ms;
  const { start, end } = spanOf(state, now);
  return start === null ? null : Math.max(0, end - start);
}

export const failureOf = ({ error, error_type }) => [error ?? "failed", error_type && `(${error_type})`].filter(Boolean).join(" ");
