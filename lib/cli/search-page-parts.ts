import { pageStyle } from "./page-parts";

/** Style of the results: as many columns as fit, two on a phone. */
export const searchStyle = `${pageStyle}
main { min-height: 70vh; }
h1 { overflow-wrap: anywhere; }
h1 .name { font-weight: 600; }
.asked { display: flex; align-items: center; gap: 1.1rem; }
.asked img { max-width: min(9rem, 32vw); max-height: 9rem; border-radius: .5rem; background: var(--tile); border: 1px solid var(--line); flex: none; }
header p { overflow-wrap: anywhere; }
header code { white-space: normal; }
.results { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); gap: 1rem; margin-top: 1.5rem; }
.results li { display: flex; min-width: 0; }
article { display: flex; flex-direction: column; width: 100%; background: var(--card); border: 1px solid var(--line); border-radius: .7rem; overflow: hidden; }
article:focus-within, article:hover { border-color: var(--accent); }
article > img { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: contain; background: var(--ground); border-bottom: 1px solid var(--line); padding: .4rem; }
blockquote { margin: 0; aspect-ratio: 4 / 3; overflow: hidden; padding: .8rem .9rem; border-bottom: 1px solid var(--line); font: .85rem/1.45 ui-serif, Georgia, serif; overflow-wrap: anywhere; white-space: pre-line;
  mask-image: linear-gradient(#000 80%, transparent); }
.none { color: var(--quiet); }
.caption { margin: 0 .9rem .8rem; font-size: .82rem; line-height: 1.35; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; overflow-wrap: anywhere; }
.facts { display: grid; grid-template-columns: 1fr auto; gap: 0 .6rem; align-items: baseline; padding: .6rem .9rem .7rem; }
.facts h2 { grid-column: 1 / -1; margin: 0; font-size: .92rem; font-weight: 600; line-height: 1.3; min-width: 0; overflow-wrap: anywhere; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; }
.facts b { color: var(--accent); font-weight: 600; font-size: .92rem; font-variant-numeric: tabular-nums; }
.facts p { margin: 0; font-size: .8rem; }
a { color: inherit; text-decoration: underline; text-decoration-color: var(--line); text-underline-offset: .2em; }
a:hover { text-decoration-color: var(--accent); }
a:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: .2rem; }
@media (max-width: 30rem) { .results { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .6rem; } .facts { padding: .5rem .6rem .6rem; } .facts h2, .facts b { font-size: .86rem; } blockquote { aspect-ratio: 1; padding: .6rem .65rem; font-size: .78rem; } .caption { margin: 0 .6rem .6rem; } article > img { aspect-ratio: 1; } }
@media print { article { break-inside: avoid; } }
`;
