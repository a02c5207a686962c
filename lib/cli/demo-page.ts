import type { DemoReport, DemoResult, QueryResult, Sample } from "./demo-run";
import { demoScript, demoStyle } from "./demo-page-parts";
import { dataUrl, escapeHtml } from "./page-parts";

/** The gallery as one HTML file that needs nothing else: pictures inlined once each, as backgrounds of their class. */
export function demoPage({ report, samples, pictureScores }: DemoResult): string {
  const placeOf = new Map(samples.map(({ picture }, i) => [picture, i]));
  const pictures = samples.map(({ bytes }, i) => `.p${i}{background-image:url(${dataUrl("image/png", bytes)})}`);
  const scores = pictureScores.map((row) => Array.from(row, (score) => Number(score.toFixed(3))));
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>GME demonstration: pictures and texts in one space</title>
<style>${demoStyle}
${pictures.join("\n")}</style>
</head>
<body>
<main>
<header>
<h1>Pictures and texts in one space</h1>
<p>${samples.length} pictures, their captions, and both together, embedded on this machine as vectors of ${report.dimensions} numbers.
The nearer two vectors, the higher their cosine.</p>
<p class="notice">${notice(report.notice)}</p>
</header>
${queriesSection(report.queries, samples, placeOf)}
${gallerySection(samples)}
${tableSection(report.table)}
${recallSection(report)}
</main>
<footer>
<p><strong>${escapeHtml(report.attribution)}</strong></p>
<p>Model ${escapeHtml(report.model.name)}: ${(report.model.parameters / 1e6).toFixed(1)} M parameters, ${escapeHtml(report.model.type)}, \
${report.embedded} embeddings in ${report.seconds.toFixed(1)} s.
Pictures: OpenMoji, the open-source emoji and icon project, CC BY-SA 4.0.</p>
</footer>
<script type="application/json" id="scores">${escapeJson(scores)}</script>
<script>${demoScript}</script>
</body>
</html>
`;
}

/** The command in the notice is set as code. */
function notice(text: string): string {
  return escapeHtml(text).replace(/gme pull [\w-]+/, "<code>$&</code>");
}

function queriesSection(
  queries: readonly QueryResult[],
  samples: readonly Sample[],
  placeOf: ReadonlyMap<string, number>,
): string {
  const captionAt = (place: number) => samples[place].caption;
  const cards = queries.map(({ text, picture, answers }) => {
    const place = picture === undefined ? undefined : placeOf.get(picture);
    const asked = [
      place === undefined ? "" : pictureTag(place, captionAt(place), "pic small"),
      text === undefined ? "<small>the picture alone</small>" : `<q>${escapeHtml(text)}</q>`,
    ];
    const found = answers.map(({ picture, caption, score }) => {
      return `<li>${pictureTag(placeOf.get(picture) ?? 0, caption)}<span>${escapeHtml(caption)}</span><b>${score.toFixed(2)}</b></li>`;
    });
    const joined = asked.filter((part) => part !== "").join(text === undefined ? "" : '<span class="plus">+</span>');
    return `<article><h3>${joined}</h3><ol class="answers">${found.join("")}</ol></article>`;
  });
  return `<section><h2>Queries and their nearest pictures</h2>
<p>By text, by a picture, or by both fused in one vector. A query's own picture is left out of its answers.</p>
<div class="queries">${cards.join("\n")}</div></section>`;
}

function gallerySection(samples: readonly Sample[]): string {
  const tiles = samples.map(({ caption }, i) => {
    return `<li><button type="button" data-place="${i}">${pictureTag(i, caption)}<span>${escapeHtml(caption)}</span><b></b></button></li>`;
  });
  return `<section><h2>The pictures</h2>
<p>In a drawing style that the model never saw in training. <span id="hint">Choose one to sort the others by how near they are.</span></p>
<ul class="gallery" id="gallery">${tiles.join("\n")}</ul></section>`;
}

function tableSection({ subjects, scores }: DemoReport["table"]): string {
  const head = subjects.map((subject) => `<th scope="col">${escapeHtml(subject)}</th>`).join("");
  const rows = scores.map((row, i) => {
    const highest = Math.max(...row);
    const cells = row.map((score) => {
      const shade = (Math.max(0, Math.min(1, score / 0.6)) * 100).toFixed(0);
      return `<td style="--s:${shade}%"${score === highest ? ' class="highest"' : ""}>${score.toFixed(2)}</td>`;
    });
    return `<tr><th scope="row">${escapeHtml(subjects[i])}</th>${cells.join("")}</tr>`;
  });
  return `<section><h2>Captions and pictures</h2>
<p>Cosine of each caption (row) with each picture (column); the highest of a row is framed.</p>
<div class="scroll"><table><thead><tr><td></td>${head}</tr></thead><tbody>${rows.join("\n")}</tbody></table></div></section>`;
}

function recallSection({ recall, chance, samples }: DemoReport): string {
  const all = [
    ...recall.map(({ from, to, ...rest }) => ({ name: `${from} → ${to}`, ...rest })),
    { name: "by chance", ...chance },
  ];
  const rows = all.map(({ name, at1, at5 }) => {
    return `<tr><th scope="row">${escapeHtml(name)}</th><td>${percent(at1)}</td><td>${percent(at5)}</td></tr>`;
  });
  return `<section><h2>How often it is right</h2>
<p>How often a query's own subject comes first among ${samples}, and among the first five.</p>
<div class="scroll"><table class="figures"><thead><tr><td></td><th scope="col">first (R@1)</th><th scope="col">among five (R@5)</th></tr></thead>
<tbody>${rows.join("\n")}</tbody></table></div></section>`;
}

function pictureTag(place: number, caption: string, classes = "pic"): string {
  return `<span class="${classes} p${place}" role="img" aria-label="${escapeHtml(caption)}"></span>`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}

/** JSON that cannot end the script element around it. */
function escapeJson(value: unknown): string {
  return JSON.stringify(value).replace(/</g, "\\u003c");
}
