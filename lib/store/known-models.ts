/** A model with a short name. `revision` is resolved to a commit when it is pulled; no digest stands here that nobody saw. */
export interface KnownModel {
  readonly name: string;
  readonly repository: string;
  readonly revision: string;
  readonly licence: string;
  /** For `gme pull --list`. */
  readonly about: string;
}

export const knownModels: readonly KnownModel[] = [
  {
    name: "gme-2b",
    repository: "Alibaba-NLP/gme-Qwen2-VL-2B-Instruct",
    revision: "main",
    licence: "Apache-2.0",
    about: "2.2 billion parameters, vectors of 1,536",
  },
  {
    name: "gme-7b",
    repository: "Alibaba-NLP/gme-Qwen2-VL-7B-Instruct",
    revision: "main",
    licence: "Apache-2.0",
    about: "8.3 billion parameters, vectors of 3,584",
  },
];

/** What a conversion reads of a checkpoint, beside the weights; what a repository lacks of these is not asked for. */
export const checkpointFiles = [
  "config.json",
  "generation_config.json",
  "preprocessor_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "vocab.json",
  "merges.txt",
  "model.safetensors.index.json",
  "LICENSE",
  "NOTICE",
] as const;

export function knownModel(name: string): KnownModel | undefined {
  return knownModels.find((model) => model.name === name);
}

export function knownRepository(repository: string): KnownModel | undefined {
  return knownModels.find((model) => model.repository.toLowerCase() === repository.toLowerCase());
}
