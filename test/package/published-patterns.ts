/** Each published file is one of these, and each pattern has as many files as it says. */
export interface Pattern {
  pattern: RegExp;
  least: number;
  most: number;
}

export const mainPatterns: readonly Pattern[] = [
  { pattern: /^(CMakeLists\.txt|package\.json|README\.md|vendor\/ggml\.json)$/, least: 4, most: 4 },
  { pattern: /^(LICENSE|NOTICE|THIRD_PARTY_NOTICES\.md|SECURITY\.md)$/, least: 4, most: 4 },
  { pattern: /^dist\/([a-z-]+\/){0,2}[a-z0-9-]+\.(js|d\.ts)$/, least: 200, most: 600 },
  { pattern: /^dist\/server\/page\/(index\.html|style\.css)$/, least: 2, most: 2 },
  { pattern: /^dist\/((index-store|server)\/)?index\.(mjs|d\.mts)$/, least: 6, most: 6 },
  { pattern: /^dist\/adapters\/(ai-sdk|langchain|llamaindex)\.(mjs|d\.mts)$/, least: 6, most: 6 },
  { pattern: /^native\/(addon|engine|ggml-guard|tools)\/[a-z0-9-]+\.(cpp|h)$/, least: 100, most: 250 },
  { pattern: /^native\/(cuda|metal)\.cmake$/, least: 2, most: 2 },
  { pattern: /^docs\/[a-z-]+\.md$/, least: 14, most: 30 },
  { pattern: /^models\/emoji-tiny-f16\.gguf$/, least: 1, most: 1 },
  { pattern: /^models\/emoji-tiny\/samples\/([a-z-]+\.png|captions\.json)$/, least: 51, most: 52 },
  { pattern: /^models\/emoji-tiny\/([a-z_]+\.(md|json)|LICENSES\.md|recipe\/[a-z_]+\.(py|json))$/, least: 6, most: 8 },
  { pattern: /^scripts\/(cmake-build\.js|vendor-ggml\.mjs)$/, least: 2, most: 2 },
  { pattern: /^vendor\/ggml\/.*$/, least: 1000, most: 1600 },
];

/** Sentences about files that are not on the list, and about patterns with too few or too many. */
export function patternProblems(paths: readonly string[], patterns: readonly Pattern[]): string[] {
  const counts = patterns.map(() => 0);
  const problems: string[] = [];
  for (const path of paths) {
    const found = patterns.findIndex(({ pattern }) => pattern.test(path));
    if (found < 0) problems.push(`${path} is not on the list`);
    else counts[found]++;
  }
  for (const [i, { pattern, least, most }] of patterns.entries())
    if (counts[i] < least || counts[i] > most)
      problems.push(`${pattern}: ${counts[i]} files, ${least} to ${most} expected`);
  return problems;
}
