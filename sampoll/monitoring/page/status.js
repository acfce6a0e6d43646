"use strict";

const PAUSE_MS = 5000, TIMEOUT_MS = 10000;
const live = document.getElementById("live"), stale = document.getElementById("stale");
const zone = new Intl.DateTimeFormat().resolvedOptions().timeZone;

// "2026-01-31 13:05:09": without words, so that it fits any language.
function localTime(date, show) {
  const text = date.toLocaleString("sv-SE"), today = new Date().toLocaleDateString("sv-SE");
  if (show === "second") return text;
  return show === "clock" || text.startsWith(today) ? text.slice(11, 16) : text.slice(0, 16);
}

function localise(part) {
  for (const time of part.querySelectorAll("time")) {
    time.textContent = localTime(new Date(time.dateTime), time.dataset.show);
  }
}

function sayZone() {
  const names = new Intl.DateTimeFormat("en", {timeZoneName: "shortOffset"}).formatToParts();
  const offset = names.find(part => part.type === "timeZoneName").value;
  for (const element of document.querySelectorAll(".zone")) {
    element.textContent = `times in ${zone} (${offset})`;
  }
}

// Replaces what has changed; open details, the focus, and pictures that are loaded stay.
function refresh(id, fresh) {
  const here = document.getElementById(id), part = document.importNode(fresh, true);
  for (const details of part.querySelectorAll("details")) {
    details.open = Boolean(document.getElementById(details.id)?.open);
  }
  if (here.innerHTML === part.innerHTML) return;
  const focused = here.contains(document.activeElement) ? document.activeElement.id : "";
  for (const item of part.querySelectorAll("[data-kept]")) {
    const known = document.getElementById(item.id);
    if (known) item.replaceWith(known);
  }
  here.replaceChildren(...part.childNodes);
  if (focused) document.getElementById(focused)?.focus({preventScroll: true});
}

async function update() {
  if (!live.checked) return;
  try {
    const answer = await fetch("", {cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS)});
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    localise(fresh);
    for (const part of fresh.querySelectorAll("[data-live]")) {
      if (document.getElementById(part.id)) refresh(part.id, part);
    }
    document.title = fresh.title;
    showStale("");
  } catch {
    const since = document.getElementById("as-of").textContent;
    document.title = "no answer: sampoll";
    showStale(`The service does not answer. What stands here is from ${since}, and no longer current.`);
  }
}

function showStale(text) {
  if (stale.textContent !== text) stale.textContent = text;
  document.body.classList.toggle("is-stale", Boolean(text));
}

async function keepUpdating() {
  await update();
  setTimeout(keepUpdating, PAUSE_MS);
}

localise(document);
sayZone();
if (live) {
  live.parentElement.hidden = false;
  setTimeout(keepUpdating, PAUSE_MS);
}
