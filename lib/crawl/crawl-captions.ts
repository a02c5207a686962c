import type { Stats } from "node:fs";
import { extname } from "node:path";
import { fileKind } from "../documents/file-kind";
import type { CaptionFile } from "./crawl-events";
import { childPath, openPatiently } from "./crawl-folder";
import { pathOf } from "./path-bytes";

const maxCaptionBytes = 1024 * 1024;

/** A regular file of a folder that is not left out by a rule; undefined for anything else. */
export type TakeFile = (name: string) => Promise<Stats | undefined>;

export function mayBeCaption(name: string): boolean {
  return extname(name).toLowerCase() === ".txt";
}

/** The caption of a picture: `cat.jpg.txt`, else `cat.txt`, of at most 1 MiB. */
export async function captionOf(
  folder: string,
  picture: string,
  textExtensions: Iterable<string>,
  take: TakeFile,
): Promise<CaptionFile | undefined> {
  const extensions = [...textExtensions];
  for (const stem of [picture, picture.slice(0, -extname(picture).length)]) {
    for (const extension of extensions) {
      const stats = await take(stem + extension);
      if (stats === undefined || stats.size > maxCaptionBytes) continue;
      return { path: childPath(folder, stem + extension), size: stats.size, mtimeMs: stats.mtimeMs };
    }
  }
  return undefined;
}

/** Which files of one folder are captions of which. */
export class FolderCaptions {
  private survey: Promise<ExtensionSurvey> | undefined;

  constructor(
    private readonly folder: string,
    private readonly take: TakeFile,
  ) {}

  async of(picture: string): Promise<CaptionFile | undefined> {
    return captionOf(this.folder, picture, (await this.extensions()).texts, this.take);
  }

  /** Whether a picture that is taken has this very file as its caption. */
  async includes(text: string): Promise<boolean> {
    const stem = text.slice(0, -extname(text).length);
    const pictures = Array.from((await this.extensions()).pictures, (extension) => stem + extension);
    if (fileKind(stem) === "image") pictures.unshift(stem);
    for (const picture of pictures) {
      if ((await this.take(picture)) === undefined) continue;
      if ((await this.of(picture))?.path === childPath(this.folder, text)) return true;
    }
    return false;
  }

  private extensions(): Promise<ExtensionSurvey> {
    this.survey ??= surveyExtensions(this.folder);
    return this.survey;
  }
}

/** The extensions of a folder's pictures and texts, as they are spelt there: few, however many files there are. */
interface ExtensionSurvey {
  readonly pictures: ReadonlySet<string>;
  readonly texts: ReadonlySet<string>;
}

/** Reads all names of a folder once, so that no file has to be asked for spellings that do not occur. */
async function surveyExtensions(path: string): Promise<ExtensionSurvey> {
  const [pictures, texts] = [new Set<string>(), new Set<string>()];
  const dir = await openPatiently(path);
  try {
    for (let entry = await dir.read(); entry !== null; entry = await dir.read()) {
      const name = pathOf(entry.name as unknown as Buffer);
      if (mayBeCaption(name)) texts.add(extname(name));
      else if (fileKind(name) === "image") pictures.add(extname(name));
    }
  } finally {
    await dir.close().catch(() => undefined);
  }
  return { pictures, texts };
}
