"use strict";
// The claims explorer. Texts enter the page as text nodes only, never as HTML.

const read = id => {
  const block = document.getElementById(id);
  return block ? JSON.parse(block.textContent) : {};
};
const data = read("data");
const papers = Object.fromEntries(data.papers.map(p => [p.name, p]));
const address = c => `#${c.paper}/${encodeURIComponent(c.id)}`;
const kinds = Object.keys(data.kinds);  // in the order of the list
const claims = data.claims.map(c => ({
  ...c, sought: [c.id, c.paper, papers[c.paper].title, papers[c.paper].authors, c.where, c.says,
                 c.because || "", c.verdict].join(" ").toLowerCase() }))
  .sort((a, b) => kinds.indexOf(a.kind) - kinds.indexOf(b.kind));
const FIRST = 100;  // rows drawn at once; the rest on demand
const filters = ["text", "paper", "kind", "verdict", "skill"];
const at = id => document.getElementById(id);

/** An element with attributes and children; children that are no nodes become text. */
function make(name, attributes = {}, ...children) {
  const svg = ["svg", "line", "rect", "path", "circle", "text", "g"].includes(name);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name)
                      : document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) element.setAttribute(k, v);
  element.append(...children.filter(c => c !== null && c !== undefined && c !== ""));
  return element;
}

const badge = v => make("span", { class: `verdict v-${v.replaceAll(" ", "-")}`,
                                  title: data.verdicts[v] || "" }, v);

/** A text that leads to a page of the site, where the site has it. */
const linked = (page, text) => (page ? make("a", { href: page }, text) : text);

// ---- the list ------------------------------------------------------------------------------------

function choices(id, all, options) {
  at(id).replaceChildren(make("option", { value: "" }, all),
                         ...options.map(([value, text]) => make("option", { value }, text)));
}

// A place of a paper as people type it: "Fig. 1", "table 9", "eqs. (2) and (3)", "Figs. 2 to 6".
const PART = String.raw`\(?\d+(?!\d)(?:\.\d+)*(?:\(?[a-z]\)?(?!\p{L}))?\)?`;
const SEVERAL = String.raw`${PART}(?:(?:\s*[,–-]\s*|\s+(?:and|to)\s+|,\s+and\s+)${PART})*`;
const PLACE = String.raw`(?<![\p{L}\d])(?:(fig(?:ure)?|table|sec(?:t|tion)?|eq|equation|p(?=\.)|page)\.?\s*(${PART})`
  + String.raw`|(figs|figures|tables|secs|sections|eqs|equations|pp|pages)\.?\s*(${SEVERAL}))`;
const IN_A_TEXT = new RegExp(PLACE, "gu");
const TYPED = new RegExp(`${PLACE}(?=[.,;:]*(?:\\s|$))`, "gu");  // "fig4-standard" is a name

/** The places that a match of PLACE stands for: f1a is Fig. 1(a), s4.2 section 4.2. */
function places([, one, part, several, parts]) {
  const kind = (one || several)[0], range = (parts || "").match(/^(\d+)\s*(?:to|–|-)\s*(\d+)$/);
  if (range) {
    const [from, to] = [+range[1], Math.min(+range[2], +range[1] + 99)];
    return Array.from({ length: Math.max(0, to - from + 1) }, (_, k) => `${kind}${from + k}`);
  }
  return (part || parts).match(/\d+(?:\.\d+)*\(?[a-z]?(?!\p{L})/gu)
    .map(p => kind + p.replace("(", ""));
}

/** What is asked for, each as a test of a claim: places, whole numbers, parts of words. */
function asked(text) {
  text = text.replace(/§(§?)\s*/g, (_, several) => (several ? "sections " : "section "));
  const wanted = [...text.matchAll(TYPED)].flatMap(places);
  const words = text.replace(TYPED, " ").split(/\s+/).map(w => w.replace(/^,+|,+$/g, ""));
  const number = w => /^\d+(?:[.,]\d+)*\.?$/.test(w);
  const whole = w => new RegExp(String.raw`(?<![\p{L}\d]|\d[.,])${w.replace(/\.$/, "").replaceAll(".", "\\.")}`
    + String.raw`(?![\p{L}\d]|[.,]\d)`, "u");
  const same = (there, p) => there === p || (there.slice(0, -1) === p && /[a-z]$/.test(there));
  return [
    ...wanted.map(p => c => {
      c.places ??= [...c.sought.matchAll(IN_A_TEXT)].flatMap(places);
      return c.places.some(there => same(there, p));
    }),
    ...words.filter(number).map(whole).map(form => c => form.test(c.sought)),
    ...words.filter(w => w && !number(w)).map(w => c => c.sought.includes(w))];
}

function chosen() {
  const tests = asked(at("text").value.toLowerCase());
  const skill = data.skills[at("skill").value];
  return claims.filter(c =>
    ["paper", "kind", "verdict"].every(k => !at(k).value || c[k] === at(k).value)
    && (!at("skill").value || (skill || []).includes(c.paper))
    && tests.every(test => test(c)));
}

function row(c) {
  return make("li", {}, make("a", { href: address(c) },
    make("span", {}, badge(c.verdict)),
    make("span", { class: "says" }, c.says,
         make("span", { class: "small" }, ` ${papers[c.paper].title}, ${c.where}`)),
    make("span", { class: "small" }, c.published !== "–"
      ? `${(c.obtained || "").startsWith("derived") ? "derived" : "published"} ${c.published}` : "",
         c.published !== "–" && c.measured !== "–" ? "; " : "",
         c.measured !== "–" ? `${ours(c)}\u00a0${unbroken(c.measured)}` : "")));
}

/** A measured value that is not broken between two lines inside its parts. */
const unbroken = text => text.replace(/\S+ ± \S+|\[[^\]]*\]|n = \d+/g, m => m.replaceAll(" ", "\u00a0"));

/** How our value came about. */
const ours = c => (c.kind === "formula" ? "computed" : "measured");

const figures = n => n.toLocaleString("en-GB");

/** A part of the list: the claims of a kind, of which only the first may be drawn. */
function part(kind, found, drawn) {
  return make("section", {}, make("h2", {}, data.headings[kind], make("span", { class: "small" },
                ` ${figures(found.length)}`)), make("ul", {}, ...drawn.map(row)));
}

/** Claims counted as the reports do: statements by verdict, formulas and rows of tables apart. */
function counted(found) {
  const said = [], rows = new Map(), verdicts = {};
  for (const c of found) {
    if (!["row", "formula"].includes(c.kind)) verdicts[c.verdict] = (verdicts[c.verdict] || 0) + 1;
    if (c.row) rows.set(rowOf(c), true);
  }
  const words = Object.keys(data.verdicts).filter(v => verdicts[v])
    .map(v => `${figures(verdicts[v])} ${v}`).join(", ");
  if (words) said.push(`Statements of the papers: ${words}.`);
  const formulas = found.filter(c => c.kind === "formula");
  const hold = formulas.filter(c => c.verdict === "reproduced").length;
  if (formulas.length) said.push(`Formulas: ${figures(hold)} of ${figures(formulas.length)} hold.`);
  for (const c of claims) if (c.verdict !== "reproduced" && rows.has(rowOf(c))) rows.set(rowOf(c), false);
  const agree = [...rows.values()].filter(Boolean).length;
  if (rows.size) said.push(`Rows of published tables: ${figures(agree)} of ${figures(rows.size)} agree in all columns.`);
  return said.join(" ");
}

const rowOf = c => JSON.stringify([c.paper, c.row]);

/** Draw the list: the first rows of what is chosen, or every one. */
function list(every = false) {
  const found = chosen();
  const shown = every ? found : found.slice(0, FIRST);
  at("list").replaceChildren(...kinds.flatMap(kind => {
    const drawn = shown.filter(c => c.kind === kind);
    return drawn.length ? [part(kind, found.filter(c => c.kind === kind), drawn)] : [];
  }));
  at("count").textContent = (found.length < claims.length ? `${figures(found.length)} of ` : "")
    + `${figures(claims.length)} claims. ${counted(found)}`;
  at("more").hidden = shown.length === found.length;
  at("more").textContent = `Show the other ${figures(found.length - shown.length)}`;
}

// ---- the reader's place in the list --------------------------------------------------------------

let place = null;  // as it was left; Back finds it in the browser's history, other ways back here

/** Keep which rows are drawn, and where on the screen the first of those in sight stands. */
function keep() {
  if (addressed() || at("list").hidden) return;
  const first = [...document.querySelectorAll("#list li")]
    .find(row => row.getBoundingClientRect().bottom > 0);
  if (!first) return;
  place = { query: query(), every: at("more").hidden, row: first.firstChild.hash,
            top: first.getBoundingClientRect().top };
  history.replaceState(place, "");
}

/** Scroll until a row stands where it stood. The height of rows that are out of sight is an estimate
    until they have been drawn, so one step does not do. */
function restore({ row, top }, steps = 4) {
  const link = [...document.querySelectorAll("#list a")].find(a => a.hash === row);
  if (!link || !steps) return;
  scrollBy(0, link.parentElement.getBoundingClientRect().top - top);
  requestAnimationFrame(() => restore({ row, top }, steps - 1));
}

// ---- one claim -----------------------------------------------------------------------------------

function pairs(entries) {
  return make("dl", {}, ...entries.filter(([, v]) => v).flatMap(
    ([k, v]) => [make("dt", {}, k), make("dd", {}, v)]));
}

function neighbours(c) {
  const found = chosen();
  const k = found.findIndex(o => o.paper === c.paper && o.id === c.id);
  const link = (o, text) => (o ? make("a", { href: address(o) }, text) : "");
  return make("nav", { "aria-label": "claims" }, make("a", { href: "#?" + query() }, "← list"),
              link(k > 0 && found[k - 1], "previous"), link(k >= 0 && found[k + 1], "next"));
}

/** A claim's place behind its paper's authors; one that names some of them is theirs alone. */
function placed(c) {
  const cited = `${papers[c.paper].authors} ${papers[c.paper].year}`;
  for (const work of cited.split("; ")) {
    const authors = work.replace(/ \d{4}$/, "");
    if (c.where.startsWith(work)) return c.where;
    if (c.where.startsWith(`${authors},`)) return work + c.where.slice(authors.length);
  }
  return `${cited}; ${c.where}`;
}

function show(c) {
  const paper = papers[c.paper];
  const article = at("claim");
  const links = make("span", {}, linked(paper.page, paper.title), `, ${placed(c)}`);
  article.replaceChildren(
    neighbours(c),
    make("p", { class: "small" }, `${c.paper}/${c.id}`),
    make("h2", {}, c.says),
    make("p", {}, badge(c.verdict), c.afterwards ? ", claim written afterwards" : ""),
    pairs([["paper", links], ["kind", data.kinds[c.kind]],
           ["published", make("span", {}, make("span", { class: "big" }, c.published),
                              c.obtained ? ` (${c.obtained})` : "")],
           [ours(c), make("span", {}, make("span", { class: "big" }, c.measured),
                          c.spread ? ` (${c.spread})` : "")],
           ["band", c.band + (c.why ? `: ${c.why}` : "")],
           ["judged by", c.experiments ? `the ${c.by}` : ""], ["stale", c.stale],
           ["written afterwards", c.afterwards],
           [["reproduced", "consistent"].includes(c.verdict) ? "note" : "why", c.because]]));
  if (c.values && c.experiments) article.append(make("h3", {}, "Values"), scale(c));
  if (c.experiments) article.append(...curves(c), ...runs(c));
  if (c.command) article.append(make("h3", {}, "Check it"), make("pre", {}, c.command));
  if (c.code) article.append(make("h3", {}, "The code that measures it"), ...c.code.map(code));
}

function code(name) {
  const source = data.sources[name];
  return make("div", {}, make("p", { class: "small" }, linked(source.page, name),
                              ` (${source.path}, line ${source.line})`),
    make("pre", { tabindex: 0 }, source.text));
}

function runs(c) {
  const values = Object.fromEntries((c.values || []).map(([seed, , text]) => [seed, text]));
  const rows = c.experiments.flatMap(e => (papers[c.paper].runs[e] || []).map(
    ([seed, minutes, commit, torch, hardware], k) => make("tr", {},
      make("td", {}, e), make("td", { class: "number" }, seed),
      make("td", { class: "number" }, values[seed] ?? ""),
      make("td", { class: "number" }, minutes.toFixed(1)),
      make("td", {}, commit), make("td", {}, torch), make("td", {}, hardware))));
  if (!rows.length) return [];
  const head = ["experiment", "seed", "seed's value", "minutes", "commit", "torch", "hardware"];
  return [make("h3", {}, "Runs"), make("div", { class: "wide", tabindex: 0, role: "region",
    "aria-label": "runs" }, make("table", {},
      make("thead", {}, make("tr", {}, ...head.map(h => make("th", { scope: "col" }, h)))),
      make("tbody", {}, ...rows)))];
}

// ---- addresses -----------------------------------------------------------------------------------

const query = () => new URLSearchParams(
  filters.filter(f => at(f).value).map(f => [f, at(f).value])).toString();

/** An address as a person reads it; some programs write a slash as %2F. */
function plain(hash) {
  try { return decodeURIComponent(hash); } catch { return hash; }
}

const addressed = () => claims.find(c => [location.hash, plain(location.hash)].includes(address(c)));

function route() {
  const hash = location.hash.slice(1), claim = addressed();
  let returned = null;
  if (!claim) {
    const given = new URLSearchParams(hash.startsWith("?") ? hash.slice(1) : "");
    for (const f of filters) at(f).value = given.get(f) || "";
    const unknown = filters.filter(f => given.get(f) && at(f).value !== given.get(f));
    const kept = history.state ?? (hash.startsWith("?") ? place : null);
    returned = kept?.query === query() ? kept : null;
    list(returned?.every);
    if (unknown.length) {
      at("count").prepend(...unknown.map(f => `There is no ${f} ${given.get(f)}. `));
    }
    if (hash && !hash.startsWith("?")) at("count").prepend(`There is no claim ${plain(hash).slice(0, 80)}. `);
  }
  for (const id of ["filters", "count", "list"]) at(id).hidden = Boolean(claim);
  at("claim").hidden = !claim;
  document.title = claim ? `${claim.paper}/${claim.id}` : "Claims";
  if (claim) {
    at("more").hidden = true;
    show(claim);
    at("claim").focus({ preventScroll: true });
  }
  if (returned) restore(returned);
  else scrollTo(0, 0);
}

function theme(name) {
  document.documentElement.dataset.theme = name;
}

function start() {
  let kept = null;
  try { kept = localStorage.getItem("theme"); } catch { /* a browser may forbid it */ }
  const system = matchMedia("(prefers-color-scheme: dark)");
  theme(["light", "dark"].includes(kept) ? kept : system.matches ? "dark" : "light");
  at("theme").addEventListener("click", () => {
    theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    try { localStorage.setItem("theme", document.documentElement.dataset.theme); } catch { /**/ }
  });
  at("home").hidden = !data.papers.some(p => p.page);
  choices("paper", "all papers", data.papers.map(p => [p.name, p.title]));
  choices("kind", "all kinds", Object.entries(data.headings));
  choices("verdict", "all verdicts", Object.keys(data.verdicts).map(v => [v, v]));
  choices("skill", "all skills", Object.keys(data.skills).map(s => [s, s]));
  const changed = () => {  // a field that is left says so once more, or when a claim is shown
    const now = "#?" + query();
    if (now === location.hash || addressed()) return;
    list();
    history.replaceState(null, "", now);
  };
  for (const event of ["input", "change"]) at("filters").addEventListener(event, changed);
  at("filters").addEventListener("reset", () => setTimeout(changed));
  at("filters").addEventListener("submit", event => event.preventDefault());
  at("more").addEventListener("click", () => {
    list(true);
    keep();
  });
  at("list").addEventListener("click", keep);
  let scrolled = 0;
  addEventListener("scroll", () => {
    clearTimeout(scrolled);
    scrolled = setTimeout(keep, 100);
  });
  history.scrollRestoration = "manual";
  addEventListener("hashchange", route);
  addEventListener("keydown", event => {
    if (event.key === "Escape" && !at("claim").hidden) location.hash = "?" + query();
  });
  let drawn = innerWidth;  // a phone that hides its address bar changes the height alone
  addEventListener("resize", () => {
    const claim = drawn !== innerWidth && addressed();
    drawn = innerWidth;
    if (claim) show(claim);
  });
  route();
}
