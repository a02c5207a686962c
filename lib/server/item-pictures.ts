import {
  fetchImage,
  type FetchImageOptions,
  GmeError,
  type ImagePlan,
  type ImageOptions,
  inspectImage,
  type ModelInfo,
} from "../index";
import { decodeBase64 } from "./base64-picture";
import type { ReadyItem } from "./service/embed-service";
import { FetchSlots } from "./fetch-slots";
import { type MediaRoot, readMediaFile } from "./media-root";
import type { RequestLimits } from "./request-limits";
import type { WireImage, WireItem } from "./wire/dialect";

// Items of a request → the same with their pictures' bytes, headers looked at, and the instruction in force. Nothing is queued before this
// is done: a slow picture holds no place at the engine.

export interface PictureSettings {
  /** true: any public host; absent: nothing is fetched. */
  readonly remoteImages?: true | readonly string[];
  readonly mediaRoot?: MediaRoot;
  /** Instruction of a query without one of its own; absent: the model's default. */
  readonly queryInstruction?: string;
  readonly limits: RequestLimits;
  /** Fetches at a time: of one request, and of all. */
  readonly fetchesPerRequest?: number;
  readonly fetches?: number;
  /** Stand-ins for tests. */
  readonly fetch?: (address: string, options: FetchImageOptions) => Promise<Uint8Array>;
  readonly inspect?: (bytes: Uint8Array, options: ImageOptions) => Promise<ImagePlan>;
}

export interface ReadyItems {
  readonly items: ReadyItem[];
  /** Fields of documents whose instruction has no effect. */
  readonly ignoredInstructions: readonly string[];
}

/** Makes items ready; one of these belongs to a server, which shares its places for fetches. */
export class ItemPictures {
  readonly #settings: PictureSettings;
  readonly #info: ModelInfo;
  readonly #places: FetchSlots;
  /** Headers are read one after the other: each may take milliseconds of the one thread that serves all. */
  readonly #inspecting = new FetchSlots(2);

  constructor(settings: PictureSettings, info: ModelInfo) {
    this.#settings = settings;
    this.#info = info;
    this.#places = new FetchSlots(settings.fetches ?? 16);
  }

  /** Rejects with the first bad item's error, which names its field, or with the signal's reason. */
  async ready(items: readonly WireItem[], signal: AbortSignal): Promise<ReadyItems> {
    const work = new RequestPictures(this.#settings, this.#info, this.#places, this.#inspecting);
    const ready = await work.all(items, signal);
    const ignoredInstructions = items.filter(isIgnored).map(({ field }) => field);
    return { items: ready, ignoredInstructions };
  }
}

/** The value of the header `Warning`, absent when nothing was ignored. */
export function warningOf({ ignoredInstructions }: ReadyItems): string | undefined {
  if (ignoredInstructions.length === 0) return undefined;
  const more = ignoredInstructions.length > 1 ? ` and ${ignoredInstructions.length - 1} more` : "";
  const field = ignoredInstructions[0].replace(/[^\x20-\x7e]|["\\]/g, "");
  return `299 - "instruction of ${field}${more} ignored: documents have the model's default instruction"`;
}

/** The pictures of one request, and what they have added up to. */
class RequestPictures {
  readonly #settings: PictureSettings;
  readonly #info: ModelInfo;
  readonly #places: FetchSlots;
  readonly #inspecting: FetchSlots;
  readonly #ownPlaces: FetchSlots;
  #bytes = 0;
  #pixels = 0;

  constructor(settings: PictureSettings, info: ModelInfo, places: FetchSlots, inspecting: FetchSlots) {
    this.#settings = settings;
    this.#info = info;
    this.#places = places;
    this.#inspecting = inspecting;
    this.#ownPlaces = new FetchSlots(settings.fetchesPerRequest ?? 4);
  }

  /** Addresses are looked at before any of them is fetched, and the first error ends all fetches. */
  async all(items: readonly WireItem[], signal: AbortSignal): Promise<ReadyItem[]> {
    signal.throwIfAborted();
    for (const { image, field } of items) if (image?.kind === "address") this.#source(image.address, field);
    const ending = new AbortController();
    const stop = AbortSignal.any([signal, ending.signal]);
    const work = items.map((item) => this.#one(item, stop));
    try {
      return await Promise.all(work);
    } catch (error) {
      ending.abort(error);
      await Promise.allSettled(work);
      throw signal.aborted ? signal.reason : error;
    }
  }

  async #one(item: WireItem, stop: AbortSignal): Promise<ReadyItem> {
    const { field, text, image } = item;
    const prompt = promptOf(item, this.#info, this.#settings.queryInstruction);
    const rest = { field, ...(text !== undefined && { text }), ...(prompt !== undefined && { prompt }) };
    if (image === undefined) return { ...rest, pixels: 0 };
    const bytes = await this.#bytesOf(image, field, stop);
    this.#bytes += bytes.length;
    this.#checkSum("bytes", this.#bytes, this.#settings.limits.maxImageBytes, field);
    const pixels = await this.#inspecting.run(stop, () => this.#pixelsOf(bytes, field));
    this.#pixels += pixels;
    this.#checkSum("pixels", this.#pixels, this.#settings.limits.maxPixels, field);
    return { ...rest, image: bytes, pixels };
  }

  #checkSum(what: string, sum: number, most: number, field: string): void {
    if (sum <= most) return;
    throw new GmeError(
      "GME_IMAGE_TOO_LARGE",
      `the request's pictures have ${sum} ${what} or more, allowed are ${most}`,
      {
        field,
        value: sum,
        expected: `at most ${most} ${what} in a request`,
      },
    );
  }

  async #bytesOf(image: WireImage, field: string, stop: AbortSignal): Promise<Uint8Array> {
    const maxBytes = Math.min(this.#info.limits.maxImageBytes, this.#settings.limits.maxImageBytes);
    if (image.kind === "base64") return decodeBase64(image.base64, field, maxBytes);
    const { address } = image;
    if (this.#source(address, field) === "file")
      return readMediaFile(this.#settings.mediaRoot as MediaRoot, address, { field, maxBytes });
    const { remoteImages, fetch = fetchImage } = this.#settings;
    const options = { signal: stop, maxBytes, ...(remoteImages !== true && { hosts: remoteImages }) };
    return this.#ownPlaces.run(stop, () =>
      this.#places.run(stop, () => fetch(address, options).catch((error) => Promise.reject(atField(error, field)))),
    );
  }

  /** Whether an address may be read, by its scheme; one parser decides what that is. */
  #source(address: string, field: string): "remote" | "file" {
    const found = address.length <= maxAddressLength && URL.canParse(address) ? new URL(address).protocol : "";
    const scheme = found.length > 2 ? found : ""; // C:\a.png is a path
    const isUrl = scheme !== "";
    if ((scheme === "http:" || scheme === "https:") && this.#settings.remoteImages !== undefined) return "remote";
    if ((scheme === "file:" || !isUrl) && this.#settings.mediaRoot !== undefined) return "file";
    if (!isUrl)
      throw new GmeError("GME_INPUT_INVALID", `${field} is neither base64 nor a data: URL`, {
        field,
        expected: "a data: URL or base64",
      });
    throw new GmeError(
      "GME_URL_FETCH_DISABLED",
      `${field}: pictures are not read from ${scheme} addresses; send a data: URL`,
      {
        field,
        value: scheme,
        expected: "a data: URL or base64",
      },
    );
  }

  async #pixelsOf(bytes: Uint8Array, field: string): Promise<number> {
    const { maxImagePixels } = this.#info.limits;
    const inspect = this.#settings.inspect ?? inspectImage;
    try {
      const { size } = await inspect(bytes, { maxImagePixels });
      return size[0] * size[1];
    } catch (error) {
      throw atField(error, field);
    }
  }
}

const maxAddressLength = 16_384;

/** A document has the default instruction whatever it says; an instruction alone makes a query. */
function promptOf(item: WireItem, info: ModelInfo, queryInstruction: string | undefined): string | undefined {
  const { instruction, inputType } = item;
  if (inputType === "query") return instruction ?? queryInstruction;
  if (inputType === "document") return info.defaults.instruction;
  return instruction ?? info.defaults.instruction;
}

function isIgnored({ instruction, inputType }: WireItem): boolean {
  return inputType === "document" && instruction !== undefined;
}

/** The same error, at the field of the request instead of the library's own names. */
function atField(error: unknown, field: string): GmeError {
  const { code, message, value, expected, errno } = GmeError.from(error, "GME_INTERNAL");
  const text = message.replace(/^<buffer>: /, "");
  return new GmeError(code, `${field}: ${text}`, { field, value, expected, errno, cause: error });
}
