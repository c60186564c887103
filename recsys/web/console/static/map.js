// The map of the catalogue: fetches its points, draws them when something has changed, and says what one points at.

import { Drawing } from "./map-drawing.js";
import { boundsOf, NOT_ON_OFFER, NOWHERE, Points } from "./map-points.js";
import { calm, listen, View } from "./map-view.js";

const REACH = 14; // Pixels around a pointer.
const MOVE_MS = 1400;
const ASK_AGAIN_MS = 1500;
const PAUSE_MS = 180;
const STILL_MS = 140; // After the last change a picture is drawn as sharp as it gets.
const REMEMBERED = 2000;
const GONE = "The map cannot be read any more: load the page anew.";
const ROOM_PX = 70; // Around what was found: above it is the field of the search.

const place = document.getElementById("map");
const canvas = document.getElementById("map-canvas");
const card = document.getElementById("map-card");
const said = document.getElementById("map-said");
const legend = document.querySelector(".map-legend");
const about = `space=${place.dataset.space}&origin=${encodeURIComponent(place.dataset.origin)}`;

const drawing = new Drawing(canvas);
const view = new View(drawing, () => paint(true));
const chosen = new Set();
const told = new Map();
let points = null;
let found = null; // Points that a search lights up.
let selected = -1;
let unsorted = false; // On the way from one picture to the next.
let waiting = 0;
let moving = false;
let stillness;

// ---- drawing

// Whether a point is looked at.
function isLit(n) {
  if (found) return found.has(n);
  return !chosen.size || chosen.has(points.colours[n] & ~NOT_ON_OFFER);
}

function paint(moves = false) {
  if (!points) return;
  moving ||= moves;
  clearTimeout(stillness);
  if (moving) stillness = setTimeout(settle, STILL_MS);
  waiting ||= requestAnimationFrame(() => {
    waiting = 0;
    const ringed = selected < 0 ? [] : [selected];
    drawing.draw(points, view, { hits: found, chosen, ringed, moving, unsorted });
    if (selected >= 0 && !card.hidden) lay(selected);
    if (!place.dataset.drawn) begun();
  });
}

function begun() {
  place.dataset.drawn = place.dataset.state;
  performance.mark("points");
}

function settle() {
  moving = false;
  if (drawing.coarse) paint();
}

function recolour() {
  const style = (element) => getComputedStyle(element);
  const swatches = [...legend.querySelectorAll(".map-swatch")];
  const frame = style(canvas.parentElement);
  drawing.colour(frame.backgroundColor, frame.color, swatches.map((one) => style(one).backgroundColor));
}

function resize() {
  if (canvas.clientWidth === drawing.width && canvas.clientHeight === drawing.height) return;
  const wasWhole = view.zoom === view.whole;
  drawing.resize();
  if (!points) return;
  if (wasWhole) view.fit(points.bounds);
  paint();
}

// ---- points

async function fetched() {
  const answer = await fetch(`/console/map/points?${about}`);
  return answer.ok ? new Points(await answer.arrayBuffer()) : null;
}

async function begin() {
  points = await fetched();
  if (!points) return say(GONE);
  drawing.resize();
  recolour();
  view.fit(points.bounds);
  paint();
  if (place.dataset.state === "coming") setTimeout(ask, ASK_AGAIN_MS);
  return null;
}

async function ask() {
  const answer = await fetch(`/console/map/state?${about}`);
  if (!answer.ok) return say(GONE);
  const { state, seconds } = await answer.json();
  if (state === "coming") return setTimeout(ask, ASK_AGAIN_MS);
  if (state === "failed") return say("A sketch: the layout by neighbours could not be made, the log says why.");
  const laidOut = await fetched();
  if (!laidOut) return say(GONE);
  move(laidOut);
  return say(`Laid out by neighbours in ${Math.round(seconds)} s`);
}

function say(words) {
  document.getElementById("map-made").textContent = words;
}

// From where the points are to where they belong; the eye can follow.
function move(to) {
  const from = { x: points.x.slice(), y: points.y.slice() };
  const began = performance.now();
  const sight = { from: { x: view.x, y: view.y, zoom: view.zoom }, to: view.sightOf(to.bounds) };
  unsorted = true;
  leave();
  const step = (now) => {
    const time = calm.matches ? 1 : Math.min(1, Math.max(0, (now - began) / MOVE_MS));
    const part = time * time * (3 - 2 * time);
    points.between(from, to, part);
    for (const what of ["x", "y", "zoom"]) view[what] = sight.from[what] + part * (sight.to[what] - sight.from[what]);
    if (time < 1) requestAnimationFrame(step);
    else {
      points = to;
      unsorted = false;
      view.fit(points.bounds);
      place.dataset.drawn = "kept";
    }
    paint(time < 1);
  };
  requestAnimationFrame(step);
}

// ---- what one points at

async function described(n) {
  if (!told.has(n)) {
    if (told.size > REMEMBERED) told.clear();
    const answer = await fetch(`/console/map/items?${about}&at=${n}`);
    if (!answer.ok) return null;
    told.set(n, (await answer.json())[0] ?? null);
  }
  return told.get(n);
}

function under(left, top, reach = REACH) {
  if (!points || unsorted) return -1;
  return points.nearest(...view.under(left, top), reach / view.zoom, isLit);
}

let pause;
function choose(n, held, speaks = false) {
  card.classList.toggle("held", held);
  if (n === selected) return;
  selected = n;
  card.hidden = true;
  canvas.classList.toggle("over", n >= 0);
  paint();
  clearTimeout(pause);
  if (n >= 0) pause = setTimeout(show, told.has(n) ? 0 : 50, n, speaks);
}

async function show(n, speaks) {
  const item = await described(n);
  if (n !== selected || !item) return;
  const [title, categories] = [item.title, item.categories.join(", ")];
  card.querySelector("b").textContent = title;
  card.querySelector("small").textContent = categories;
  const picture = card.querySelector("img");
  if (picture.getAttribute("src") !== item.picture) picture.src = item.picture;
  card.href = item.href;
  card.hidden = false;
  lay(n);
  if (speaks) said.textContent = categories ? `${title}: ${categories}` : title;
}

// Beside the point where there is room, else below or above it.
function lay(n) {
  const [x, y] = view.at(points.x[n], points.y[n]);
  const { offsetWidth: width, offsetHeight: height } = card;
  const right = x + 16 + width <= drawing.width - 8;
  const beside = right || x - 16 - width >= 8;
  const left = beside ? (right ? x + 16 : x - 16 - width) : Math.min(drawing.width - width - 8, Math.max(8, x - width / 2));
  const below = y + 16 + height <= drawing.height - 8 ? y + 16 : y - 16 - height;
  const top = beside ? Math.min(drawing.height - height - 8, Math.max(8, y - height / 2)) : below;
  card.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
}

function leave() {
  choose(-1, false);
}

let resting;
function middle() {
  clearTimeout(resting);
  resting = setTimeout(() => choose(under(drawing.width / 2, drawing.height / 2, 1e4), false, true), 260);
}

listen(canvas, view, {
  over: (left, top, touched) => choose(under(left, top, touched ? 2 * REACH : REACH), touched),
  opens(left, top) {
    const n = under(left, top);
    if (n < 0) return false;
    described(n).then((item) => item && location.assign(item.href));
    return true;
  },
  left: leave,
  keyed: middle,
  entered: () => !card.hidden && location.assign(card.href),
});
canvas.addEventListener("focus", () => canvas.matches(":focus-visible") && middle());
canvas.addEventListener("blur", () => card.classList.contains("held") || leave());

// ---- legend and search

const every = document.getElementById("map-every");

function showChosen() {
  for (const button of legend.querySelectorAll("[data-colour]")) {
    button.setAttribute("aria-pressed", String(chosen.has(Number(button.dataset.colour))));
  }
  legend.classList.toggle("some", chosen.size > 0);
  every.hidden = !chosen.size;
  leave();
  paint();
}

for (const button of legend.querySelectorAll("[data-colour]")) {
  button.addEventListener("click", () => {
    const colour = Number(button.dataset.colour);
    if (!chosen.delete(colour)) chosen.add(colour);
    showChosen();
  });
}
every.addEventListener("click", () => {
  chosen.clear();
  showChosen();
});

const search = document.querySelector(".map-search");
const words = search.querySelector("input");
const hits = document.getElementById("map-found");
let typing;
let asking;

async function find() {
  clearTimeout(typing);
  asking?.abort();
  const asked = words.value.trim();
  if (!asked) return light(null, "");
  asking = new AbortController();
  try {
    const answer = await fetch(`/console/map/search?${about}&q=${encodeURIComponent(asked)}`, { signal: asking.signal });
    if (!answer.ok) return light(null, "The search did not work.");
    const { by, count, at } = await answer.json();
    const here = at.filter((n) => points.colours[n] !== NOWHERE);
    return light(new Set(here), summary(by, count, here.length));
  } catch (error) {
    if (error.name !== "AbortError") throw error;
    return null;
  }
}

function summary(by, count, here) {
  if (!count) return "Nothing found";
  if (by === "meaning") return `No title holds this: the ${here} nearest by text`;
  const titles = count === 1 ? "1 title" : `${count.toLocaleString("en")} titles`;
  return here < count ? `${titles}, ${here.toLocaleString("en")} shown` : titles;
}

function light(some, summed) {
  found = some;
  hits.textContent = summed;
  hits.hidden = !summed;
  leave();
  paint();
}

words.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(find, PAUSE_MS);
});
search.addEventListener("submit", async (event) => {
  event.preventDefault();
  await find();
  if (found?.size) view.glide(near(boundsOf(points, found)));
});

// No closer than that one sees what is around.
function near(bounds) {
  const sight = view.sightOf(bounds, ROOM_PX);
  return { ...sight, zoom: Math.min(sight.zoom, view.whole * 12) };
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  recolour();
  paint();
});
new ResizeObserver(resize).observe(canvas);
begin();
