import { errorCodes, type GmeError } from "../../index";

const typeOf: Readonly<Record<number, string>> = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  429: "rate_limit_error",
};

/** OpenAI's error body: for its dialect, for those that have none of their own, and for what belongs to no dialect. */
export function openAiError(error: GmeError, status: number): { readonly status: number; readonly body: object } {
  const type = typeOf[status] ?? (status >= 500 ? "server_error" : "invalid_request_error");
  return {
    status,
    body: { error: { message: messageFor(error, status), type, param: error.field ?? null, code: error.code } },
  };
}

/** A mistake of ours is told by its code alone: its message may name files and places of this machine. The log has it. */
export function messageFor(error: GmeError, status: number): string {
  return status === 500 ? errorCodes[error.code] : error.message;
}
