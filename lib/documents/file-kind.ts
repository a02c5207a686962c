/** What a file holds, as its name says. */
export type FileKind = "image" | "text" | "html" | "pdf" | "jsonl" | "csv";

const extensions: { readonly [kind in FileKind]: readonly string[] } = {
  image: ["jpg", "jpeg", "png", "webp", "tif", "tiff", "avif", "gif"],
  text: ["txt", "md", "markdown"],
  html: ["html", "htm", "xhtml"],
  pdf: ["pdf"],
  jsonl: ["jsonl", "ndjson"],
  csv: ["csv", "tsv"],
};

const kindOfExtension = new Map(
  Object.entries(extensions).flatMap(([kind, names]) => names.map((name) => [name, kind as FileKind] as const)),
);

/** The kind of a file by the extension of its name or path, in any case; undefined for what is not indexed. */
export function fileKind(name: string): FileKind | undefined {
  const extension = /[^/\\]\.([a-z]+)$/i.exec(name)?.[1];
  return extension === undefined ? undefined : kindOfExtension.get(extension.toLowerCase());
}
