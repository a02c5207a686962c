// The works that are compared, and in which configurations of the peer.
import type { Inputs } from "./inputs";
import type { Item } from "./lane";

export type ServerKind = "1 slot, cache off" | "1 slot, cache on" | "16 slots, cache off" | "16 slots, cache on";

export interface Work {
  readonly name: string;
  readonly title: string;
  /** Types of the weights that are measured unless one is asked for. */
  readonly types: readonly string[];
  readonly servers: readonly ServerKind[];
  /** The calls of one round; its time is that of all calls divided by their number. */
  calls(inputs: Inputs): Promise<Item[][]>;
  /** A round that is not measured goes before the others. */
  readonly isWarmedUp: boolean;
  readonly hasPictures?: boolean;
}

const oneSlot: readonly ServerKind[] = ["1 slot, cache off", "1 slot, cache on"];
const everyKind: readonly ServerKind[] = [...oneSlot, "16 slots, cache off", "16 slots, cache on"];
const templateTokens = 20;
const batchTexts = 64;
const singleTexts = 12;

const asTexts = (texts: readonly string[]): Item[] => texts.map((text) => ({ text }));

function pictureWork(tokens: number, width: number, height: number, types: readonly string[]): Work {
  return {
    name: `picture-${tokens}`,
    title: `picture ${width}×${height}, ${tokens} image tokens`,
    types,
    servers: ["1 slot, cache off"],
    calls: async (inputs) => [[{ image: await inputs.picture(width, height) }]],
    isWarmedUp: false,
    hasPictures: true,
  };
}

export const works: readonly Work[] = [
  {
    name: "short",
    title: "short texts one by one, each",
    types: ["f16"],
    servers: oneSlot,
    calls: async (inputs) => (await inputs.captions(singleTexts)).map((text) => [{ text }]),
    isWarmedUp: true,
  },
  {
    name: "batch",
    title: `${batchTexts} short texts in one call`,
    types: ["f16"],
    servers: everyKind,
    calls: async (inputs) => [asTexts(await inputs.captions(batchTexts))],
    isWarmedUp: false,
  },
  {
    name: "batch-unrelated",
    title: `${batchTexts} short texts that share no words in one call`,
    types: ["f16"],
    servers: everyKind,
    calls: async (inputs) => [asTexts(await inputs.unrelated(batchTexts))],
    isWarmedUp: false,
  },
  {
    name: "long",
    title: "text of 254 tokens",
    types: ["f16", "q8_0"],
    servers: oneSlot,
    calls: async (inputs) => [[{ text: await inputs.long(254 - templateTokens) }]],
    isWarmedUp: true,
  },
  pictureWork(256, 448, 448, ["f16"]),
  pictureWork(391, 644, 476, ["f16", "q8_0"]),
];

/** What runs in a fresh process before its peak memory is read. */
export async function memoryCalls(inputs: Inputs): Promise<Item[][]> {
  return [
    [{ text: (await inputs.captions(1))[0] }],
    asTexts(await inputs.captions(batchTexts)),
    [{ text: await inputs.long(254 - templateTokens) }],
    [{ image: await inputs.picture(644, 476) }],
  ];
}
