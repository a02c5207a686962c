import type { FastifyReply, FastifyRequest } from "fastify";
import { GmeError } from "../index";
import { onceOver } from "./request-end";

/** What ends a request's work early. */
export interface RequestSignal {
  readonly signal: AbortSignal;
  /** The work is done: its time counts no more. */
  settle(): void;
}

/** Aborted when the client has gone before its answer was sent. */
export function goneSignal(request: FastifyRequest, reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  onceOver(request, reply, (answered) => {
    if (!answered) gone.abort(new GmeError("GME_ABORTED", "the client has gone"));
  });
  return gone.signal;
}

/** The same, and aborted after `seconds` with GME_DEADLINE_EXCEEDED as its reason. */
export function requestSignal(request: FastifyRequest, reply: FastifyReply, seconds: number): RequestSignal {
  const late = new AbortController();
  const onLate = () => {
    const words = `the request has no answer after ${seconds} s`;
    late.abort(new GmeError("GME_DEADLINE_EXCEEDED", words, { value: seconds, expected: "less work at once" }));
  };
  const timer = setTimeout(onLate, seconds * 1000);
  return { signal: AbortSignal.any([goneSignal(request, reply), late.signal]), settle: () => clearTimeout(timer) };
}
