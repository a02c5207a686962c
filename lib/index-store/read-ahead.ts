/** Lets a source run up to `count` values ahead of its reader. An error of the source comes after the values before it. */
export async function* readAhead<T>(source: AsyncGenerator<T>, count: number): AsyncGenerator<T> {
  const waiting: T[] = [];
  let ended = false;
  let failure: { readonly error: unknown } | undefined;
  let wake: () => void = () => undefined;
  const change = () => new Promise<void>((resolve) => (wake = resolve)); // biome-ignore format: one line says it
  let changed = change();
  const signal = () => {
    wake();
    changed = change();
  };
  const pump = async () => {
    try {
      for await (const value of source) {
        waiting.push(value);
        signal();
        while (waiting.length >= count && !ended) await changed;
        if (ended) return;
      }
    } catch (error) {
      failure = { error };
    } finally {
      ended = true;
      signal();
    }
  };
  void pump();
  try {
    for (;;) {
      while (waiting.length > 0) {
        const value = waiting.shift() as T;
        signal();
        yield value;
      }
      if (ended) break;
      await changed;
    }
    if (failure !== undefined) throw failure.error;
  } finally {
    ended = true;
    signal();
  }
}
