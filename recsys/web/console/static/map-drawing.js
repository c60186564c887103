// Draws points into pixels by hand: a hundred thousand discs by the canvas's own means would take seconds.

import { NOT_ON_OFFER } from "./map-points.js";

const PALE = 0.4; // Of what is not on offer.
const FAINT = 0.17; // Of what is not looked at.
const SHARPEST = 2; // Device pixels for one of the page: more cannot be seen, and take time.
const NOTHING = 0; // No colour at all: black has an alpha.
const LARGER = 1.25; // What is looked at, beside the others.
const SLOW_MS = 14;
const LATE = 3; // So many pictures in a row that take longer: while it moves, they are drawn coarser.

export class Drawing {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    this.stamps = new Map();
    this.coarse = false;
    this.late = 0;
    this.slow = false;
  }

  // The room there is, in pixels of the page.
  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    Object.assign(this, { width, height });
    this.ratio = this.coarse ? 1 : Math.min(SHARPEST, window.devicePixelRatio || 1);
    this.canvas.width = Math.max(1, Math.round(width * this.ratio));
    this.canvas.height = Math.max(1, Math.round(height * this.ratio));
    this.image = this.context.createImageData(this.canvas.width, this.canvas.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  // colours: of the legend, in its order, as "rgb(1, 2, 3)". A table has a colour for each byte of `points.colours`.
  colour(ground, ink, colours) {
    this.ground = packed(ground);
    this.ink = ink;
    const toned = (part) => colours.map((one) => mixed(this.ground, packed(one), part));
    const [full, pale, faint] = [1, PALE, FAINT].map(toned);
    this.full = table((code) => (code & NOT_ON_OFFER ? pale : full)[code & ~NOT_ON_OFFER]);
    this.faint = table((code) => faint[code & ~NOT_ON_OFFER]);
  }

  // look: { hits: points that a search found, or null; chosen: colours looked at, none for all;
  //         ringed: points with a ring; moving; unsorted: nobody can be found by place }
  draw(points, view, look) {
    const began = performance.now();
    this.sharpen(look.moving);
    this.pixels.fill(this.ground);
    const radius = view.radius(points.there.length);
    const [usual, larger] = [1, LARGER].map((times) => this.stamp(radius * this.ratio * times));
    const isChosen = (code) => look.chosen.has(code & ~NOT_ON_OFFER);
    if (look.hits) {
      this.all(points, view, usual, this.faint, look.unsorted);
      this.some(points, view, larger, this.full, Uint32Array.from(look.hits));
    } else if (look.chosen.size) {
      this.all(points, view, usual, table((code) => (isChosen(code) ? NOTHING : this.faint[code])), look.unsorted);
      this.all(points, view, larger, table((code) => (isChosen(code) ? this.full[code] : NOTHING)), look.unsorted);
    } else this.all(points, view, usual, this.full, look.unsorted);
    this.context.putImageData(this.image, 0, 0);
    for (const n of look.ringed) this.ring(view.at(points.x[n], points.y[n]), radius + 3.5);
    this.late = look.moving && performance.now() - began > SLOW_MS ? this.late + 1 : 0;
    this.slow ||= this.late >= LATE;
  }

  sharpen(moving) {
    const coarse = Boolean(moving && this.slow && window.devicePixelRatio > 1);
    if (coarse === this.coarse) return;
    this.coarse = coarse;
    this.resize();
  }

  // All points in sight.
  all(points, view, stamp, colours, unsorted) {
    if (unsorted) {
      this.some(points, view, stamp, colours, points.there);
      return;
    }
    const margin = stamp.side / (view.zoom * this.ratio);
    const [wide, high] = [this.width / 2 / view.zoom + margin, this.height / 2 / view.zoom + margin];
    points.within(view.x - wide, view.y - high, view.x + wide, view.y + high, (from, to) =>
      this.some(points, view, stamp, colours, points.order.subarray(from, to)),
    );
  }

  some(points, view, stamp, colours, some) {
    const { x, y, colours: codes } = points;
    const { pixels, image } = this;
    const { width, height } = image;
    const zoom = view.zoom * this.ratio;
    const left = width / 2 - view.x * zoom - stamp.half;
    const top = height / 2 - view.y * zoom - stamp.half;
    const [right, bottom] = [width - stamp.side, height - stamp.side];
    const placed = this.placed(stamp);
    for (let k = 0; k < some.length; k += 1) {
      const n = some[k];
      const colour = colours[codes[n]];
      if (colour === NOTHING) continue;
      const column = Math.round(left + x[n] * zoom);
      const row = Math.round(top + y[n] * zoom);
      if (column >= 0 && row >= 0 && column <= right && row <= bottom) put(pixels, row * width + column, placed, colour);
      else putPart(image, pixels, stamp, column, row, colour);
    }
  }

  // A disc: how much of each pixel it covers, of 256.
  stamp(radius) {
    const key = Math.round(radius * 8);
    if (!this.stamps.has(key)) this.stamps.set(key, disc(key / 8));
    return this.stamps.get(key);
  }

  // The same as places in this picture, counted from the first one's.
  placed(stamp) {
    if (stamp.width === this.image.width) return stamp;
    const [solid, edge, alpha] = [[], [], []];
    stamp.cover.forEach((part, n) => {
      const place = Math.floor(n / stamp.side) * this.image.width + (n % stamp.side);
      if (part === 256) solid.push(place);
      else if (part > 0) {
        edge.push(place);
        alpha.push(part);
      }
    });
    return Object.assign(stamp, {
      width: this.image.width,
      solid: Int32Array.from(solid),
      edge: Int32Array.from(edge),
      alpha: Int32Array.from(alpha),
    });
  }

  ring([x, y], radius) {
    const { context } = this;
    context.save();
    context.scale(this.ratio, this.ratio);
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.lineWidth = 2;
    context.strokeStyle = this.ink;
    context.stroke();
    context.restore();
  }
}

function put(pixels, start, { solid, edge, alpha }, colour) {
  for (let k = 0; k < solid.length; k += 1) pixels[start + solid[k]] = colour;
  const blueRed = colour & 0xff00ff;
  const green = colour & 0xff00;
  for (let k = 0; k < edge.length; k += 1) {
    const place = start + edge[k];
    const there = pixels[place];
    const part = alpha[k];
    const rest = 256 - part;
    pixels[place] =
      0xff000000 |
      (((Math.imul(there & 0xff00ff, rest) + Math.imul(blueRed, part)) >>> 8) & 0xff00ff) |
      (((Math.imul(there & 0xff00, rest) + Math.imul(green, part)) >>> 8) & 0xff00);
  }
}

// At the edge of the picture, where a part of it is out of sight.
function putPart({ width, height }, pixels, stamp, left, top, colour) {
  for (let n = 0; n < stamp.cover.length; n += 1) {
    const [column, row] = [left + (n % stamp.side), top + Math.floor(n / stamp.side)];
    if (!stamp.cover[n] || column < 0 || row < 0 || column >= width || row >= height) continue;
    const place = row * width + column;
    pixels[place] = mixed(pixels[place], colour, stamp.cover[n] / 256);
  }
}

function table(colourOf) {
  return Uint32Array.from({ length: 2 * NOT_ON_OFFER }, (_, code) => colourOf(code) ?? NOTHING);
}

function disc(radius) {
  const side = Math.max(1, Math.ceil(2 * radius));
  const middle = (side - 1) / 2;
  const cover = [];
  for (let n = 0; n < side * side; n += 1) {
    const away = Math.hypot((n % side) - middle, Math.floor(n / side) - middle);
    cover.push(Math.round(256 * Math.min(1, Math.max(0, radius + 0.5 - away))));
  }
  return { side, half: side / 2, cover };
}

// Colours as the bytes of a pixel lie in memory: alpha, blue, green, red from the highest one down.
function packed(text) {
  const [red, green, blue] = text.match(/[\d.]+/g).map(Number);
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

function mixed(one, other, part) {
  const channel = (shift) => {
    const [a, b] = [(one >>> shift) & 255, (other >>> shift) & 255];
    return Math.round(a + part * (b - a)) << shift;
  };
  return ((255 << 24) | channel(16) | channel(8) | channel(0)) >>> 0;
}
