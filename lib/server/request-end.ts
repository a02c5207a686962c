import type { FastifyReply, FastifyRequest } from "fastify";

/**
 * Calls `over` once, when the answer has been sent or can no longer be: `answered` says which. An answer that waits behind another of its
 * connection is told nothing of the connection's end, so that is listened to as well.
 */
export function onceOver(request: FastifyRequest, reply: FastifyReply, over: (answered: boolean) => void): void {
  const { socket } = request.raw;
  const { raw } = reply;
  let isOver = false;
  const settle = () => {
    if (isOver) return; // both ends may come in one go
    isOver = true;
    raw.off("finish", settle).off("close", settle);
    socket?.off?.("close", settle);
    over(raw.writableFinished);
  };
  raw.on("finish", settle).on("close", settle);
  socket?.on?.("close", settle);
}
