// What of the map is in sight, and how fingers, wheels and keys move it.

const MARGIN = 32;
const TOP = 66;
const CLOSEST = 60; // Times as large as the whole.
const STEP = 1.6;
const GLIDE_MS = 180;
const STILL = 5; // Pixels that a finger may tremble.
const TWICE_MS = 320;

export const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class View {
  constructor(drawing, changed) {
    Object.assign(this, { drawing, changed, x: 0.5, y: 0.5, zoom: 1, whole: 1, gliding: 0 });
  }

  // Where a place on the map is on the screen, and the other way round.
  at(x, y) {
    const { width, height } = this.drawing;
    return [width / 2 + (x - this.x) * this.zoom, height / 2 + (y - this.y) * this.zoom];
  }

  under(left, top) {
    const { width, height } = this.drawing;
    return [this.x + (left - width / 2) / this.zoom, this.y + (top - height / 2) / this.zoom];
  }

  // Of a point: larger where there are few, and where they are looked at closely.
  radius(count) {
    const { width, height } = this.drawing;
    const usual = Math.min(6, Math.max(1, 0.3 * Math.sqrt((width * height) / Math.max(1, count))));
    return Math.min(10, usual * Math.sqrt(Math.max(1, this.zoom / this.whole)));
  }

  // All of this in sight, below what stands at the top.
  sightOf({ left, top, right, bottom }, margin = MARGIN) {
    const { width, height } = this.drawing;
    const above = Math.max(margin, TOP);
    const room = [Math.max(40, width - 2 * margin), Math.max(40, height - above - margin)];
    const zoom = Math.min(room[0] / Math.max(right - left, 1e-6), room[1] / Math.max(bottom - top, 1e-6));
    return { x: (left + right) / 2, y: (top + bottom) / 2 - (above - margin) / 2 / zoom, zoom };
  }

  // The whole map, which from now on is as small as it gets.
  fit(bounds) {
    const sight = this.sightOf(bounds);
    this.whole = Math.min(sight.zoom, 4 * Math.max(this.drawing.width, this.drawing.height));
    this.all = { ...sight, zoom: this.whole };
    Object.assign(this, this.all);
  }

  limited(zoom) {
    return Math.min(this.whole * CLOSEST, Math.max(this.whole * 0.7, zoom));
  }

  // So many times as close; what is at this place of the screen stays there.
  closer(times, left = this.drawing.width / 2, top = this.drawing.height / 2) {
    const [x, y] = this.under(left, top);
    const zoom = this.limited(this.zoom * times);
    const { width, height } = this.drawing;
    return { zoom, x: x - (left - width / 2) / zoom, y: y - (top - height / 2) / zoom };
  }

  aside(right, down) {
    return { zoom: this.zoom, x: this.x + right / this.zoom, y: this.y + down / this.zoom };
  }

  jump(sight) {
    this.gliding += 1;
    Object.assign(this, sight, { x: Math.min(1, Math.max(0, sight.x)), y: Math.min(1, Math.max(0, sight.y)) });
    this.changed();
  }

  glide(sight) {
    const end = { ...sight, zoom: this.limited(sight.zoom) };
    if (calm.matches) return this.jump(end);
    this.gliding += 1;
    const [turn, from, began] = [this.gliding, { x: this.x, y: this.y, zoom: this.zoom }, performance.now()];
    const step = (now) => {
      if (turn !== this.gliding) return;
      const part = Math.min(1, Math.max(0, (now - began) / GLIDE_MS));
      const zoom = from.zoom * (end.zoom / from.zoom) ** part;
      // The place that stays where it is on the screen stays there all the way.
      const way = end.zoom === from.zoom ? part : (1 / from.zoom - 1 / zoom) / (1 / from.zoom - 1 / end.zoom);
      Object.assign(this, { zoom, x: from.x + way * (end.x - from.x), y: from.y + way * (end.y - from.y) });
      if (part === 1) Object.assign(this, end);
      this.changed();
      if (part < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }
}

// told: { over(left, top, touched), opens(left, top) -> whether it does, left(), keyed(), entered() }
export function listen(canvas, view, told) {
  const fingers = new Map();
  let start = null;
  let tapped = { time: -Infinity, left: 0, top: 0 };

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    start = fingers.size === 1 ? { at: place(event), moved: false } : { at: null, moved: true };
  });

  canvas.addEventListener("pointermove", (event) => {
    const now = place(event);
    const before = fingers.get(event.pointerId);
    if (!before) {
      told.over(...now, false);
      return;
    }
    if (fingers.size === 1 && !start.moved && Math.hypot(now[0] - start.at[0], now[1] - start.at[1]) < STILL) return;
    if (!start.moved) {
      start.moved = true;
      canvas.classList.add("moving");
      told.left();
    }
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    fingers.set(event.pointerId, now);
    if (other) pinch(before, now, other);
    else view.jump(view.aside(before[0] - now[0], before[1] - now[1]));
  });

  function pinch(before, now, other) {
    const [was, is] = [before, now].map((one) => Math.hypot(one[0] - other[0], one[1] - other[1]));
    view.jump(view.closer(is / Math.max(1, was), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2));
    view.jump(view.aside((before[0] - now[0]) / 2, (before[1] - now[1]) / 2));
  }

  function lifted(event) {
    if (!fingers.delete(event.pointerId)) return;
    canvas.classList.remove("moving");
    if (event.type === "pointercancel" || start.moved) return;
    const [left, top] = place(event);
    const again = event.timeStamp - tapped.time < TWICE_MS && Math.hypot(left - tapped.left, top - tapped.top) < 24;
    tapped = { time: again ? -Infinity : event.timeStamp, left, top };
    if (event.pointerType === "mouse") {
      if (told.opens(left, top)) return;
    } else told.over(left, top, true);
    if (again) view.glide(view.closer(2, left, top));
  }
  canvas.addEventListener("pointerup", lifted);
  canvas.addEventListener("pointercancel", lifted);
  canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && told.left());

  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
      const turned = Math.min(200, Math.max(-200, event.deltaY * lines)) * (event.ctrlKey ? 4 : 1);
      view.jump(view.closer(Math.exp(-turned / 420), ...place(event)));
    },
    { passive: false },
  );

  const moves = {
    "+": () => view.closer(STEP),
    "=": () => view.closer(STEP),
    "-": () => view.closer(1 / STEP),
    0: () => view.all,
    Home: () => view.all,
    ArrowLeft: () => view.aside(-80, 0),
    ArrowRight: () => view.aside(80, 0),
    ArrowUp: () => view.aside(0, -80),
    ArrowDown: () => view.aside(0, 80),
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter") told.entered();
    else if (event.key === "Escape") told.left();
    else if (moves[event.key]) {
      event.preventDefault();
      view.glide(moves[event.key]());
      told.keyed();
    }
  });

  for (const button of document.querySelectorAll("[data-zoom]")) {
    const sight = { in: moves["+"], out: moves["-"], all: moves.Home }[button.dataset.zoom];
    button.addEventListener("click", () => view.glide(sight()));
  }
}
