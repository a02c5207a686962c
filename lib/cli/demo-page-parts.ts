import { pageStyle } from "./page-parts";

/** Style of the gallery, one column on a phone. */
export const demoStyle = `${pageStyle}
.notice { background: var(--mark); color: var(--ink); padding: .75rem 1rem; border-radius: .5rem; }
.pic { display: block; width: 100%; aspect-ratio: 1; background-size: cover; background-color: var(--tile); border-radius: .4rem; }
.small { display: inline-block; width: 2.6rem; flex: none; }
.queries { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); gap: 1rem; }
article { background: var(--card); border: 1px solid var(--line); border-radius: .7rem; padding: .9rem 1rem 1rem; }
h3 { display: flex; align-items: center; gap: .55rem; min-height: 2.6rem; margin: 0 0 .7rem; font-size: 1.05rem; font-weight: 600; }
h3 small { color: var(--quiet); font-weight: 400; }
.plus { color: var(--quiet); font-weight: 400; }
.answers { display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); gap: .5rem; }
.answers li, .gallery button { text-align: center; font-size: .78rem; line-height: 1.25; }
.answers span:not(.pic), .gallery span:not(.pic) { display: block; margin-top: .35rem; overflow-wrap: break-word; hyphens: auto; }
.answers b, .gallery b { display: block; color: var(--accent); font-weight: 600; font-variant-numeric: tabular-nums; }
.answers li:first-child .pic { outline: 2px solid var(--accent); outline-offset: 2px; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(5.6rem, 1fr)); gap: .6rem; }
.gallery button { width: 100%; height: 100%; font-family: inherit; color: inherit; background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; padding: .4rem .4rem .5rem; cursor: pointer; }
.gallery button:hover { border-color: var(--accent); }
.gallery button:focus-visible, .gallery button[aria-pressed="true"] { outline: 2px solid var(--accent); outline-offset: 1px; }
.scroll { overflow-x: auto; }
table { border-collapse: separate; border-spacing: 3px; font-size: .88rem; font-variant-numeric: tabular-nums; }
th { font-weight: 500; padding: .35rem .5rem; text-align: center; white-space: nowrap; }
th[scope="row"] { text-align: left; padding-left: 0; }
tbody td { text-align: center; padding: .45rem .6rem; min-width: 4rem; border-radius: .35rem;
  background: color-mix(in srgb, var(--accent) calc(var(--s, 0%) * .55), var(--card)); }
td.highest { box-shadow: inset 0 0 0 2px var(--accent); font-weight: 700; }
@media (max-width: 30rem) { .answers { gap: .45rem; } .answers li { font-size: .6rem; } .answers span:not(.pic) { margin-inline: -.35rem; overflow-wrap: normal; } .figures th { white-space: normal; } article { padding: .75rem .7rem .8rem; } }
`;

/** A click on a picture sorts the gallery by its cosines; without scripts the page only lacks that. */
export const demoScript = `
const scores = JSON.parse(document.getElementById("scores").textContent);
const gallery = document.getElementById("gallery");
const tiles = [...gallery.children];
gallery.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const row = button.getAttribute("aria-pressed") === "true" ? undefined : scores[button.dataset.place];
  tiles.forEach((tile, i) => {
    const isChosen = row !== undefined && tile.firstChild === button;
    tile.firstChild.setAttribute("aria-pressed", String(isChosen));
    tile.querySelector("b").textContent = row === undefined || isChosen ? "" : row[i].toFixed(2);
  });
  const order = tiles.map((_, i) => i);
  if (row) order.sort((a, b) => row[b] - row[a]);
  gallery.replaceChildren(...order.map((i) => tiles[i]));
  button.focus();
});
`;
