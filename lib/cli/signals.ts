/** Exit codes of the signals that stop a command. */
const stopSignals = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

const controller = new AbortController();
let received: keyof typeof stopSignals | undefined;
let ending: { readonly code?: number; readonly seconds: number } = { seconds: 5 };

/** Aborted by the first SIGINT, SIGTERM or SIGHUP. */
export function stopSignal(): AbortSignal {
  return controller.signal;
}

/** The exit code of the signal that stopped the command, if one did. */
export function stopCode(): number | undefined {
  return received && (ending.code ?? stopSignals[received]);
}

/** For a command that is ended by a signal in its due course: its exit code then, and the seconds it may take. */
export function endBySignal(how: { readonly code: number; readonly seconds: number }): void {
  ending = how;
}

/** The first signal stops the work in hand and lets the command clean up; a second one ends the process at once. */
export function listenForSignals(): void {
  for (const name of Object.keys(stopSignals) as (keyof typeof stopSignals)[]) {
    process.on(name, () => {
      if (received !== undefined) process.exit(stopSignals[name]);
      received = name;
      controller.abort();
      setTimeout(() => process.exit(stopSignals[name]), ending.seconds * 1000).unref();
    });
  }
}
