// Refusals by the hundred: each file is checked for code, field, time, memory and its message; open files and the good model's vector
// are looked at once, after the last. One assertion for all that is well, one for each file that is not.
import type { Test } from "tap";
import { GmeError } from "../../lib/index";
import { countOpenFiles } from "../lifetime/process-state";
import { goodVector } from "./gguf-models";
import { attempt, type Expected, type HostileFiles, removeHostile, sameBits, writeHostile } from "./gguf-refusal";

const longest = 100; // ms
const mostGrowth = 16 << 20;
const tries = 5;

export class RefusalLoop {
  private files = 0;
  private milliseconds = 0;
  private growth = 0;
  private readonly open = countOpenFiles();

  private constructor(
    private readonly t: Test,
    private readonly id: string,
    private readonly good: Float32Array,
  ) {}

  static async begin(t: Test, id: string): Promise<RefusalLoop> {
    const good = await goodVector();
    return new RefusalLoop(t, id, good);
  }

  async refuse(title: string, files: HostileFiles, { code, field }: Expected): Promise<void> {
    const { path, tower } = writeHostile(files);
    let least = await attempt(path, tower, files.options);
    for (let i = 1; i < tries && least.milliseconds > longest; i++) {
      const next = await attempt(path, tower, files.options);
      if (next.milliseconds < least.milliseconds) least = next;
    }
    removeHostile({ path, tower });
    const { error, milliseconds, growth } = least;
    const name = `${this.id} ${title}`;
    if (!(error instanceof GmeError)) {
      this.t.fail(`${name}: ${error === undefined ? "it loads" : `not a GmeError: ${error}`}`);
      return;
    }
    const fits = (found: string, wanted: string | RegExp) =>
      typeof wanted === "string" ? found === wanted : wanted.test(found);
    if (!fits(error.code, code)) this.t.fail(`${name}: ${error.code}, not ${code} (${error.message})`);
    if (field !== undefined && !fits(error.field ?? "", field)) this.t.fail(`${name}: at ${error.field}, not ${field}`);
    if (milliseconds > longest) this.t.fail(`${name}: ${milliseconds.toFixed(0)} ms`);
    if (growth > mostGrowth) this.t.fail(`${name}: memory grows by ${growth} bytes`);
    if (/0x[0-9a-f]{6,}/.test(error.message)) this.t.fail(`${name}: a pointer stands in the message`);
    this.files++;
    this.milliseconds = Math.max(this.milliseconds, milliseconds);
    this.growth = Math.max(this.growth, growth);
  }

  /** The loop's figures as a comment, after the last file. */
  async end(least: number): Promise<void> {
    this.t.ok(this.files >= least, `${this.id} ${this.files} files are refused, at least ${least}`);
    this.t.ok(countOpenFiles() <= this.open, `${this.id} no file is left open`);
    this.t.ok(
      sameBits(await goodVector(), this.good),
      `${this.id} the good model's vector is the same bits afterwards`,
    );
    const [ms, mib] = [this.milliseconds.toFixed(1), (this.growth / 2 ** 20).toFixed(1)];
    this.t.comment(`${this.id}: ${this.files} files refused, at most ${ms} ms and ${mib} MiB each`);
    this.t.comment(`count malformed-files: ${this.files}`);
  }
}
