import type { FastifyReply } from "fastify";
import { GmeError } from "../index";

/** What ends a request's work early. */
export interface RequestSignal {
  readonly signal: AbortSignal;
  /** The answer is there: nothing is watched any more. */
  settle(): void;
}

/** Aborted when the client has gone, or after `seconds` with GME_DEADLINE_EXCEEDED as its reason. */
export function requestSignal(reply: FastifyReply, seconds: number): RequestSignal {
  const stop = new AbortController();
  const onClose = () => {
    if (!reply.raw.writableFinished) stop.abort(new GmeError("GME_ABORTED", "the client has gone"));
  };
  const onLate = () => {
    const words = `the request has no answer after ${seconds} s`;
    stop.abort(new GmeError("GME_DEADLINE_EXCEEDED", words, { value: seconds, expected: "less work at once" }));
  };
  const timer = setTimeout(onLate, seconds * 1000);
  reply.raw.once("close", onClose);
  const settle = () => {
    clearTimeout(timer);
    reply.raw.off("close", onClose);
  };
  return { signal: stop.signal, settle };
}
