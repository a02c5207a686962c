/**
 * Lets a source run up to `count` values ahead of its reader, who gets what is there, at most `groupSize` at a time: never none, never
 * waiting for more. An error of the source comes after the values before it.
 */
export async function* readAhead<T>(source: AsyncGenerator<T>, count: number, groupSize: number): AsyncGenerator<T[]> {
  const waiting: T[] = [];
  let ended = false;
  let failure: { readonly error: unknown } | undefined;
  let wake = nothing;
  let onTaken = nothing;
  const changed = () =>
    new Promise<void>((resolve) => {
      wake = resolve;
    });
  const taken = () =>
    new Promise<void>((resolve) => {
      onTaken = resolve;
    });
  const pump = async () => {
    try {
      for await (const value of source) {
        waiting.push(value);
        wake();
        while (waiting.length >= count && !ended) await taken();
        if (ended) return;
      }
    } catch (error) {
      failure = { error };
    } finally {
      ended = true;
      wake();
    }
  };
  void pump();
  try {
    for (;;) {
      if (waiting.length > 0) {
        const group = waiting.splice(0, groupSize);
        onTaken();
        yield group;
      } else if (ended) break;
      else await changed();
    }
    if (failure !== undefined) throw failure.error;
  } finally {
    ended = true;
    onTaken();
  }
}

function nothing(): void {}
