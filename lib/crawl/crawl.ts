import { FolderCaptions } from "./crawl-captions";
import { type EntryContext, type EntryOutcome, inspectEntry, regularFile } from "./crawl-entry";
import { type CrawlEvent, type CrawlOptions, pathError, stopIfAborted } from "./crawl-events";
import {
  childPath,
  closeFolder,
  type FolderToWalk,
  type KnownFolders,
  maxOpenFolders,
  type OpenFolder,
  openFolder,
  readEntries,
} from "./crawl-folder";
import { type CrawlRoots, readRoots } from "./crawl-roots";
import { CrawlRules } from "./crawl-rules";

export type {
  CaptionFile,
  CrawlEvent,
  CrawledFile,
  CrawlFailure,
  CrawlOptions,
  CrawlSkip,
} from "./crawl-events";

/**
 * All files below some files and folders that can be indexed, and what is skipped or fails, as they are found: however
 * many there are, few are held. A file is yielded once, under its own path before that of a symbolic link.
 * Throws GME_INPUT_INVALID and GME_OPTION_INVALID before the first event, and GME_ABORTED.
 */
export async function* crawl(roots: readonly string[], options: CrawlOptions = {}): AsyncGenerator<CrawlEvent, void> {
  const rules = CrawlRules.ofRoot(options.exclude ?? []);
  stopIfAborted(options);
  const found = await readRoots(roots, options);
  yield* found.events;
  const visited = options.followSymlinks ? new Set<string>() : undefined;
  const known = { roots: found.identities, visited };
  let links: FolderToWalk[] = [];
  for (const path of found.folders) {
    const root: FolderToWalk = { path, root: path, relative: "", rules, found: "root" };
    yield* new FolderWalk(options, found, known, links).walk(root);
  }
  // Last and in order, so that a folder that is reached in several ways is always walked by the same path: its own, if it
  // has one among the roots.
  while (links.length > 0) {
    const further: FolderToWalk[] = [];
    for (const link of links.sort(byLength)) yield* new FolderWalk(options, found, known, further).walk(link);
    links = further;
  }
}

function byLength({ path: one }: FolderToWalk, { path: other }: FolderToWalk): number {
  return one.length - other.length || (one < other ? -1 : 1);
}

/** Walks only to count: `onCount` is told the number with each file. */
export async function countFiles(
  roots: readonly string[],
  options: CrawlOptions = {},
  onCount: (files: number) => void = () => undefined,
): Promise<number> {
  let files = 0;
  for await (const { type } of crawl(roots, options)) {
    if (type === "file") onCount(++files);
  }
  return files;
}

class FolderWalk {
  private readonly open: { folder: OpenFolder; captions: FolderCaptions }[] = [];

  constructor(
    private readonly options: CrawlOptions,
    private readonly roots: CrawlRoots,
    private readonly known: KnownFolders,
    private readonly links: FolderToWalk[],
  ) {}

  /** Depth first, so that only the sub-folders of a few folders are waiting at any time. */
  async *walk(start: FolderToWalk): AsyncGenerator<CrawlEvent, void> {
    try {
      yield* this.enter(start);
      for (let top = this.open.at(-1); top !== undefined; top = this.open.at(-1)) {
        stopIfAborted(this.options);
        const { folder } = top;
        const mayEnter = folder.dir === undefined || this.open.length < maxOpenFolders;
        const next = mayEnter ? folder.pending.pop() : undefined;
        if (next !== undefined) yield* this.enter(next);
        else if (folder.dir !== undefined) yield* this.readOn(folder, top.captions);
        else this.open.pop();
      }
    } finally {
      await Promise.all(this.open.map(({ folder }) => closeFolder(folder)));
    }
  }

  private async *enter(folder: FolderToWalk): AsyncGenerator<CrawlEvent, void> {
    const opened = await openFolder(folder, this.known);
    if (opened === undefined) return;
    if ("type" in opened) yield opened;
    else this.open.push({ folder: opened, captions: this.captionsOf(opened) });
  }

  private async *readOn(folder: OpenFolder, captions: FolderCaptions): AsyncGenerator<CrawlEvent, void> {
    const { options, roots } = this;
    const context: EntryContext = { options, folder, captions, rootPaths: roots.paths };
    let outcomes: EntryOutcome[];
    try {
      const entries = await readEntries(folder);
      outcomes = await Promise.all(entries.map((entry) => inspectEntry(entry, context)));
    } catch (error) {
      await closeFolder(folder);
      const { path, root, found } = folder;
      outcomes = [{ type: "failed", path, root, explicit: found === "root", error: pathError(error, path) }];
    }
    for (const outcome of outcomes) {
      if (outcome === undefined) continue;
      if ("type" in outcome) yield outcome;
      else if (outcome.found === "link") this.links.push(outcome);
      else folder.pending.push(outcome);
    }
  }

  private captionsOf(folder: OpenFolder): FolderCaptions {
    const follow = this.options.followSymlinks === true;
    return new FolderCaptions(folder.path, async (name) => {
      if (folder.rules.reasonFor(folder.relative + name) !== undefined) return undefined;
      return regularFile(childPath(folder.path, name), follow);
    });
  }
}
