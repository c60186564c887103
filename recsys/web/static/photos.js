// Search by a photo, chosen or dropped anywhere on the page.

import { asked, watchCards } from "./events.js";

const FOUND = 36;
const MOST_PARTS = 6;
const SVG = "http://www.w3.org/2000/svg";

const main = document.getElementById("main");

export function upgradePhotos() {
  const button = document.querySelector(".photo-button");
  const field = document.getElementById("photo");
  const veil = document.querySelector(".veil");
  let inside = 0;

  if (button) {
    button.hidden = false;
    button.addEventListener("click", () => field.click());
    field.addEventListener("change", () => {
      if (field.files.length) search(field.files[0]);
      field.value = "";
    });
  }
  const drags = (event) => [...event.dataTransfer.types].includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (!drags(event)) return;
    inside += 1;
    veil.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (drags(event) && --inside <= 0) veil.hidden = true;
  });
  document.addEventListener("dragover", (event) => drags(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!drags(event)) return;
    event.preventDefault();
    inside = 0;
    veil.hidden = true;
    const [file] = event.dataTransfer.files;
    if (file) search(file);
  });
  addEventListener("popstate", () => location.reload());
}

async function search(file) {
  const page = openPage(file);
  try {
    const form = new FormData();
    form.append("picture", file);
    form.append("ask", JSON.stringify({ limit: FOUND, explain: true, ...asked() }));
    const answer = await fetch("/v1/search", { method: "POST", body: form });
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.error.message);
    const known = await details(said.items.map((item) => item.item_id));
    show(page, said, known);
  } catch (error) {
    page.about.textContent = sentence(error.message);
  }
}

function openPage(file) {
  const section = element("section", "row");
  const head = element("div", "row-head photo-head");
  const canvas = element("canvas", "photo-shown");
  canvas.width = canvas.height = 144;
  canvas.setAttribute("aria-hidden", "true");
  const words = element("div");
  const title = element("h1");
  title.textContent = "Looks like your photo";
  const about = element("p", "about");
  about.setAttribute("role", "status");
  about.textContent = "Looking …";
  words.append(title, about);
  head.append(canvas, words);
  section.append(head);
  main.replaceChildren(section);
  draw(file, canvas);
  document.title = "Your photo · recsys";
  history.pushState(null, "", "/search");
  scrollTo(0, 0);
  main.focus({ preventScroll: true });
  return { section, about };
}

async function draw(file, canvas) {
  try {
    const image = await createImageBitmap(file);
    const side = Math.min(image.width, image.height);
    const [left, top] = [(image.width - side) / 2, (image.height - side) / 2];
    canvas.getContext("2d").drawImage(image, left, top, side, side, 0, 0, canvas.width, canvas.height);
  } catch {
    canvas.remove(); // a video, or a kind that only the server can read
  }
}

async function details(ids) {
  if (!ids.length) return new Map();
  const query = new URLSearchParams(ids.map((id) => ["id", id]));
  const said = await (await fetch(`/v1/items?${query}`)).json();
  return new Map(said.items.map((item) => [item.id, item]));
}

function show({ section, about }, said, known) {
  about.textContent = said.items.length ? `${said.items.length} found, most alike first` : "Nothing here looks like it.";
  const grid = element("ul", "grid");
  grid.dataset.placement = "search by photo";
  grid.dataset.recommendation = said.recommendation_id;
  grid.append(...said.items.map((place) => card(place, known.get(place.item_id))));
  section.append(grid);
  watchCards(section);
}

function card(place, item) {
  const made = document.getElementById("card").content.firstElementChild.cloneNode(true);
  const id = encodeURIComponent(place.item_id);
  made.dataset.item = place.item_id;
  made.dataset.position = place.rank;
  made.querySelector("img").src = `/pictures/${id}`;
  const link = made.querySelector("a");
  link.href = `/items/${id}`;
  link.textContent = place.title;
  made.querySelector(".kind").textContent = item?.brand ?? (item?.categories ?? []).slice(0, 2).join(", ");
  const why = made.querySelector(".why");
  why.id = `why-photo-${place.rank}`;
  why.querySelector(".why-title").id = `${why.id}-title`;
  why.setAttribute("aria-labelledby", `${why.id}-title`);
  why.querySelector(".why-title").textContent = `Why ${place.title}?`;
  why.querySelector(".why-reason").textContent = sentence(place.reason.replaceAll("*", ""));
  why.querySelector("b").textContent = signed(place.score);
  bars(why.querySelector(".bars"), place.parts);
  const button = made.querySelector(".why-button");
  button.setAttribute("popovertarget", why.id);
  button.setAttribute("aria-label", `Why this? ${place.title}`);
  return made;
}

function bars(list, parts) {
  const names = JSON.parse(document.getElementById("card").dataset.parts);
  const telling = Object.entries(parts).filter(([, value]) => Math.abs(value) >= 0.005);
  telling.sort(([, one], [, other]) => Math.abs(other) - Math.abs(one));
  const most = Math.abs(telling[0]?.[1] ?? 1);
  for (const [name, value] of telling.slice(0, MOST_PARTS)) {
    const row = element("div");
    const [term, told, number] = [element("dt"), element("dd"), element("span")];
    term.textContent = names[name] ?? name;
    number.textContent = signed(value);
    const wide = Math.max(1, (Math.abs(value) / most) * 49);
    const svg = drawn("svg", { viewBox: "-50 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" });
    svg.append(
      drawn("rect", { class: value > 0 ? "plus" : "minus", x: value > 0 ? 0 : -wide, width: wide, height: 8 }),
      drawn("path", { d: "M0 0V8" }),
    );
    told.append(svg, number);
    row.append(term, told);
    list.append(row);
  }
}

function element(name, className = "") {
  const made = document.createElement(name);
  made.className = className;
  return made;
}

function drawn(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function signed(value) {
  return `${value < 0 ? "\u2212" : "+"}${Math.abs(value).toFixed(2)}`;
}

function sentence(words) {
  return `${words[0].toUpperCase()}${words.slice(1).replace(/\.$/, "")}.`;
}
