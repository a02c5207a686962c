#!/usr/bin/env node
import { Command, CommanderError } from "commander";
import { attribution, version } from "../index";
import { benchCommand } from "./bench";
import { convertCommand } from "./convert";
import { demoCommand } from "./demo";
import { doctorCommand } from "./doctor";
import { embedCommand } from "./embed";
import { exportCommand } from "./export";
import { indexCommand } from "./index-command";
import { inspectCommand } from "./inspect";
import { exitCodes, note, reportError, UsageError } from "./output";
import { pullCommand } from "./pull";
import { rmCommand } from "./rm";
import { searchCommand } from "./search";
import { serveCommand } from "./serve";
import { listenForSignals, stopCode } from "./signals";
import { verifyCommand } from "./verify";

const exitHelp = `
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 finished but some items failed, 130/143/129 stopped by a signal.
${attribution}`;

function makeProgram(): Command {
  const program = new Command("gme")
    .description("GME embeddings of texts, pictures and both, from a GGUF file")
    .version(`gme-embed ${version}\n${attribution}`, "-V, --version")
    .addHelpText("after", exitHelp)
    .addCommand(indexCommand())
    .addCommand(searchCommand())
    .addCommand(serveCommand())
    .addCommand(embedCommand())
    .addCommand(inspectCommand())
    .addCommand(exportCommand())
    .addCommand(convertCommand())
    .addCommand(pullCommand())
    .addCommand(rmCommand())
    .addCommand(verifyCommand())
    .addCommand(benchCommand())
    .addCommand(doctorCommand())
    .addCommand(demoCommand());
  for (const command of allCommands(program)) {
    command.exitOverride().showSuggestionAfterError(true);
    command.configureOutput({ outputError: (message, write) => write(`${oneLine(message)}\n`) });
  }
  return program;
}

/** An argument may come from anywhere: what is repeated of it neither begins a line nor moves the cursor. */
function oneLine(message: string): string {
  const escaped = (c: string) => (c === "\n" ? " " : `\\u{${c.codePointAt(0)?.toString(16)}}`);
  return message.trimEnd().replace(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, escaped);
}

function allCommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(allCommands)];
}

async function main(argv: readonly string[]): Promise<number> {
  try {
    await makeProgram().parseAsync([...argv], { from: "user" });
    return stopCode() ?? Number(process.exitCode ?? exitCodes.done);
  } catch (error) {
    if (stopCode() !== undefined) return stopCode() as number;
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    if (error instanceof UsageError) {
      note(`error: ${error.message}`);
      return exitCodes.usage;
    }
    reportError(error, argv.includes("--json"));
    return isUsage(error) ? exitCodes.usage : exitCodes.failed;
  }
}

/** An option that the library refuses was a flag of ours. */
function isUsage(error: unknown): boolean {
  return (error as { code?: unknown }).code === "GME_OPTION_INVALID";
}

/** Commands whose work is more than what they print: it goes on when nobody reads that any more. */
const unprintedWork = ["index", "serve"];

/** A reader that has gone (`| head`) ends the other commands quietly. */
function endOnBrokenPipe(command: string | undefined): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EPIPE" && command !== undefined && unprintedWork.includes(command)) return;
      process.exit(error.code === "EPIPE" ? exitCodes.done : exitCodes.failed);
    });
  }
}

listenForSignals();
endOnBrokenPipe(process.argv[2]);
void main(process.argv.slice(2)).then((code) => {
  process.exitCode = code;
  // Whatever is still open (a stdin that nobody closes) must not keep a finished command alive.
  process.stdout.write("", () => process.stderr.write("", () => process.exit(code)));
});
