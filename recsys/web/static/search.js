// Search as one types: a combobox over the API's search. Without it the form goes to the page of results.

import { asked, tell } from "./events.js";

const PAUSE_MS = 160;
const SHOWN = 7;
const LEAST = 2; // Letters that say something.

export function upgradeSearch() {
  const input = document.querySelector(".search input[name=q]");
  const list = document.getElementById("suggestions");
  const status = document.getElementById("search-status");
  let timer;
  let asking;
  let active = -1;
  let reply;

  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-controls", list.id);
  input.setAttribute("aria-expanded", "false");

  input.addEventListener("input", () => {
    clearTimeout(timer);
    asking?.abort();
    const words = input.value.trim();
    if (words.length < LEAST) close();
    else timer = setTimeout(ask, PAUSE_MS, words);
  });
  input.addEventListener("keydown", (event) => {
    const options = list.children.length;
    if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      close();
    } else if (!list.hidden && options && ["ArrowDown", "ArrowUp"].includes(event.key)) {
      event.preventDefault();
      const up = active < 0 ? options - 1 : active + options - 1;
      mark((event.key === "ArrowUp" ? up : active + 1) % options);
    } else if (event.key === "Enter" && active >= 0) {
      event.preventDefault();
      go(active);
    }
  });
  input.addEventListener("focus", () => {
    if (list.children.length && input.value.trim().length >= LEAST) open();
  });
  input.form.addEventListener("focusout", (event) => {
    if (!input.form.contains(event.relatedTarget)) close();
  });
  list.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) go([...list.children].indexOf(option));
  });

  async function ask(words) {
    asking = new AbortController();
    try {
      const answer = await fetch("/v1/search", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ text: words, limit: SHOWN, ...asked() }),
        signal: asking.signal,
      });
      const said = await answer.json();
      if (answer.ok) show(said);
      else sayWhyNot(answer.status, answer.headers.has("Retry-After"));
    } catch (error) {
      if (error.name !== "AbortError") close();
    }
  }

  function show(said) {
    reply = said;
    list.replaceChildren(...said.items.map(option));
    active = -1;
    status.hidden = true;
    status.textContent = `${said.items.length} suggestions`;
    if (said.items.length && document.activeElement === input) open();
    else close();
  }

  // The answer's own words are for operators.
  function sayWhyNot(code, soon) {
    close();
    list.replaceChildren();
    if (code < 500) status.textContent = "These words cannot be searched for.";
    else if (soon) status.textContent = "Search is just getting ready: try again in a few seconds.";
    else status.textContent = "This shop cannot be searched by words at the moment.";
    status.hidden = false;
  }

  function option(item, place) {
    const made = document.createElement("li");
    made.id = `suggestion-${place}`;
    made.setAttribute("role", "option");
    made.setAttribute("aria-selected", "false");
    const image = new Image(36, 48);
    image.alt = "";
    image.src = `/pictures/${encodeURIComponent(item.item_id)}`;
    const title = document.createElement("span");
    title.textContent = item.title;
    made.append(image, title);
    return made;
  }

  function mark(place) {
    list.children[active]?.setAttribute("aria-selected", "false");
    active = place;
    const chosen = list.children[active];
    chosen.setAttribute("aria-selected", "true");
    chosen.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", chosen.id);
  }

  function open() {
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
  }

  function close() {
    clearTimeout(timer);
    list.hidden = true;
    status.hidden = true;
    active = -1;
    for (const one of list.children) one.setAttribute("aria-selected", "false");
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function go(place) {
    const item = reply.items[place];
    const context = { placement: "suggestions", position: place + 1, recommendation_id: reply.recommendation_id };
    tell([{ item_id: item.item_id, type: "click", context }]);
    location.href = `/items/${encodeURIComponent(item.item_id)}`;
  }
}
