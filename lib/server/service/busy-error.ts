import { GmeError, type GmeErrorCode, type GmeErrorDetails } from "../../index";

/** The server cannot take the request now; the same request may succeed later. */
export class BusyError extends GmeError {
  /** For the Retry-After header: whole seconds, at least one. */
  readonly retryAfterSeconds: number;

  constructor(code: GmeErrorCode, message: string, retryAfterSeconds: number, details: GmeErrorDetails = {}) {
    super(code, message, details);
    this.retryAfterSeconds = Math.max(1, Math.ceil(retryAfterSeconds));
  }
}

export function restartedError(words: string, retryAfterSeconds = 2): BusyError {
  return new BusyError("GME_ENGINE_RESTARTED", words, retryAfterSeconds);
}

export function stoppingError(): BusyError {
  return new BusyError("GME_SERVER_STOPPING", "the server is stopping and takes no new work", 5);
}
