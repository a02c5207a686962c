import { basename } from "node:path";
import { GmeError, type ModelInfo, printable } from "../index";

/** Which names of the field `model` stand for the model that is served. */
export class ModelNames {
  /** The name that the server itself uses. */
  readonly own: string;
  private readonly known: ReadonlySet<string>;

  constructor(
    info: ModelInfo,
    aliases: readonly string[],
    private readonly any: boolean,
  ) {
    this.own = basename(info.file).replace(/\.gguf$/i, "");
    this.known = new Set([this.own, info.name, "gme", ...aliases]);
  }

  get all(): readonly string[] {
    return [...this.known];
  }

  /** The name to answer with. Rejects with GME_MODEL_NOT_FOUND; an absent name stands for the one model there is. */
  check(name: string | undefined): string {
    if (name === undefined) return this.own;
    if (this.any || this.known.has(name)) return name.slice(0, 256);
    throw new GmeError("GME_MODEL_NOT_FOUND", `the model ${printable(name)} is not served here`, {
      field: "model",
      value: printable(name),
      expected: this.all.map(printable).join(", "),
    });
  }
}
