// docs/cli.md holds every command's help. GME_UPDATE_DOCS=1 npx tsx test/cli/docs.test.ts writes it anew.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { gme } from "../helpers/cli";
import { root } from "../helpers/fixtures";

const commands = [
  "gme",
  "gme index",
  "gme search",
  "gme serve",
  "gme export",
  "gme embed",
  "gme inspect model",
  "gme inspect tokens",
  "gme inspect image",
  "gme inspect stages",
  "gme convert",
  "gme pull",
  "gme rm",
  "gme verify",
  "gme bench",
  "gme doctor",
  "gme demo",
];
const marker = "<!-- help -->";
const path = join(root, "docs", "cli.md");

async function helpSections(): Promise<string> {
  const helps = await Promise.all(commands.map((command) => gme([...command.split(" ").slice(1), "--help"])));
  return commands
    .map((command, i) => `## ${command}\n\n\`\`\`\n${helps[i].stdout.toString().trimEnd()}\n\`\`\`\n`)
    .join("\n");
}

t.test("docs/cli.md holds the help of every command as it is", async (t) => {
  const [head, written] = readFileSync(path, "utf8").split(`${marker}\n\n`);
  const help = await helpSections();
  if (process.env.GME_UPDATE_DOCS) writeFileSync(path, `${head}${marker}\n\n${help}`);
  else t.equal(written, help, "else: GME_UPDATE_DOCS=1 npx tsx test/cli/docs.test.ts");
  for (const line of ["| 2 |", "| 130, 143, 129 |", "GME_MODEL", "GME_THREADS", "NO_COLOR", "Built with GME"])
    t.match(head, line);
});
