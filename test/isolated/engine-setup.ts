import { copyFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import type { EmbedOutcome, EmbedTask, HashedFile } from "../../lib/embed-tasks/embed-task";
import { IsolatedEngine, type IsolatedEngineSettings } from "../../lib/isolated/engine-client";
import { root, sha256, temporaryFolder } from "../helpers/fixtures";

export const model = join(root, "models", "emoji-tiny-f16.gguf");
const samples = join(root, "models", "emoji-tiny", "samples");

export const folder = temporaryFolder();

export const samplePaths: readonly string[] = readdirSync(samples)
  .filter((name) => /\.(png|jpe?g|webp)$/.test(name))
  .sort()
  .map((name) => join(samples, name));

export function hashed(path: string): HashedFile {
  return { path, sha256: sha256(readFileSync(path)) };
}

export function pictures(count: number): EmbedTask[] {
  return Array.from({ length: count }, (_, i) => ({ image: hashed(samplePaths[i % samplePaths.length]) }));
}

export function texts(count: number, word = "word"): EmbedTask[] {
  return Array.from({ length: count }, (_, i) => ({ text: `${word} number ${i}` }));
}

/** A whole picture under a name that makes the engine's process end. */
export function poison(fault: string, name = ""): HashedFile {
  const path = join(folder, `poison-${fault} ${name}.png`);
  copyFileSync(samplePaths[0], path);
  return hashed(path);
}

/** NODE_OPTIONS for a process whose engine has the faults of children/poison.cjs. */
export function withPoison(): string {
  return `${process.env.NODE_OPTIONS ?? ""} --require ${JSON.stringify(join(__dirname, "children", "poison.cjs"))}`;
}

/** The engine with the faults of children/poison.cjs; closed when the test ends. `messages` collects what it tells. */
export async function startEngine(
  t: Test,
  settings: IsolatedEngineSettings & { fault?: string } = {},
): Promise<{ engine: IsolatedEngine; messages: string[] }> {
  const messages: string[] = [];
  poisonProcesses(t, settings.fault);
  const engine = await IsolatedEngine.start(
    model,
    { threads: 1 },
    { onMessage: (text) => messages.push(text), ...settings },
  );
  t.teardown(() => engine.close());
  return { engine, messages };
}

/** The engine's processes that are started until the test ends have the faults of children/poison.cjs. */
export function poisonProcesses(t: Test, fault?: string): void {
  const { NODE_OPTIONS, GME_TEST_FAULT } = process.env;
  process.env.NODE_OPTIONS = withPoison();
  if (fault !== undefined) process.env.GME_TEST_FAULT = fault;
  t.teardown(() => {
    restore("NODE_OPTIONS", NODE_OPTIONS);
    restore("GME_TEST_FAULT", GME_TEST_FAULT);
  });
}

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}

/** The largest difference of two vectors' components; NaN where one is missing. */
export function distance(a: EmbedOutcome | undefined, b: EmbedOutcome | undefined): number {
  if (a === undefined || b === undefined || a.error !== undefined || b.error !== undefined) return Number.NaN;
  if (a.embedding.length !== b.embedding.length) return Number.NaN;
  return a.embedding.reduce((most, x, i) => Math.max(most, Math.abs(x - b.embedding[i])), 0);
}

/** Every outcome is a vector, and the expected one; what is computed beside it moves an f16 model's vectors by some 1e-5. */
export function sameVectors(t: Test, found: EmbedOutcome[], expected: EmbedOutcome[], title: string): void {
  const worst = found.map((outcome, i) => distance(outcome, expected[i]));
  const isSame = found.length === expected.length && worst.every((d) => d <= 1e-4);
  t.ok(isSame, `${title}: ${found.length} vectors, differences up to ${Math.max(...worst)}`);
}

/** A PDF of so many empty pages of A4. */
export function emptyPdf(name: string, pages: number): HashedFile {
  const kids = Array.from({ length: pages }, (_, i) => `${i + 3} 0 R`).join(" ");
  const objects = [
    "<< /Type /Catalog /Pages 2 0 R >>",
    `<< /Type /Pages /Kids [${kids}] /Count ${pages} >>`,
    ...Array.from({ length: pages }, () => "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] >>"),
  ];
  let text = "%PDF-1.4\n";
  const offsets = objects.map((object, i) => {
    const at = text.length;
    text += `${i + 1} 0 obj\n${object}\nendobj\n`;
    return at;
  });
  const table = offsets.map((at) => `${String(at).padStart(10, "0")} 00000 n \n`).join("");
  const size = objects.length + 1;
  text += `xref\n0 ${size}\n0000000000 65535 f \n${table}trailer\n<< /Size ${size} /Root 1 0 R >>\nstartxref\n${text.length}\n%%EOF\n`;
  const path = join(folder, name);
  writeFileSync(path, text);
  return hashed(path);
}
