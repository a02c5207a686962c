import type { Answer, Hit, PageApi, Problem, Summary } from "../src/protocol";
import { dropZone } from "./drop-zone.js";
import { progressLine, summaryLine } from "./progress-line.js";
import { Results } from "./results.js";
import { SearchAsYouType } from "./search-as-you-type.js";

declare global {
  interface Window {
    readonly gme: PageApi;
  }
}

const { gme } = window;
const get = <T extends HTMLElement = HTMLElement>(id: string) => document.getElementById(id) as T;
const query = get<HTMLInputElement>("query");
const bar = get<HTMLProgressElement>("bar");
const maxProblems = 500;
let problems = 0;

const results = new Results(get("results"), (key) => void gme.show(key).then(showProblem));
const search = new SearchAsYouType((text) => gme.search(text), showHits);

function showHits(answer: Answer<Hit[]>, text: string): void {
  if ("problem" in answer && answer.problem.code === "GME_ABORTED") return; // a newer one is under way
  showProblem(answer);
  const hits = "value" in answer ? answer.value : [];
  results.show(hits);
  get("hint").hidden = hits.length > 0 || text.trim() !== "";
}

function showProblem(answer: Answer<unknown>): void {
  const message = get("message");
  message.hidden = !("problem" in answer);
  message.textContent = "problem" in answer ? problemLine(answer.problem) : "";
}

const problemLine = ({ code, message, path }: Problem) =>
  `${path === undefined ? "" : `${path}: `}${message} (${code})`;

function listProblem(problem: Problem): void {
  get("problems").hidden = false;
  get("problem-count").textContent = `${++problems} could not be indexed`;
  if (problems > maxProblems) return;
  const item = document.createElement("li");
  item.textContent = problemLine(problem);
  get("problem-list").append(item);
}

/** Shows a run from its start to its end. */
async function follow(run: Promise<Answer<Summary | undefined>>): Promise<void> {
  const answer = await run;
  get("stop").hidden = true;
  if ("problem" in answer) {
    const { code } = answer.problem;
    if (code === "GME_ABORTED") get("line").textContent = "Stopped; what was indexed is kept.";
    else showProblem(answer);
  } else if (answer.value !== undefined) {
    get("line").textContent = summaryLine(answer.value);
    bar.value = bar.max;
  }
  await showStatus();
  await search.run(query.value);
}

async function showStatus(): Promise<void> {
  const answer = await gme.status();
  if ("problem" in answer) return showProblem(answer);
  const { entries, model, attribution } = answer.value;
  get("status").textContent = `${entries} entries · ${attribution}`;
  get("attribution").textContent = attribution;
  get("about-model").textContent = `Model: ${model}`;
}

function showRun(): void {
  get("run").hidden = false;
  get("stop").hidden = false;
}

gme.onEvent((event) => {
  if ("failed" in event) return listProblem(event.failed);
  const { done, total } = event.progress;
  showRun();
  get("line").textContent = progressLine(event.progress);
  bar.max = Math.max(total, 1);
  bar.value = done;
});

dropZone(document.querySelector("main") as HTMLElement, (files) => void follow(gme.indexDropped(files)));
get("choose").addEventListener("click", () => void follow(gme.indexChosen()));
get("stop").addEventListener("click", () => void gme.stop());
get("about").addEventListener("click", () => get<HTMLDialogElement>("about-box").showModal());
query.addEventListener("input", () => search.type(query.value));
query.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown") results.focus();
  else if (event.key === "Enter") void search.run(query.value);
  else return;
  event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  if (get<HTMLDialogElement>("about-box").open) return;
  if (event.key === "/" && document.activeElement !== query) event.preventDefault();
  else if (event.key !== "Escape") return;
  query.focus();
  query.select();
});

query.focus();
void showStatus();
