// The form of a rule: values as chips, items found by their titles, and a preview that follows what is typed.
// Without it lists are texts, and the preview comes by its button.

const PAUSE_MS = 350;
const MOST_CHIPS = 60; // A longer list is quicker to mend as a text.

const form = document.querySelector(".rule-form");
const preview = document.getElementById("preview");
const titles = JSON.parse(document.getElementById("titles").textContent);

// Lists: the text below the chips is what is sent.

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

function shown(line) {
  try {
    const value = JSON.parse(line);
    return typeof value === "string" ? value : line;
  } catch {
    return line;
  }
}

function quoted(id) {
  return /^"|,|^\s|\s$|[\u0000-\u001f]/.test(id) ? JSON.stringify(id) : id;
}

function made(name, properties, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

function upgrade(area) {
  const kind = area.dataset.values;
  const unknown = new Set(kind === "items" ? lines(area.value).filter((line) => !titles[shown(line)]) : []);
  const label = form.querySelector(`label[for="${area.id}"]`);
  const chips = made("ul", { className: "chips" });
  const input = made("input", { type: "text", id: `${area.id}-add`, autocomplete: "off" });
  const found = made("ul", { className: "found", hidden: true });
  const told = made("p", { className: "unseen" });
  told.setAttribute("role", "status");
  input.placeholder = { items: "Find by title, or paste ids", pairs: "name=value", names: "Add a name" }[kind];
  if (area.dataset.list) input.setAttribute("list", area.dataset.list);
  for (const name of ["aria-describedby", "aria-invalid"]) {
    if (area.hasAttribute(name)) input.setAttribute(name, area.getAttribute(name));
  }
  label.htmlFor = input.id;
  for (const link of document.querySelectorAll(`a[href="#${area.id}"]`)) link.hash = input.id;
  area.hidden = true;
  area.before(chips, input, found, told);

  function put(values) {
    area.value = [...new Set(values)].join("\n");
    area.dispatchEvent(new Event("input", { bubbles: true }));
    draw();
  }

  function add(text) {
    const parts = kind === "items" && !text.trim().startsWith('"') ? text.replaceAll(",", "\n") : text;
    if (lines(parts).length) put([...lines(area.value), ...lines(parts)]);
    input.value = "";
    close();
  }

  function draw() {
    chips.replaceChildren(...lines(area.value).map((line) => {
      const value = shown(line);
      const name = (kind === "items" && titles[value]) || value;
      const off = made("button", { type: "button", textContent: "×" });
      off.setAttribute("aria-label", `Take out ${name}`);
      off.addEventListener("click", () => {
        put(lines(area.value).filter((other) => other !== line));
        input.focus();
      });
      const chip = made("li", {}, made("span", { textContent: name, title: value }), off);
      if (kind === "items" && titles[value]) chip.prepend(picture(value));
      if (unknown.has(line)) Object.assign(chip, { className: "unknown", title: "Not in the catalogue" });
      return chip;
    }));
  }

  function picture(id) {
    return made("img", { src: `/pictures/${encodeURIComponent(id)}`, alt: "", width: 21, height: 28 });
  }

  function close() {
    found.hidden = true;
    found.replaceChildren();
    told.textContent = "";
  }

  let timer;
  let asking;
  async function search() {
    asking?.abort();
    asking = new AbortController();
    const words = input.value.trim();
    try {
      const answer = await fetch(`/console/rules/items?q=${encodeURIComponent(words)}`, { signal: asking.signal });
      const items = answer.ok ? await answer.json() : [];
      found.replaceChildren(...items.map(({ id, title }) => {
        const button = made("button", { type: "button" }, picture(id), made("span", {}, title, made("small", { textContent: id })));
        button.addEventListener("click", () => {
          titles[id] = title;
          add(quoted(id));
          input.focus();
        });
        return made("li", {}, button);
      }));
      found.dataset.words = words;
      found.hidden = !items.length;
      told.textContent = `${items.length} ${items.length === 1 ? "item" : "items"} found`;
    } catch (error) {
      if (error.name !== "AbortError") close();
    }
  }

  input.addEventListener("input", (event) => {
    event.stopPropagation(); // nothing of the rule has changed
    const chosen = event.inputType === "insertReplacementText" || event.inputType === undefined;
    if (chosen && area.dataset.list) add(input.value);
    if (kind !== "items") return;
    clearTimeout(timer);
    if (input.value.trim().length < 2) close();
    else timer = setTimeout(search, 160);
  });
  input.addEventListener("paste", (event) => {
    const text = event.clipboardData.getData("text");
    if (!/[\n,]/.test(text) || (kind !== "items" && !text.includes("\n"))) return;
    event.preventDefault();
    add(text);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      const first = found.dataset.words === input.value.trim() && found.querySelector("button");
      if (first) first.click();
      else add(input.value);
    } else if (event.key === "Escape") close();
    else if (event.key === "ArrowDown" && found.children.length) {
      event.preventDefault();
      found.querySelector("button").focus();
    } else if (event.key === "Backspace" && !input.value && chips.children.length) {
      put(lines(area.value).slice(0, -1));
    }
  });
  found.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const buttons = [...found.querySelectorAll("button")];
    if (event.key === "Escape") input.focus();
    if (!step) return;
    event.preventDefault();
    (buttons[buttons.indexOf(document.activeElement) + step] ?? input).focus();
  });
  input.addEventListener("change", () => kind !== "items" && add(input.value));
  form.addEventListener("submit", () => add(input.value)); // what was typed and not yet added
  draw();
}

for (const area of form.querySelectorAll("textarea[data-values]")) {
  if (lines(area.value).length <= MOST_CHIPS) upgrade(area);
}

// The preview.

let waiting;
let under;

async function follow() {
  under?.abort();
  under = new AbortController();
  preview.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(form.dataset.preview, {
      method: "POST",
      headers: { "recsys-part": "preview" },
      body: new URLSearchParams(new FormData(form)),
      signal: under.signal,
    });
    if (answer.ok) preview.innerHTML = await answer.text();
    else preview.textContent = "The preview cannot be had just now: try again in a moment.";
    document.getElementById("preview-status").textContent = preview.querySelector(".preview-said")?.textContent ?? "";
    preview.removeAttribute("aria-busy");
  } catch (error) {
    if (error.name === "AbortError") return;
    preview.textContent = "The server does not answer.";
    preview.removeAttribute("aria-busy");
  }
}

form.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(follow, PAUSE_MS);
});

// Enter in a field of the preview asks for it anew, and does not keep the rule.
form.querySelector(".trial").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.target.tagName !== "INPUT") return;
  event.preventDefault();
  follow();
});

// The button that asks for the preview is for those without a script.
form.querySelector("[formaction]").addEventListener("click", (event) => {
  event.preventDefault();
  follow();
  preview.closest("aside").scrollIntoView({ block: "nearest" });
});

document.querySelector(".rule-wrong")?.scrollIntoView({ block: "nearest" });
