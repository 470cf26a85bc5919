"""The script and style of the gallery, which create the tiles of events as they are scrolled to."""

from __future__ import annotations

STYLE = """
.bar { position: sticky; top: 0; z-index: 1; background: var(--page); padding: 10px 0; margin: 0 0 8px;
  display: flex; flex-wrap: wrap; gap: 8px 12px; align-items: end; border-bottom: 1px solid var(--line); }
.bar label { display: flex; flex-direction: column; font-size: 13px; color: var(--soft); flex: 1 1 170px;
  min-width: 0; }
.bar select, .bar input { font: inherit; font-size: 15px; color: var(--ink); background: var(--card);
  border: 1px solid var(--line); border-radius: 8px; padding: 0 8px; height: 36px; width: 100%;
  min-width: 0; text-overflow: ellipsis; }
.bar input::placeholder { color: var(--soft); opacity: 1; }
.bar output { flex: 1 0 100%; color: var(--soft); font-size: 13px; }
#tiles img, #tiles .none { width: 100%; aspect-ratio: 16 / 10; object-fit: cover; display: block;
  background: var(--line); }
#tiles .none { display: grid; place-items: center; color: var(--ink); font-size: 13px; padding: 0; }
#tiles .where { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; direction: rtl;
  text-align: left; }
#tiles .date { white-space: nowrap; }
#tiles details { padding: 0; margin-top: 8px; font-size: 13px; color: var(--soft); }
#tiles summary { cursor: pointer; color: var(--curve); }
#tiles code { display: block; margin-top: 6px; padding: 8px; border-radius: 8px; background: var(--page);
  border: 1px solid var(--line); color: var(--ink); font-size: 12px; user-select: all;
  white-space: pre-wrap; }
#tiles button { font: inherit; margin-top: 6px; padding: 3px 10px; border-radius: 8px; color: var(--ink);
  background: var(--card); border: 1px solid var(--line); cursor: pointer; }
#end { height: 1px; }
.errors summary { cursor: pointer; font-weight: 600; }
.errors table { margin-top: 8px; }
.errors td:first-child { white-space: normal; width: 30%; }
@media (max-width: 640px) {
  .bar { position: static; } .bar label { flex: 1 1 calc(50% - 6px); }
  .errors td, .errors tr { display: block; border: 0; padding: 1px 0; }
  .errors td:first-child { width: auto; font-weight: 600; }
  .errors tr { padding: 8px 0; } .errors tr + tr + tr { border-top: 1px solid var(--line); }
  .errors tr:first-child { display: none; }
}
"""

# Each event is a list: query, recording, camera, start and end (s in the recording; for a robot null, and s
# from the start), date, order in time, confidence, state, sentence, picture, command. Names are indices into
# the lists beside the events.
SCRIPT = """
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const [QUERY, ORIGIN, CAMERA, START, END, DATE, ORDER, CONFIDENCE, STATE, SENTENCE, PICTURE, COMMAND] =
  Array(12).keys();
const CHUNK = 60;
const find = id => document.getElementById(id);
const tiles = find("tiles");
const ACCENTS = /[\\u0300-\\u036f\\u0591-\\u05c7\\u0610-\\u061a\\u064b-\\u065f\\u0670]/g;
const fold = text => text.normalize("NFKD").replace(ACCENTS, "").normalize("NFC").toLowerCase();
const words = data.events.map(event => fold([event[SENTENCE], data.queries[event[QUERY]],
  data.origins[event[ORIGIN]], data.cameras[event[CAMERA]]].join(" ")));
let chosen = [], shown = 0;

function add(parent, name, kind, text) {
  const element = parent.appendChild(document.createElement(name));
  if (kind) element.className = kind;
  if (text !== undefined) element.textContent = text;
  return element;
}

function label(seconds) {
  const tenths = Math.round(Math.max(seconds, 0) * 10), minutes = Math.floor(tenths / 600);
  return minutes + ":" + ((tenths - minutes * 600) / 10).toFixed(1).padStart(4, "0");
}

function when(event) {
  const live = event[START] === null, from = live ? event[DATE] || "no date" : label(event[START]);
  if (event[END] === null) return from + ", still going on";
  return live ? from + ", " + event[END].toFixed(1) + " s" : from + " to " + label(event[END]);
}

function tile(event) {
  const card = add(tiles, "article", "card");
  if (event[PICTURE]) {
    const image = add(card, "img");
    image.loading = "lazy";
    image.alt = "frame at the onset of the event";
    image.src = "pictures/" + event[PICTURE] + ".jpg";
  } else {
    add(card, "div", "none", "no picture");
  }
  const box = add(card, "div");
  add(box, "span", "when", when(event));
  add(box, "q", "", event[SENTENCE] || data.queries[event[QUERY]]).dir = "auto";
  if (event[SENTENCE]) add(box, "p", "facts", data.queries[event[QUERY]]).dir = "auto";
  const where = add(box, "p", "facts where");
  add(where, "bdi", "", data.origins[event[ORIGIN]]);
  where.title = data.origins[event[ORIGIN]];
  const facts = ["confidence " + event[CONFIDENCE].toFixed(2)];
  if (data.cameras[event[CAMERA]]) facts.unshift(data.cameras[event[CAMERA]]);
  if (event[STATE]) facts.push(event[STATE]);
  const about = add(box, "p", "facts", facts.join(" \\u00b7 "));
  if (event[DATE] && event[START] !== null) {
    about.append(" \\u00b7 ");
    add(about, "span", "date", event[DATE]);
  }
  if (event[COMMAND]) {
    const details = add(box, "details");
    add(details, "summary", "", "Replay this stretch");
    add(details, "code", "", event[COMMAND]);
    if (navigator.clipboard) {
      const button = add(details, "button", "", "Copy");
      button.onclick = () => navigator.clipboard.writeText(event[COMMAND]).then(
        () => { button.textContent = "Copied"; }, () => { button.textContent = "Select it and copy"; });
    }
  }
}

function more() {
  const stop = Math.min(shown + CHUNK, chosen.length);
  while (shown < stop) tile(data.events[chosen[shown++]]);
  find("end").hidden = shown >= chosen.length;
}

function choose() {
  const query = find("query").value, origin = find("origin").value;
  const wanted = fold(find("text").value).split(/\\s+/).filter(Boolean);
  chosen = [];
  data.events.forEach((event, index) => {
    if (query !== "" && event[QUERY] !== +query) return;
    if (origin !== "" && event[ORIGIN] !== +origin) return;
    if (wanted.every(word => words[index].includes(word))) chosen.push(index);
  });
  const by = (field, sign) => (a, b) =>
    sign * (data.events[a][field] - data.events[b][field]) || a - b;
  const orders = {confidence: by(CONFIDENCE, -1), newest: by(ORDER, -1), oldest: by(ORDER, 1)};
  chosen.sort(orders[find("order").value]);
  tiles.replaceChildren();
  shown = 0;
  more();
  find("count").textContent = chosen.length.toLocaleString("en") + " of " +
    data.events.length.toLocaleString("en") + (data.events.length === 1 ? " event" : " events");
}

for (const id of ["query", "origin", "order"]) find(id).onchange = choose;
find("text").oninput = choose;
new IntersectionObserver(entries => { if (entries.some(entry => entry.isIntersecting)) more(); },
  {rootMargin: "1200px"}).observe(find("end"));
addEventListener("beforeprint", () => { while (shown < chosen.length) more(); });
choose();
"""
