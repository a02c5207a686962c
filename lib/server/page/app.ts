import { EntryView } from "./entry-view";
import { counted } from "./entry-words";
import { askKey } from "./key-dialog";
import { byId } from "./page-elements";
import { takePictures } from "./picture-drop";
import { scaledPicture } from "./picture-scale";
import { ResultGrid } from "./result-grid";
import { SearchBox } from "./search-box";
import { type Collection, type Question, SearchClient } from "./search-client";
import { ThumbnailStore } from "./thumbnail-store";

/** Results that are asked for: at first, then each time more are wanted; the last is the server's limit. */
const limits = [40, 100, 200];

const client = new SearchClient(askKey);
const thumbnails = new ThumbnailStore(client);
const box = new SearchBox(() => void search(0));
const grid = new ResultGrid(
  thumbnails,
  (index) => view.open(index),
  () => box.focus(),
);
const view = new EntryView(client, thumbnails, {
  results: () => grid.results,
  closed: (index) => grid.focus(index),
  similar: (picture, name) => void searchBy(picture, name),
});
let abort = new AbortController();
let step = 0;

/** Only the newest question's answer is shown: what is under way for older ones is aborted. */
async function search(at: number): Promise<void> {
  abort.abort();
  abort = new AbortController();
  const { signal } = abort;
  step = at;
  if (box.isEmpty) return showStart();
  const { text, picture, kind } = box;
  const question: Question = {
    ...(text !== "" && { query: text }),
    ...(picture !== undefined && { image: picture.encoded }),
    ...(kind !== undefined && { kind }),
    limit: limits[step],
  };
  setBusy(true);
  try {
    const { results, seconds } = await client.search(question, signal);
    if (signal.aborted) return;
    showProblem(undefined);
    grid.show(results);
    byId("hint").hidden = true;
    byId("nothing").hidden = results.length > 0;
    byId("nothing-text").textContent = kind === undefined ? "Nothing is indexed here yet." : "Nothing of this kind is indexed here."; // biome-ignore format: one line says it
    byId("more").hidden = results.length < limits[step] || step === limits.length - 1;
    byId("status").textContent = `${counted(results.length, "result")} in ${seconds.toFixed(2)} s`;
    setBusy(false);
  } catch (error) {
    if (signal.aborted) return;
    setBusy(false);
    byId("status").textContent = "";
    showProblem(error);
  }
}

function showStart(): void {
  setBusy(false);
  showProblem(undefined);
  grid.show([]);
  byId("hint").hidden = false;
  byId("nothing").hidden = true;
  byId("more").hidden = true;
  byId("status").textContent = "";
}

function setBusy(busy: boolean): void {
  byId("busy").hidden = !busy;
  grid.isStale = busy;
  if (busy) byId("status").textContent = "Searching…";
}

function showProblem(error: unknown): void {
  byId("problem").hidden = error === undefined;
  const words = error === undefined ? "" : error instanceof Error ? error.message : String(error);
  byId("problem-text").textContent = words;
}

/** Dropped, pasted, chosen, or shown by the page itself. */
async function searchBy(picture: Blob, name: string): Promise<void> {
  try {
    box.setPicture(await scaledPicture(picture, name));
    box.focus();
  } catch (error) {
    showProblem(error);
  }
}

async function showCollection(): Promise<void> {
  try {
    const collection = await client.collection();
    byId("collection").textContent = counted(collection.rows, "entry", "entries");
    byId("attribution").textContent = collection.attribution;
    byId("numbers").textContent = numbersOf(collection);
  } catch (error) {
    showProblem(error);
  }
}

function numbersOf({ kinds, model }: Collection): string {
  const { image, text, page } = kinds;
  return `· ${counted(image, "picture")}, ${counted(text, "text")}, ${counted(page, "page")} · model ${model}`;
}

takePictures((file) => void searchBy(file, file.name || "Pasted picture"));
byId("more").addEventListener("click", async () => {
  const seen = grid.results.length;
  await search(Math.min(step + 1, limits.length - 1));
  grid.focus(seen);
});
byId("again").addEventListener("click", () => {
  showProblem(undefined);
  void showCollection();
  void search(step);
});
byId("query").addEventListener("keydown", (event) => {
  if (event.key !== "ArrowDown" || grid.results.length === 0) return;
  event.preventDefault();
  grid.focus();
});
document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") !== null || event.ctrlKey || event.metaKey || event.altKey) return;
  const isTyping = event.target instanceof HTMLInputElement && event.target.type !== "radio";
  if (event.key === "/" && !isTyping) event.preventDefault();
  else if (event.key !== "Escape") return;
  box.focus();
});

box.focus();
void showCollection();
