// What a test process wrote on stdout becomes counts, printed lines and records.
//
// TAP of a tap file, or the engine's lines (`ok - …`, `not ok - …`, `# …`) -> { passed, failed, skipped }
//   -> `lines`, shown when the file has ended
//   -> `records`: { title, ok } of each test, { figure } of each comment `G025: …`, { count, value } of `count NAME: 12`
import { Parser } from "tap-parser";

const startsWithId = /^[GITL]\d{2,3}\b/;

export class TestResults {
  counts = { passed: 0, failed: 0, skipped: 0 };
  lines = [];
  records = [];

  /** How many checks this file made, whatever their result. */
  get leaves() {
    return this.counts.passed + this.counts.failed + this.counts.skipped;
  }

  fail(message, counts = this.counts) {
    counts.failed++;
    this.lines.push(`  not ok ${message}`);
  }

  /** One line of the engine's tests. */
  readLine(line) {
    const check = /^(not )?ok\b(?: -)? ?(.*)$/.exec(line);
    if (check === null) return this.comment(line);
    const [, failed, title] = check;
    if (failed) this.fail(line.slice(7));
    else this.counts.passed++;
    this.records.push({ title, ok: !failed });
  }

  comment(line) {
    const text = line.replace(/^# ?/, "").trimEnd();
    if (text === "" || /^(Subtest\b|time=|No coverage|\{ total)/.test(text)) return;
    this.lines.push(`  # ${text}`);
    const counted = /^count ([a-z-]+): (\d+)$/.exec(text);
    if (counted) this.records.push({ count: counted[1], value: Number(counted[2]) });
    else if (startsWithId.test(text)) this.records.push({ figure: text });
  }

  /** A parser to pipe the stdout of a tap file into; `await results.finished(parser)` when the process has ended. */
  tapParser() {
    const parser = new Parser();
    this.countLeaves(parser, this.counts);
    parser.on("bailout", (reason) => this.fail(`bailed out: ${reason}`));
    this.completed = new Promise((resolve) => parser.on("complete", resolve));
    return parser;
  }

  // A closing test point repeats its children's results, so it counts only when it failed on its own (a plan, a timeout,
  // an exception outside any assertion).
  countLeaves(parser, counts) {
    let below = { passed: 0, failed: 0, skipped: 0 };
    parser.on("child", (child) => {
      below = { passed: 0, failed: 0, skipped: 0 };
      this.countLeaves(child, below);
    });
    parser.on("comment", (text) => this.comment(text));
    parser.on("assert", (result) => {
      if (result.closingTestPoint) {
        for (const key of Object.keys(counts)) counts[key] += below[key];
        if (!result.ok && !result.todo && below.failed === 0) this.fail(describe(result), counts);
      } else if (result.skip || result.todo) counts.skipped++;
      else if (result.ok) counts.passed++;
      else this.fail(describe(result), counts);
      const isTest = result.closingTestPoint || result.skip || startsWithId.test(result.name);
      if (isTest) this.records.push({ title: result.name, ok: result.ok, ...(result.skip && { skip: result.skip }) });
    });
  }
}

function describe(result) {
  const { at, diff, stack, signal, exitCode, tapCaught } = result.diag ?? {};
  const details = [signal && `killed by ${signal}`, exitCode && `exit code ${exitCode}`, tapCaught, diff, stack];
  if (!stack && at?.fileName) details.push(`at ${at.fileName}:${at.lineNumber}`);
  return [result.fullname || result.name, ...details.filter(Boolean)].join("\n").trimEnd().replaceAll("\n", "\n    ");
}
