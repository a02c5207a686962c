/** The element of the page with this id; the page's own mistake where it is missing. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found as T;
}

/** Texts of files are only ever set as text, never as markup. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  { className = "", text = "" }: { className?: string; text?: string } = {},
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (className !== "") made.className = className;
  if (text !== "") made.textContent = text;
  return made;
}
