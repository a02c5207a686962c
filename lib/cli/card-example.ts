/** A set of scores: cosines of texts (rows) and pictures (columns), and of the two fused items. */
export interface CardScores {
  plain: number[][];
  instructed: number[][];
  fused: number[][];
}

export const tableTitles: Readonly<Record<keyof CardScores, string>> = {
  plain: "text · picture",
  instructed: "text with instruction · picture",
  fused: "fused 1 · fused 2",
};

/**
 * The example of GME-2B's model card: its inputs and the scores printed there. Both sets come from half precision on a GPU and
 * differ from each other by up to 0.0044, so they are anchors, not digits.
 * Source of texts, instruction and scores: the card, as docs/verify.md quotes it; see there what about the pictures is inferred.
 */
export const cardExample = {
  texts: [
    "The Tesla Cybertruck is a battery electric pickup truck built by Tesla, Inc. since 2023.",
    "Alibaba office.",
  ],
  instruction: "Find an image that matches the given text.",
  pictures: [
    "https://upload.wikimedia.org/wikipedia/commons/e/e9/Tesla_Cybertruck_damaged_window.jpg",
    "https://upload.wikimedia.org/wikipedia/commons/e/e0/TaobaoCity_Alibaba_Xixi_Park.jpg",
  ],
  pictureHosts: ["upload.wikimedia.org"],
  tolerance: 5e-3,
  /** Length of the vectors of the model that the scores are of, and of every GME model. */
  dimensions: 1536,
  gmeDimensions: [1536, 3584],
  published: {
    transformers: {
      plain: [
        [0.3596, 0.0656],
        [0.0418, 0.3748],
      ],
      instructed: [
        [0.4299, 0.1151],
        [0.0498, 0.4094],
      ],
      fused: [[0.0551]],
    },
    "sentence-transformers": {
      plain: [
        [0.3562, 0.0654],
        [0.0417, 0.3789],
      ],
      instructed: [
        [0.4255, 0.1158],
        [0.0498, 0.4138],
      ],
      fused: [[0.0557]],
    },
  } satisfies Record<string, CardScores>,
} as const;
