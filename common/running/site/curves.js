// Drawings of one claim: its values on a line, its runs as curves that tell their numbers.

const COLOURS = [0, 1, 2, 3, 4, 5].map(k => `var(--c${k})`);
const said = (v, c) => {
  if (v === null || v === undefined) return "–";
  const plain = w => (Math.abs(w) < 1000 ? `${+w.toPrecision(4)}`
    : w.toLocaleString("en", { maximumFractionDigits: 0 }));
  const text = c.unit ? `${plain(100 * v)} ${c.unit}` : plain(v);
  return text.replace("-", "−");
};
const width = () => Math.max(280, at("claim").clientWidth);
const number = v => v !== null && v !== undefined;

/** The band, the published value, the values of the runs, their middle and its interval above an
    axis, and a key to them. */
function scale(c) {
  const values = c.values.map(([, v]) => v).filter(number);
  const interval = c.interval && c.interval.every(number) ? c.interval : [];
  const middle = number(c.middle) && c.values.length > 1;
  const seen = [...values, c.low, c.high, c.at, ...interval].filter(number);
  const [least, most] = [Math.min(...seen), Math.max(...seen)];
  const margin = (most - least) * 0.08 || Math.abs(most) * 0.1 || 1;
  const [from, to] = [least - margin, most + margin];
  const wide = width(), low = 58;
  const x = v => 10 + (wide - 20) * (v - from) / (to - from);
  let left = number(c.low) ? x(c.low) : 0, right = number(c.high) ? x(c.high) : wide;
  // Wider than the published value's line, which may lie upon it.
  if (right - left < 6) [left, right] = [(left + right) / 2 - 3, (left + right) / 2 + 3];
  const text = `band ${c.band}, published ${c.published}, measured ${c.measured}`;
  const svg = make("svg", { class: "values", viewBox: `0 0 ${wide} 80`, role: "img", "aria-label": text },
    make("rect", { class: "band", x: left, y: 18, width: right - left, height: low - 18 }),
    make("line", { class: "axis", x1: 0, x2: wide, y1: low, y2: low }));
  for (const [v, name] of numbered(from, to, wide, c)) {
    svg.append(make("line", { class: "axis", x1: x(v), x2: x(v), y1: low, y2: low + 5 }),
               label(x(v), low + 18, name, wide, 4 * name.length, "tick"));
  }
  if (number(c.at)) {
    svg.append(make("line", { class: "published", x1: x(c.at), x2: x(c.at), y1: 15, y2: low }),
               label(x(c.at), 11, `published ${c.published}`, wide));
  }
  for (const v of values) {
    svg.append(make("circle", { class: "run", cx: x(v), cy: 30, r: 4, "fill-opacity": 0.7 }));
  }
  if (interval.length) {
    svg.append(make("line", { class: "interval", x1: x(interval[0]), x2: x(interval[1]), y1: 46, y2: 46 }));
  }
  if (middle) svg.append(make("circle", { class: "middle", cx: x(c.middle), cy: 46, r: 5 }));
  const sign = (kind, name) => make("span", { class: kind }, name);
  return make("div", {}, svg, make("p", { class: "legend" },
    sign("run", values.length > 1 ? "a run" : "the run"),
    middle ? sign("middle", `${c.by === "median" ? "median" : "mean"} ${said(c.middle, c)}`) : "",
    interval.length ? sign("interval", "95 % interval") : "",
    sign("band", `band, ${c.band}`),
    number(c.at) ? sign("value", `published, ${c.published}`) : ""));
}

/** Round numbers between two values with their names, no more than fit beside one another; fewer
    of those with a power of ten, if the claim's own numbers have one. */
function numbered(from, to, wide, c) {
  const powers = /\de[−+]/.test(`${c.published} ${c.measured}`);
  const name = v => (powers && v && Math.abs(v) < 1e-4 ? withPower(v) : tick(v, c));
  for (let most = powers ? 4 : 6; ; most -= 1) {
    const found = ticks(from, to, false, most).map(v => [v, name(v)]);
    const letters = Math.max(...found.map(([, name]) => name.length));  // of 7 pixels each
    if (most === 1 || found.length * (7 * letters + 16) < wide) return found;
  }
}

/** A text below or above x; one whose half is wider than the room beside x begins or ends there. */
function label(x, y, text, wide, half = 80, kind = "") {
  const anchor = x < half ? "start" : x > wide - half ? "end" : "middle";
  return make("text", { class: kind, x: Math.min(Math.max(x, 2), wide - 2), y, "text-anchor": anchor }, text);
}

/** The curves of a claim's runs: a choice of metric, a drawing, what it says under the cursor. */
function curves(c) {
  const found = read(`curves-${c.paper}`), published = read(`published-${c.paper}`);
  const metrics = (c.metrics || []).filter(m => c.experiments.some(e => (found[e] || {})[m]));
  if (!metrics.length) return [];
  const box = make("div", {});
  const draw = metric => box.replaceChildren(...chart(c, metric, c.experiments
    .filter(e => (found[e] || {})[metric])
    .map(e => [e, found[e][metric], (published[e] || {})[metric] || []])));
  const choice = make("select", { "aria-label": "metric" },
                      ...metrics.map(m => make("option", { value: m }, m)));
  choice.addEventListener("change", () => draw(choice.value));
  draw(metrics[0]);
  if (c.beside) {
    return [make("h3", {}, "Training of its runs"), make("p", { class: "small" },
      `${metrics[0]} by step; the claim's own number ${c.beside}`), box];
  }
  return [make("h3", {}, "Its runs"), metrics.length > 1 ? choice
          : make("p", { class: "small" }, `${metrics[0]} by step`), box];
}

/** Round numbers from the first to the last that lie between two; whole ones if asked.
    At most one more than there may be steps between them. */
function ticks(from, to, whole = false, most = 5) {
  const power = 10 ** Math.floor(Math.log10((to - from) / 2 || 1));
  const by = [0.5, 1, 2, 2.5, 5, 10].map(k => k * power).find(
    s => (to - from) / s <= most && (!whole || Number.isInteger(s))) || 1;
  const first = Math.ceil(from / by - 1e-9), last = Math.floor(to / by + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, k) => +((first + k) * by).toPrecision(12));
}

/** An axis from one value to another, made longer until its ticks lie about what curves end with. */
function surrounding(from, to, ends) {
  for (let k = 0; k < 4; k += 1) {
    const found = ticks(from, to), by = found[1] - found[0], last = found[found.length - 1];
    if (!by) break;
    if (found[0] > Math.min(...ends)) from = found[0] - by;
    if (last < Math.max(...ends)) to = last + by;
  }
  return [from, to];
}

/** A tick's number, all of it: ticks may be closer than the digits that values are shown with. */
const tick = (v, form) => (form.unit ? `${+(100 * v).toPrecision(10)}\u00a0${form.unit}`
  : v.toLocaleString("en", { maximumSignificantDigits: 10 })).replace("-", "−");

/** A small number with its power of ten, as claims show them: 1.4e−06. */
const withPower = v => (+v.toPrecision(10)).toExponential().replace(/e-(\d)$/, "e-0$1").replaceAll("-", "−");

/** A published curve's value at a step between two of its points; null outside them. */
function between({ steps, values }, step) {
  const i = steps.findIndex(s => s >= step);
  if (i < 0 || (i === 0 && steps[0] > step)) return null;
  if (steps[i] === step) return values[i];
  return values[i - 1] + (values[i] - values[i - 1]) * (step - steps[i - 1])
    / (steps[i] - steps[i - 1]);
}

function chart(c, metric, arms) {
  const own = metric === c.own;  // then the published value and the band are on its scale
  const lines = arms.flatMap(([name, runs], k) => runs.map(([seed, steps, values, settled]) => (
    { name, seed, steps, values, settled, colour: COLOURS[k % COLOURS.length] })));
  const theirs = arms.flatMap(([name, , published], k) => published.map(([says, steps, values]) => ({
    name, says, steps, values,
    colour: `color-mix(in srgb, ${COLOURS[k % COLOURS.length]} 55%, var(--ink))` })));
  const xs = lines.flatMap(l => l.steps), all = [...lines, ...theirs];
  const ends = all.flatMap(l => l.steps), ys = all.flatMap(l => l.values).filter(number);
  if (own && number(c.at)) ys.push(c.at);
  const wide = width(), high = Math.min(320, Math.max(220, wide * 0.45)), left = 64, low = high - 24;
  const [x0, x1] = [Math.min(...ends), Math.max(...ends)];
  const lasts = all.map(l => l.values.filter(number).pop()).filter(number);
  const [y0, y1] = surrounding(Math.min(...ys), Math.max(...ys), lasts);
  const x = v => left + (wide - left - 8) * (v - x0) / (x1 - x0 || 1);
  const y = v => low - (low - 10) * (v - y0) / (y1 - y0 || 1);
  const form = { unit: papers[c.paper].percent.includes(metric) ? "%" : "" };
  const svg = make("svg", { viewBox: `0 0 ${wide} ${high}`, tabindex: 0, role: "img", "aria-label":
    `${metric} of ${lines.length} runs by step; arrow keys move along it` });
  if (own && (number(c.low) || number(c.high))) {
    const top = Math.max(y(number(c.high) ? c.high : y1), 10);
    const bottom = Math.min(y(number(c.low) ? c.low : y0), low);
    const start = number(c.step) ? x(Math.min(c.step, x1)) - 6 : wide - 20;
    if (bottom > top - 1) {
      svg.append(make("rect", { class: "band", x: start, y: top, width: 12,
                                height: Math.max(2, bottom - top) }));
    }
  }
  for (const v of ticks(y0, y1)) {
    svg.append(make("line", { class: "axis", x1: left, x2: wide - 8, y1: y(v), y2: y(v) }),
      make("text", { class: "y", x: left - 6, y: y(v) + 4, "text-anchor": "end" }, tick(v, form)));
  }
  const letters = x1.toLocaleString("en").length;  // of 7 pixels each; the last number is shifted by half
  const most = Math.max(2, Math.min(5, Math.floor((wide - left) / (11 * letters + 4))));
  for (const s of ticks(x0, x1, true, most)) {
    svg.append(make("text", { class: "x", x: x(s), y: high - 6,
      "text-anchor": x(s) > wide - 4 * letters ? "end" : "middle" }, s.toLocaleString("en")));
  }
  for (const l of all) {
    const points = l.steps.map((s, i) => [s, l.values[i]]).filter(([, v]) => number(v));
    svg.append(make("path", { class: l.says ? "curve theirs" : "curve", style: `stroke: ${l.colour}`,
      d: points.map(([s, v], i) => `${i ? "L" : "M"}${x(s).toFixed(1)} ${y(v).toFixed(1)}`).join("") }));
    if (l.settled && points.length) {
      const [s, v] = points[points.length - 1];
      svg.append(make("circle", { class: "end", cx: x(s), cy: y(v), r: 3, style: `fill: ${l.colour}` }));
    }
  }
  if (own && number(c.at)) {
    svg.append(make("line", { class: "published", x1: left, x2: wide - 8, y1: y(c.at), y2: y(c.at) }));
  }
  const cursor = make("line", { class: "cursor", y1: 10, y2: low, x1: -9, x2: -9 });
  svg.append(cursor);
  const many = arms.length > 1;
  const readout = make("p", { class: "readout", role: "status" },
                       "Point at the curve, or use the arrow keys on it, to read its values.");
  const every = [...new Set(xs)].sort((a, b) => a - b);
  let k = every.length - 1;
  const tell = () => {
    const step = every[k];
    cursor.setAttribute("x1", x(step));
    cursor.setAttribute("x2", x(step));
    readout.textContent = `step ${step.toLocaleString("en")}: ` + arms.map(([name, runs]) => {
      const here = runs.map(r => [r[0], r[2][r[1].indexOf(step)]]).filter(([, v]) => number(v));
      const mean = here.reduce((a, [, v]) => a + v, 0) / here.length;
      return here.length ? `${name} ${said(mean, form)}` + (here.length > 1 ? ` (mean of `
        + here.map(([s, v]) => `seed ${s}: ${said(v, form)}`).join(", ") + ")" : "") : "";
    }).concat(theirs.map(l => (number(between(l, step))
      ? `${many ? `${l.name}, ` : ""}${l.says} ${said(between(l, step), form)}` : "")))
      .filter(Boolean).join("; ");
  };
  svg.addEventListener("pointermove", event => {
    const box = svg.getBoundingClientRect();
    const step = x0 + (x1 - x0) * ((event.clientX - box.left) * wide / box.width - left)
      / (wide - left - 8);
    k = every.reduce((best, s, i) => Math.abs(s - step) < Math.abs(every[best] - step) ? i : best, 0);
    tell();
  });
  svg.addEventListener("keydown", event => {
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -every.length, End: every.length }[event.key];
    if (!by) return;
    k = Math.min(Math.max(k + by, 0), every.length - 1);
    event.preventDefault();
    tell();
  });
  const sign = (name, kind, colour) => make("span", { class: kind, style: `--c: ${colour}` }, name);
  const named = theirs.filter((l, i) => theirs.findIndex(
    o => o.name === l.name && o.says === l.says) === i);  // a range is two lines with one name
  const legend = make("p", { class: "legend" },
    ...arms.map(([name], i) => sign(name, "ours", COLOURS[i % COLOURS.length])),
    ...named.map(l => sign(many ? `${l.name}, ${l.says}` : l.says, "theirs", l.colour)),
    own && number(c.at) ? sign(`the claim's published value, ${c.published}`, "value", "var(--ink)") : "");
  const end = lines.some(l => l.settled) ? make("p", { class: "small" },
    "A curve that ends in a dot stays as it is there: its run had stopped or settled.") : "";
  return [legend, svg, end, readout].filter(Boolean);
}

start();
