import { setTimeout as sleep } from "node:timers/promises";

const attempts = 50;
const pauseMs = 100;

/** Opens something; when too many files are open, waits up to five seconds for others to be closed. */
export async function patiently<Opened>(open: () => Promise<Opened>): Promise<Opened> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await open();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if ((code !== "EMFILE" && code !== "ENFILE") || attempt === attempts) throw error;
      await sleep(pauseMs);
    }
  }
}
