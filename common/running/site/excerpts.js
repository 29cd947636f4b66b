"use strict";
// What the search shows of a page. Sphinx would fetch the page, which a browser forbids to one that
// was opened as a file: the answer is the page's name, and its text stands in texts.js.

window.fetch = async address => ({ text: async () => address
  .slice(document.documentElement.dataset.content_root.length, -".html".length) });

const SHOWN = 240;  // letters

/** Where the most of the words stand together: the first of such places, or 0. */
function densest(text, words) {
  const low = text.toLowerCase(), found = [];
  for (const word of words) {
    for (let i = low.indexOf(word); i >= 0; i = low.indexOf(word, i + 1)) found.push([i, word]);
  }
  found.sort((a, b) => a[0] - b[0]);
  let best = 0, most = 0, end = 0;
  const inside = new Map();  // the words from one place on, each with its number
  found.forEach(([i, word], k) => {
    for (; end < found.length && found[end][0] < i + SHOWN / 2; end += 1) {
      inside.set(found[end][1], (inside.get(found[end][1]) || 0) + 1);
    }
    if (inside.size > most) [best, most] = [i, inside.size];
    if (inside.get(word) === 1) inside.delete(word);
    else inside.set(word, inside.get(word) - 1);
  });
  return best;
}

/** A paragraph around the words in a page, or in its section with that anchor; words are marked. */
Search.makeSearchSummary = (page, stems, anchor) => {
  const [whole, places] = TEXTS[page] || ["", {}];
  const text = whole.slice(places[anchor.slice(1)] || 0), words = [...stems];
  if (!text) return "";
  const at = densest(text, words);
  const first = at < SHOWN / 3 ? 0 : text.indexOf(" ", at - SHOWN / 3) + 1;
  const last = first + SHOWN < text.length ? text.lastIndexOf(" ", first + SHOWN) : text.length;
  const start = Math.min(first, at), end = last > at ? last : Math.min(at + SHOWN, text.length);
  const mark = new RegExp(`(${words.map(_escapeRegExp).join("|")})[\\p{L}\\p{N}]*`, "giu");
  const summary = document.createElement("p");
  summary.className = "context";
  let done = start;
  for (const found of words.length ? text.slice(start, end).matchAll(mark) : []) {
    const span = document.createElement("span");
    span.className = "highlighted";
    span.textContent = found[0];
    summary.append(text.slice(done, start + found.index), span);
    done = start + found.index + found[0].length;
  }
  summary.prepend(start ? "… " : "");
  summary.append(text.slice(done, end), end < text.length ? " …" : "");
  return summary;
};
