import type { Answer, Problem } from "./protocol";

/** An error with the code that it had in the engine's process. */
export class ProblemError extends Error {
  readonly code: string;

  constructor(readonly problem: Problem) {
    super(problem.message);
    this.code = problem.code;
  }
}

/** GmeError has `code`, `message` and `file`; anything else is told by its message. */
export function toProblem(error: unknown): Problem {
  if (error instanceof ProblemError) return error.problem;
  const { code, message, file } = (error ?? {}) as { code?: unknown; message?: unknown; file?: unknown };
  return {
    code: typeof code === "string" ? code : "APP_ERROR",
    message: typeof message === "string" ? message : String(error),
    ...(typeof file === "string" && { path: file }),
  };
}

export async function answerOf<T>(work: () => Promise<T>): Promise<Answer<T>> {
  try {
    return { value: await work() };
  } catch (error) {
    return { problem: toProblem(error) };
  }
}
