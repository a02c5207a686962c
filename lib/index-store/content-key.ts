import { createHash } from "node:crypto";
import { GmeError } from "../errors";
import type { ModelInfo } from "../model-info";
import { schemaVersion } from "./entry-schema";
import type { IndexPin } from "./index-types";

/** What the rows of an index made with this model have in common. */
export function pinFor(info: ModelInfo): IndexPin {
  const { positions, loaderResize, minImageTokens, maxImageTokens, orientation, instruction, specialTokens } =
    info.defaults;
  return {
    version: schemaVersion,
    model: info.name,
    fingerprint: info.fingerprint,
    dimensions: info.dimensions,
    ...{ positions, loaderResize, minImageTokens, maxImageTokens, orientation, instruction, specialTokens },
  };
}

const pinWords: { readonly [name in keyof IndexPin]: string } = {
  version: "layout version",
  model: "model name",
  fingerprint: "model (fingerprint of its weights)",
  dimensions: "vector length",
  positions: "decoder positions",
  loaderResize: "first resize",
  minImageTokens: "fewest image tokens",
  maxImageTokens: "most image tokens",
  orientation: "orientation",
  instruction: "instruction of documents",
  specialTokens: "special tokens",
};

/** GME_MODEL_MISMATCH naming the first thing that differs, with both values. A model's name may change, its weights may not. */
export function checkPin(index: IndexPin, given: IndexPin, file: string): void {
  for (const name of Object.keys(pinWords) as (keyof IndexPin)[]) {
    if (name === "model" || index[name] === given[name]) continue;
    const message =
      `${file} was made with another ${pinWords[name]}: ${index[name]} (model ${index.model}), now ${given[name]} (model ${given.model}); ` +
      "vectors of different models or settings cannot be compared: use that model, or another folder for --db";
    throw new GmeError("GME_MODEL_MISMATCH", message, { file, field: name, value: String(given[name]), expected: String(index[name]) }); // biome-ignore format: one line says it
  }
}

/** An index that a later version of this package made is refused. */
export function checkLayout({ version }: IndexPin, file: string): void {
  if (version <= schemaVersion) return;
  const message = `${file} was made by a newer gme-embed (layout ${version}, this one knows ${schemaVersion}): update gme-embed`;
  throw new GmeError("GME_MODEL_MISMATCH", message, { file, field: "version", value: version, expected: `at most ${schemaVersion}` }); // biome-ignore format: one line says it
}

/** What a vector is made of, besides what the pin holds. */
export interface KeyParts {
  readonly kind: string;
  /** sha256 of the picture's or document's bytes. */
  readonly file?: string;
  /** A caption, a passage, a table row's text. */
  readonly text?: string;
  /** Of a page or passage. */
  readonly number?: number;
}

/** sha256, hex: equal exactly where the vectors are equal. */
export class ContentKeys {
  private readonly prefix: string;

  constructor(pin: IndexPin) {
    const { model, version, ...settings } = pin;
    this.prefix = JSON.stringify(settings);
  }

  of({ kind, file, text, number }: KeyParts): string {
    const parts = JSON.stringify([kind, file ?? null, text ?? null, number ?? null]);
    return createHash("sha256").update(this.prefix).update(parts).digest("hex");
  }
}
