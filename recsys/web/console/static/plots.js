// Draws what `data-figure` holds. Style variables in a figure ("--accent") become this moment's colours.

const calm = { displayModeBar: false, responsive: true, doubleClick: false, scrollZoom: false };

function painted(value, style) {
  if (typeof value === "string") return value.startsWith("--") ? style.getPropertyValue(value).trim() : value;
  if (Array.isArray(value)) return value.map((part) => painted(part, style));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, painted(part, style)]));
}

export function draw(place) {
  const figure = JSON.parse(place.dataset.figure);
  place.querySelector(".holds")?.remove();
  const { data, layout } = painted(figure, getComputedStyle(document.documentElement));
  return window.Plotly.react(place, data, layout, calm);
}

function drawAll() {
  for (const place of document.querySelectorAll(".plot[data-figure]")) draw(place);
}

drawAll();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
