import type { Test } from "tap";
import { GmeError } from "../../lib/errors";

/** The GmeError that `call` throws or rejects with; its code is checked. */
export async function rejectsWith(t: Test, call: () => unknown, code: string, title = code): Promise<GmeError> {
  try {
    const result = await call();
    t.fail(`${title}: expected ${code}, got ${typeof result}`);
  } catch (error) {
    if (error instanceof GmeError) {
      t.equal(error.code, code, `${title} (${error.message.slice(0, 100)})`);
      t.notMatch(error.message, /0x[0-9a-f]{6,}/, `${title}: no pointer in the message`);
      return error;
    }
    t.fail(`${title}: not a GmeError: ${error}`);
  }
  return new GmeError("GME_INPUT_INVALID", "nothing was thrown");
}
