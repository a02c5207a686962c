// What travels between the page, the main process and the engine's process. Types only.

/** An error as data: Electron's own channels keep neither class nor code. */
export interface Problem {
  /** Of GmeError, or `APP_ERROR`. */
  readonly code: string;
  readonly message: string;
  readonly path?: string;
}

export type Answer<T> = { readonly value: T } | { readonly problem: Problem };

export interface Progress {
  readonly done: number;
  readonly total: number;
  /** Whether `total` is final. */
  readonly counted: boolean;
  readonly failed: number;
  readonly secondsLeft?: number;
  /** Name of the file that is at work. */
  readonly current?: string;
}

export interface Summary {
  readonly files: number;
  readonly embedded: number;
  readonly failed: number;
  readonly seconds: number;
}

export interface Status {
  readonly entries: number;
  readonly model: string;
  /** To be shown to whoever uses the app. */
  readonly attribution: string;
}

export interface Hit {
  /** Names the entry; the page never learns or sends a path. */
  readonly key: string;
  readonly name: string;
  /** Cosine, higher is nearer. */
  readonly score: number;
  readonly kind: "image" | "text" | "page";
  readonly page?: number;
  readonly snippet?: string;
  readonly hasThumbnail: boolean;
}

/** What the engine's process can be asked. */
export interface EngineCalls {
  status(): Promise<Status>;
  /** Rejects with GME_ABORTED after `stop`; what was embedded is kept. */
  index(folders: readonly string[]): Promise<Summary>;
  stop(): Promise<void>;
  /** Rejects with GME_ABORTED when a newer search came. */
  search(query: string): Promise<Hit[]>;
  /** WebP; undefined where the key is not in the index, or the entry has no picture. */
  thumbnail(key: string): Promise<Uint8Array | undefined>;
  pathOf(key: string): Promise<string | undefined>;
  close(): Promise<void>;
}

export type EngineMethod = keyof EngineCalls;
export type EngineParams<M extends EngineMethod> = Parameters<EngineCalls[M]>;
export type EngineResult<M extends EngineMethod> = Awaited<ReturnType<EngineCalls[M]>>;

export interface ToEngine {
  readonly id: number;
  readonly method: EngineMethod;
  readonly params: readonly unknown[];
}

export type EngineEvent = { readonly progress: Progress } | { readonly failed: Problem };
export type FromEngine = { readonly id: number; readonly answer: Answer<unknown> } | { readonly event: EngineEvent };

/** What the page gets as `window.gme`. */
export interface PageApi {
  status(): Promise<Answer<Status>>;
  /** Files and folders that were dropped on the page; their paths are read by the preload script. */
  indexDropped(files: readonly File[]): Promise<Answer<Summary>>;
  /** Asks for a folder; undefined: none was chosen. */
  indexChosen(): Promise<Answer<Summary | undefined>>;
  stop(): Promise<Answer<undefined>>;
  search(query: string): Promise<Answer<Hit[]>>;
  /** Shows the entry's file in the system's file browser. */
  show(key: string): Promise<Answer<undefined>>;
  onEvent(listener: (event: EngineEvent) => void): void;
}
