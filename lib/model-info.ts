import type { LoadOptions } from "./options";

/** What a model says about itself. Sizes in bytes, limits in tokens and pixels. Further keys of the engine pass through. */
export interface ModelInfo {
  readonly name: string;
  /** Path as it was given to `load`. */
  readonly file: string;
  readonly dimensions: number;
  /** false: a decoder without a vision tower; pictures reject with GME_MODEL_NO_VISION. */
  readonly vision: boolean;
  readonly device: string;
  readonly threads: number;
  /** Of the weights and options that decide the vectors: vectors of equal fingerprints may be compared. */
  readonly fingerprint: string;
  readonly limits: { readonly maxTokens: number; readonly [name: string]: unknown };
  /** What holds where a call says nothing. */
  readonly defaults: {
    readonly instruction: string;
    readonly positions: string;
    readonly loaderResize: boolean;
    readonly minImageTokens: number;
    readonly maxImageTokens: number;
    readonly orientation: string;
    readonly maxImagePixels: number;
    readonly [name: string]: unknown;
  };
  readonly [name: string]: unknown;
}

type Json = { [key: string]: unknown };

/** The engine's report with the library's own defaults beside the engine's. */
export function modelInfo(nativeInfo: string, options: LoadOptions, file: string): ModelInfo {
  const native = JSON.parse(nativeInfo) as Json;
  const { orientation, maxImagePixels } = options;
  const own = { orientation, maxImagePixels, isQuery: true, overflow: "error", specialTokens: "text", batchSize: 8 };
  const limits = { ...(native.limits as Json), maxImagePixels };
  return deepFreeze({
    ...native,
    file,
    limits,
    defaults: { ...(native.defaults as Json), ...own },
  }) as unknown as ModelInfo;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}
