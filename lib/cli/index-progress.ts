import type { GenericFormatter, MultiBar } from "cli-progress";
import { type IndexEvent, type IndexProgress, type IndexSummary, pathJson, shownPath } from "../index-store/index";
import { errorJson, note } from "./output";
import { cutToCells, oneLine } from "./text-width";

/** What `gme index` shows while it runs. */
export interface IndexProgressView {
  update(progress: IndexProgress): void;
  event(event: IndexEvent): void;
  stop(): void;
}

const jsonEveryMs = 1_000;

/**
 * On a terminal a bar on stderr with the failures above it; elsewhere the failures as lines on stderr. With `json` the
 * same as lines of JSON on stdout instead, and with `quiet` neither bar nor failures nor the JSON's progress.
 */
export async function startIndexProgress({ json = false, quiet = false }): Promise<IndexProgressView> {
  if (json) return jsonView(quiet);
  if (quiet) return { update: () => undefined, event: () => undefined, stop: () => undefined };
  if (process.stderr.isTTY === true) return barView();
  return { update: () => undefined, event: (event) => eventLines(event).forEach(note), stop: () => undefined };
}

function jsonView(quiet: boolean): IndexProgressView {
  let writtenAt = Number.NEGATIVE_INFINITY;
  let pending: IndexProgress | undefined;
  const write = (value: unknown) => void process.stdout.write(`${JSON.stringify(value)}\n`);
  return {
    update(progress) {
      if (quiet) return;
      const now = performance.now();
      if (now - writtenAt < jsonEveryMs) {
        pending = progress;
        return;
      }
      [writtenAt, pending] = [now, undefined];
      write(progressJson(progress));
    },
    event: (event) => write(eventJson(event)),
    stop() {
      if (pending !== undefined) write(progressJson(pending));
      pending = undefined;
    },
  };
}

function progressJson(progress: IndexProgress): Record<string, unknown> {
  return { type: "progress", ...progress };
}

function eventJson(event: IndexEvent): Record<string, unknown> {
  if (event.type === "failed") return { ...event, ...pathJson(event.path), error: errorJson(event.error) };
  return event.type === "skipped" ? { ...event, ...pathJson(event.path) } : { ...event };
}

async function barView(): Promise<IndexProgressView> {
  const { MultiBar: Bars } = await import("cli-progress");
  let latest: IndexProgress | undefined;
  const format: GenericFormatter = () =>
    latest === undefined ? "" : progressLine(latest, process.stderr.columns || 80);
  // A stack of one bar: only that one can print lines above itself. `linewrap`: lines are cut to the terminal's width.
  const options = { format, stream: process.stderr, hideCursor: true, clearOnComplete: true, linewrap: true };
  const bars = new Bars({ ...options, forceRedraw: true }) as MultiBar & { update(): void };
  const bar = bars.create(1, 0);
  return {
    update(progress) {
      latest = progress;
      bar.update(0);
    },
    event(event) {
      for (const line of eventLines(event)) bars.log(`${line}\n`);
    },
    stop() {
      if (bars.isActive) bars.update(); // prints what waits in its log
      bars.stop();
    },
  };
}

/** Failures and the engine's messages in words; what was skipped is only counted. */
export function eventLines(event: IndexEvent): string[] {
  if (event.type === "engine") return [oneLine(event.message)];
  if (event.type !== "failed") return [];
  const path = shownPath(event.path);
  const part = event.part === undefined ? "" : `, part ${event.part}`;
  const { code, message } = event.error;
  const reason = message.startsWith(`${path}: `) ? message.slice(path.length + 2) : message;
  return [`failed: ${path}${part}: ${oneLine(reason)} [${code}]`];
}

const shortestBar = 5;
const longestBar = 30;

/** One line of at most `columns` - 1 cells; where that is too few, the parts that matter least are left out. */
export function progressLine(progress: IndexProgress, columns: number): string {
  const room = Math.max(1, columns - 1);
  const { done, total, counted, failed, itemsPerSecond, tokensPerSecond, secondsLeft } = progress;
  const parts = {
    label: "indexing",
    count: `${done}/${total}${counted ? "" : "+"}`,
    items: `${shortRate(itemsPerSecond)} items/s`,
    tokens: `${shortRate(tokensPerSecond)} tokens/s`,
    left: secondsLeft === undefined ? "" : `${duration(secondsLeft)} left`,
    failed: failed > 0 ? `${failed} failed` : "",
  };
  const figures = () =>
    [parts.count, parts.items, parts.tokens, parts.left, parts.failed].filter((part) => part !== "");
  const label = () => (parts.label === "" ? "" : `${parts.label} `);
  const barRoom = () => room - label().length - 1 - figures().join(" · ").length;
  for (const name of ["label", "tokens", "items", "left"] as const) if (barRoom() < shortestBar) parts[name] = "";
  const size = Math.min(longestBar, barRoom());
  if (size < shortestBar) return cutToCells(figures().join(" · "), room);
  const filled = total === 0 ? 0 : Math.min(size, Math.floor((done / total) * size));
  return `${label()}${"█".repeat(filled)}${"░".repeat(size - filled)} ${figures().join(" · ")}`;
}

function shortRate(rate: number): string {
  if (!Number.isFinite(rate)) return "0";
  if (rate >= 9_999.5) return `${(rate / 1000).toFixed(0)}k`;
  return rate >= 9.95 ? rate.toFixed(0) : rate.toFixed(1);
}

/** Seconds in words: `8 s`, `12 min`, `3 h 5 min`, `2 d 4 h`. */
export function duration(seconds: number): string {
  if (seconds < 59.5) return `${Math.round(Math.max(0, seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 24 * 60) return twoUnits(minutes, 60, "h", "min");
  return twoUnits(Math.round(minutes / 60), 24, "d", "h");
}

function twoUnits(count: number, size: number, large: string, small: string): string {
  const rest = count % size;
  return `${Math.floor(count / size)} ${large}${rest === 0 ? "" : ` ${rest} ${small}`}`;
}

/** The closing lines for people. */
export function summaryText(summary: IndexSummary): string {
  const { files, embedded, tokens, duplicates, unchanged, failed, failedBefore, rows, seconds, restarts } = summary;
  const skipped = Object.entries(summary.skipped).filter(([, count]) => count > 0);
  const reasons = skipped.map(([reason, count]) => `${grouped(count)} ${reason}`).join(", ");
  const settled = [
    [unchanged, "unchanged"],
    [duplicates, duplicates === 1 ? "duplicate" : "duplicates"],
    [skipped.reduce((sum, [, count]) => sum + count, 0), `skipped${reasons === "" ? "" : ` (${reasons})`}`],
    [failed, "failed"],
    [failedBefore, "failed before and not tried again (--retry-failed does)"],
  ] as const;
  const found = settled.flatMap(([count, what]) => (count > 0 ? [`${grouped(count)} ${what}`] : []));
  const computed = [
    `${counted(embedded, "vector")} computed in ${embedded > 0 ? exactTime(seconds) : duration(seconds)}`,
  ];
  if (embedded > 0 && seconds > 0) {
    computed.push(`${rate(embedded / seconds)} items/s, ${rate(tokens / seconds)} tokens/s`);
    computed.push(`the model was idle ${(summary.idleShare * 100).toFixed(1)} % of its time`);
  }
  const lines = [
    [counted(files, "file"), ...(found.length > 0 ? [found.join(", ")] : [])].join(": "),
    computed.join("; "),
  ];
  if (restarts > 0) lines.push(`the engine was started again ${restarts === 1 ? "once" : `${restarts} times`}`);
  lines.push(`the index has ${counted(rows, "row")}`);
  return `${lines.join("\n")}\n`;
}

/** Finer than `duration`, since rates can be told from it. */
function exactTime(seconds: number): string {
  return seconds < 60 ? `${seconds.toFixed(1)} s` : duration(seconds);
}

function rate(perSecond: number): string {
  return perSecond >= 99.95 ? grouped(Math.round(perSecond)) : perSecond.toFixed(1);
}

function counted(count: number, noun: string): string {
  return `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;
}

function grouped(count: number): string {
  return count.toLocaleString("en-US");
}
