// Buttons that move a shelf on by what is seen of it, for those who cannot swipe.

const ARROWS = { previous: "M7.5 2.5 4 6l3.5 3.5", next: "M4.5 2.5 8 6l-3.5 3.5" };

export function upgradeShelves() {
  for (const row of document.querySelectorAll(".row")) {
    const shelf = row.querySelector(".shelf");
    const head = row.querySelector(".row-head");
    if (!shelf || shelf.scrollWidth <= shelf.clientWidth) continue;
    const name = head.querySelector("h1, h2").textContent;
    const moves = document.createElement("div");
    moves.className = "moves";
    const back = button("previous", name, () => move(shelf, -1));
    const on = button("next", name, () => move(shelf, 1));
    moves.append(back, on);
    head.append(moves);
    const mark = () => {
      back.disabled = shelf.scrollLeft <= 4;
      on.disabled = shelf.scrollLeft >= shelf.scrollWidth - shelf.clientWidth - 4;
    };
    shelf.addEventListener("scroll", mark, { passive: true });
    mark();
  }
}

function button(way, name, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "move";
  made.setAttribute("aria-label", `${name}: ${way}`);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 12 12");
  svg.setAttribute("width", "14");
  svg.setAttribute("height", "14");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ARROWS[way]);
  for (const [key, value] of Object.entries({ fill: "none", stroke: "currentColor", "stroke-width": "1.6", "stroke-linecap": "round", "stroke-linejoin": "round" })) path.setAttribute(key, value);
  svg.append(path);
  made.append(svg);
  made.addEventListener("click", act);
  return made;
}

function move(shelf, way) {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  shelf.scrollBy({ left: way * shelf.clientWidth * 0.8, behavior: calm ? "auto" : "smooth" });
}
