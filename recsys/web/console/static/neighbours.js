// Whoever points at a neighbour sees it in all columns.

const places = [...document.querySelectorAll("[data-alike]")];

function mark(key) {
  for (const place of places) place.classList.toggle("alike", key !== null && place.dataset.alike === key);
}

for (const place of places) {
  for (const kind of ["pointerenter", "focus"]) place.addEventListener(kind, () => mark(place.dataset.alike));
  for (const kind of ["pointerleave", "blur"]) place.addEventListener(kind, () => mark(null));
}
