/** What the pages have in common: colours by the reader's system, light or dark; headings, notes and footer. */
export const pageStyle = `
:root {
  color-scheme: light dark;
  --ground: #f6f5f2; --card: #ffffff; --ink: #1d2126; --quiet: #5d6670; --line: #e0ded8; --accent: #2f6f73; --mark: #fdf3d7; --tile: #ffffff;
}
@media (prefers-color-scheme: dark) {
  :root { --ground: #15181b; --card: #1e2327; --ink: #e8eaec; --quiet: #9aa4ad; --line: #30373d; --accent: #7cc4c6; --mark: #3a3320; --tile: #f4f4f2; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main, footer { max-width: 70rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.5rem; }
h1 { font-size: clamp(1.6rem, 5vw, 2.3rem); line-height: 1.15; margin: 0 0 .6rem; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 .25rem; }
p { margin: .25rem 0 1rem; color: var(--quiet); max-width: 44rem; }
code { font: .92em ui-monospace, monospace; white-space: nowrap; padding: .1em .35em; border-radius: .3em; background: var(--card); }
ol, ul { list-style: none; margin: 0; padding: 0; }
footer { margin-top: 3rem; padding-top: 1.25rem; padding-bottom: 2.5rem; font-size: .85rem; }
footer p { margin: 0 0 .4rem; }
footer strong { color: var(--ink); font-size: 1rem; }
`;

export function escapeHtml(text: string): string {
  const names: { [character: string]: string } = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#39;",
  };
  return text.replace(/[&<>"']/g, (character) => names[character]);
}

/** The bytes as a URL that needs nothing else. */
export function dataUrl(type: string, bytes: Uint8Array): string {
  return `data:${type};base64,${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64")}`;
}
