"use strict";
// Texts that end in HTML here were escaped when the page was made; all others are set as text.
const data = JSON.parse(document.getElementById("data").textContent);
const PAGE = 50; // queries shown at a time
const last = data.rankings.length - 1; // the ensemble
const at = (id) => document.getElementById(id);
const value = (id) => at(id)?.value ?? "";

for (const [place, query] of data.queries.entries()) {
  const firsts = query.first.map((first) => first?.[0]?.[0]).filter((id) => id !== undefined);
  query.place = place;
  query.plain = query.plain.toLowerCase();
  query.kind = query.label === null ? "none" : data.names[query.label][1] ? "seen" : "unseen";
  query.rank = query.ranks[last] ?? Infinity;
  query.precision = query.rank <= data.depth ? 1 / query.rank : 0;
  query.different = new Set(firsts).size; // first candidates
}

const ORDERS = {
  // Queries without a label have no precision, and come behind.
  worst: (a, b) => (a.label === null) - (b.label === null) || a.precision - b.precision || deeper(b, a) || a.place - b.place,
  best: (a, b) => (a.label === null) - (b.label === null) || b.precision - a.precision || deeper(a, b) || a.place - b.place,
  apart: (a, b) => b.different - a.different || a.place - b.place,
  test: (a, b) => a.place - b.place,
};

function deeper(a, b) {
  return a.rank === b.rank ? 0 : a.rank - b.rank;
}

// Whether the ranking at that place meets the condition for a query.
const CONDITIONS = {
  worse: (query, place, rank) => query.label !== null && (query.ranks[place] ?? Infinity) > rank,
  within: (query, place, rank) => query.label !== null && (query.ranks[place] ?? Infinity) <= rank,
  best: (query, place) => {
    const ranks = query.ranks.map((rank) => rank ?? Infinity);
    return ranks[place] === Math.min(...ranks) && ranks[place] < Math.max(...ranks);
  },
  differs: (query, place) => Boolean(query.first[place]) && query.first[place][0][0] !== query.first[last]?.[0]?.[0],
};

function matching() {
  const words = value("text").toLowerCase().split(/\s+/).filter(Boolean);
  const [label, group, ranking] = [value("label"), value("group"), value("ranking")];
  const [meets, rank] = [CONDITIONS[value("condition")], Number(value("rank"))];
  return data.queries
    .filter((query) => words.every((word) => query.plain.includes(word)))
    .filter((query) => !label || query.kind === label)
    .filter((query) => !group || query.group === group)
    .filter((query) => ranking === "" || meets(query, Number(ranking), rank))
    .sort(ORDERS[value("order")]);
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function withHtml(tag, className, html) {
  const made = element(tag, className);
  made.innerHTML = html;
  return made;
}

function badge(seen) {
  return element("span", `badge ${seen ? "seen" : "unseen"}`, seen ? "seen" : "unseen");
}

function answer(name, html) {
  const made = element("span", "", `${name}: `);
  made.append(withHtml("b", "", html));
  return made;
}

function card(query) {
  const made = element("article");
  made.dataset.query = query.id;
  const answers = element("div", "answers");
  answers.append(...query.shown.map(([heading, html]) => answer(heading, html)));
  made.append(element("div", "about", query.id), withHtml("div", "question", data.mains[query.main]), answers);
  if (query.reason) made.append(withHtml("div", "about reason", query.reason));
  if (query.label !== null) {
    const [name, seen] = data.names[query.label];
    const label = element("div", "label", "label: ");
    label.append(withHtml("b", "", name), " ", badge(seen));
    made.append(label);
  }
  const beside = element("div", "beside");
  beside.append(...data.rankings.map((name, place) => column(query, name, place)));
  made.append(beside);
  return made;
}

function column(query, name, place) {
  const [made, head, list] = [element("div"), element("h3", "", name), element("ol")];
  const first = query.first[place];
  if (query.label !== null && first) head.append(element("span", "rank", query.ranks[place] ? `rank ${query.ranks[place]}` : "absent"));
  for (const [id, score] of first ?? []) {
    const item = element("li", id === query.label ? "right" : "");
    const [candidate, seen] = data.names[id];
    item.append(withHtml("span", "", candidate), badge(seen), element("span", "score", score));
    list.append(item);
  }
  if (!first) list.append(element("li", "about", "not ranked by it"));
  made.append(head, list);
  return made;
}

let found = [];

function showMore() {
  const from = at("shown").childElementCount;
  at("shown").append(...found.slice(from, from + PAGE).map(card));
  at("more").hidden = from + PAGE >= found.length;
}

function show() {
  found = matching();
  at("count").value = `${found.length} of ${data.queries.length} queries`;
  at("shown").replaceChildren();
  if (at("rank")) at("rank").hidden = !["worse", "within"].includes(value("condition"));
  showMore();
}

const groups = [...new Set(data.queries.map((query) => query.group))].sort();
at("group")?.append(...groups.map((group) => new Option(group, group)));
at("ranking").append(...data.rankings.map((name, place) => new Option(name, String(place))));
at("filters").addEventListener("input", show);
at("filters").addEventListener("submit", (event) => event.preventDefault());
at("more").addEventListener("click", showMore);
show();
