"use strict";

// The pages of a report are files: each has its cards in the HTML, and what the filters compare in data/N.js,
// which calls report.add. The filters are the fragment of the address, so links to other pages keep them.

const $ = (id) => document.getElementById(id);
const { page, pages, root, own } = document.body.dataset;
const FIELDS = ["text", "label", "from", "to", "show", "sort"];
const words = new Intl.Collator(undefined, { numeric: true });
const number = new Intl.NumberFormat("en");

const report = {
  entries: new Map(), // the entries of each page that is loaded, by its number
  add(ofPage, entries) {
    this.entries.set(ofPage, entries);
    if (ofPage === Number(page)) begin(entries);
  },
};

let cards = [];

function begin(entries) {
  cards = Array.from($("gallery").children, (element, index) => ({ element, entry: entries[index], index }));
  readAddress();
  update();
}

// Filters

function wanted() {
  const score = (id, otherwise) => ($(id).value === "" ? otherwise : Number($(id).value));
  return {
    words: $("text").value.toLowerCase().split(/\s+/).filter(Boolean),
    label: $("label").value,
    from: score("from", -Infinity),
    to: score("to", Infinity),
    hasScore: $("from").value !== "" || $("to").value !== "",
    show: $("show").value,
  };
}

function matches(entry, filter) {
  const text = `${entry.name} ${entry.text}`.toLowerCase();
  const kinds = { "": true, results: !entry.failed, failed: entry.failed, skipped: entry.skipped, empty: entry.empty };
  if (!kinds[filter.show] || !filter.words.every((word) => text.includes(word))) return false;
  if (!filter.label && !filter.hasScore) return true;
  // One mask has both the label and the score.
  return Object.entries(entry.scores).some(
    ([label, scores]) =>
      (!filter.label || label === filter.label) && scores.some((score) => score >= filter.from && score <= filter.to),
  );
}

function isFiltered() {
  return FIELDS.some((id) => id !== "sort" && $(id).value !== "");
}

function update() {
  const filter = wanted();
  let shown = 0;
  for (const { element, entry } of cards) {
    element.hidden = !matches(entry, filter);
    shown += !element.hidden;
  }
  order();
  $("count").textContent = `${number.format(shown)} of ${number.format(cards.length)} shown${pages > 1 ? " on this page" : ""}`;
  lookElsewhere(filter);
}

function order() {
  const key = $("sort").value.replace("-", "");
  const sign = $("sort").value.startsWith("-") ? -1 : 1;
  const compare = (a, b) =>
    sign * (key === "at" ? words.compare(a.entry.at, b.entry.at) : a.entry[key] - b.entry[key]) || a.index - b.index;
  // Failed pairs have no scores, areas and so on: they come last where these decide.
  const isLast = (card) => key !== "at" && card.entry.failed;
  const sorted = key ? cards.slice().sort((a, b) => isLast(a) - isLast(b) || compare(a, b)) : cards;
  if (sorted.some((card, position) => $("gallery").children[position] !== card.element)) {
    $("gallery").append(...sorted.map((card) => card.element));
  }
}

// Other pages: their entries are loaded one after the other once a filter is set.

let loading = false;

function lookElsewhere(filter) {
  const isWanted = pages > 1 && isFiltered();
  $("elsewhere").hidden = !isWanted;
  if (!isWanted) return;
  const missing = Array.from({ length: pages }, (_, index) => index + 1).find((each) => !report.entries.has(each));
  if (missing !== undefined) {
    if (!loading) load(missing);
    $("elsewhere").textContent = "Looking at the other pages…";
    return;
  }
  const found = Array.from(report.entries, ([ofPage, entries]) => ({
    ofPage,
    count: entries.filter((entry) => matches(entry, filter)).length,
  })).filter(({ ofPage, count }) => count && ofPage !== Number(page));
  const links = found.sort((a, b) => a.ofPage - b.ofPage).map(({ ofPage, count }) => {
    const link = document.createElement("a");
    link.href = (ofPage === 1 ? `${root}report.html` : `${own}${ofPage}.html`) + location.hash;
    link.textContent = `page ${ofPage} (${number.format(count)})`;
    return link;
  });
  $("elsewhere").replaceChildren(links.length ? "On other pages: " : "None on other pages.", ...links);
}

function load(ofPage) {
  const script = document.createElement("script");
  loading = true;
  script.src = `${own}data/${ofPage}.js`;
  script.onload = script.onerror = () => {
    loading = false;
    if (!report.entries.has(ofPage)) report.entries.set(ofPage, []);
    lookElsewhere(wanted());
  };
  document.head.append(script);
}

// The address

function readAddress() {
  const set = new URLSearchParams(location.hash.slice(1));
  for (const id of FIELDS) {
    const value = set.get(id) ?? "";
    if (id === "label" && value && !Array.from($(id).options).some((option) => option.value === value)) {
      $(id).append(new Option(value, value)); // a rare label, which the list leaves out
    }
    $(id).value = value;
  }
}

function writeAddress() {
  const set = new URLSearchParams();
  for (const id of FIELDS) if ($(id).value !== "") set.set(id, $(id).value);
  history.replaceState(null, "", set.size ? `#${set}` : location.pathname);
}

$("filters").addEventListener("input", () => { writeAddress(); update(); });
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("filters").addEventListener("reset", () => setTimeout(() => { writeAddress(); update(); }));
window.addEventListener("hashchange", () => {
  readAddress();
  update();
  $("results").scrollIntoView();
});

// The viewer

const viewer = $("viewer");
const stage = $("stage");
const MAX_ZOOM = 16;
let current = null;
let zoom = 1;

function pictured() {
  return Array.from($("gallery").querySelectorAll("li:not([hidden]) a.picture"));
}

function view(link) {
  current = link;
  const card = link.closest("li");
  $("viewer-name").textContent = card.querySelector("h3").textContent;
  $("large").alt = link.querySelector("img").alt;
  $("large").src = link.href;
  $("facts").replaceChildren(...facts(card));
  $("frame").hidden = true;
  if (!viewer.open) viewer.showModal();
  stage.focus();
  const links = pictured();
  $("previous").disabled = links[0] === link;
  $("next").disabled = links.at(-1) === link;
  setZoom(1);
}

function facts(card) {
  const parts = Array.from(card.querySelectorAll(".text > :not(h3, details), details > :not(summary)"), (part) => part.cloneNode(true));
  for (const part of parts) {
    for (const row of part.querySelectorAll("tr[data-box]")) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...row.querySelector(".name").childNodes);
      button.addEventListener("click", () => zoomTo(row.dataset.box.split(" ").map(Number)));
      row.querySelector(".name").replaceChildren(button);
    }
    for (const button of part.querySelectorAll(".copy")) prepareCopy(button);
  }
  return parts;
}

function fitting() {
  const { naturalWidth, naturalHeight } = $("large");
  return Math.min(stage.clientWidth / naturalWidth, stage.clientHeight / naturalHeight) || 1;
}

// Keeps the point of the picture that is in the middle where it is.
function setZoom(value, middle) {
  const x = middle?.x ?? (stage.scrollLeft + stage.clientWidth / 2) / stage.scrollWidth;
  const y = middle?.y ?? (stage.scrollTop + stage.clientHeight / 2) / stage.scrollHeight;
  zoom = Math.min(MAX_ZOOM, Math.max(1, value));
  stage.style.overflow = zoom === 1 ? "hidden" : "auto";
  stage.classList.toggle("enlarged", zoom > 1);
  const scale = fitting() * zoom;
  $("canvas").style.width = `${$("large").naturalWidth * scale}px`;
  $("canvas").style.height = `${$("large").naturalHeight * scale}px`;
  stage.scrollLeft = x * stage.scrollWidth - stage.clientWidth / 2;
  stage.scrollTop = y * stage.scrollHeight - stage.clientHeight / 2;
  $("scale").textContent = `${Math.round(100 * zoom)} %`;
  $("smaller").disabled = zoom === 1;
  $("larger").disabled = zoom === MAX_ZOOM;
}

function zoomTo([left, top, right, bottom]) {
  const image = current.querySelector("img");
  const [width, height] = [Number(image.getAttribute("width")), Number(image.getAttribute("height"))];
  const frame = $("frame");
  const percent = (part) => `${100 * part}%`;
  frame.hidden = false;
  frame.style.left = percent(left / width);
  frame.style.top = percent(top / height);
  frame.style.width = percent((right + 1 - left) / width);
  frame.style.height = percent((bottom + 1 - top) / height);
  const fit = fitting();
  const shown = { width: fit * $("large").naturalWidth, height: fit * $("large").naturalHeight };
  const fill = Math.min(
    stage.clientWidth / (shown.width * ((right + 1 - left) / width)),
    stage.clientHeight / (shown.height * ((bottom + 1 - top) / height)),
  );
  setZoom(0.7 * fill, { x: (left + right + 1) / 2 / width, y: (top + bottom + 1) / 2 / height });
}

function step(by) {
  const links = pictured();
  const link = links[links.indexOf(current) + by];
  if (link) view(link);
}

$("gallery").addEventListener("click", (event) => {
  const link = event.target.closest("a.picture");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  view(link);
});
$("large").addEventListener("load", () => setZoom(zoom));
window.addEventListener("resize", () => viewer.open && setZoom(zoom));
$("larger").addEventListener("click", () => setZoom(zoom * 1.5));
$("smaller").addEventListener("click", () => setZoom(zoom / 1.5));
$("fit").addEventListener("click", () => { $("frame").hidden = true; setZoom(1); });
$("close").addEventListener("click", () => viewer.close());
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
viewer.addEventListener("close", () => current?.focus());
viewer.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "+" || event.key === "=") setZoom(zoom * 1.5);
  else if (event.key === "-") setZoom(zoom / 1.5);
  else if (event.key === "0") $("fit").click();
  else if (event.key === "ArrowLeft" && zoom === 1) step(-1);
  else if (event.key === "ArrowRight" && zoom === 1) step(1);
  else return;
  event.preventDefault();
});
stage.addEventListener("wheel", (event) => {
  if (!event.ctrlKey) return; // without it, the wheel scrolls; a pinch on a touchpad has it
  event.preventDefault();
  setZoom(zoom * Math.exp(-event.deltaY / 200));
}, { passive: false });
stage.addEventListener("dblclick", () => setZoom(zoom === 1 ? 3 : 1));
stage.addEventListener("pointermove", (event) => {
  if (event.buttons !== 1 || event.pointerType === "touch") return; // a finger scrolls by itself
  stage.scrollLeft -= event.movementX;
  stage.scrollTop -= event.movementY;
});
stage.addEventListener("dragstart", (event) => event.preventDefault());

// Commands

function prepareCopy(button) {
  if (!navigator.clipboard) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.closest(".command").querySelector("code").textContent);
    button.firstChild.textContent = "Copied";
  });
}

for (const button of document.querySelectorAll(".card .copy")) prepareCopy(button);
