// The points of a map and who is where: places in a square of side 1, sorted into cells.

export const NOT_ON_OFFER = 64;
export const NOWHERE = 255;
const FULL = 65535;
const PER_CELL = 12;

export class Points {
  // As they are sent: see atlas.py.
  constructor(buffer) {
    const count = buffer.byteLength / 5;
    const right = new Uint16Array(buffer, 0, count);
    const down = new Uint16Array(buffer, 2 * count, count);
    this.colours = new Uint8Array(buffer, 4 * count, count);
    this.there = indices(this.colours);
    this.x = Float32Array.from(right, (value) => value / FULL);
    this.y = Float32Array.from(down, (value) => value / FULL);
    this.sort();
  }

  // On the way from one picture to another, 0 to 1. Until they have arrived nobody can be found by place.
  between(from, to, part) {
    for (const n of this.there) {
      this.x[n] = from.x[n] + part * (to.x[n] - from.x[n]);
      this.y[n] = from.y[n] + part * (to.y[n] - from.y[n]);
    }
  }

  // left, top, right, bottom of all of them.
  get bounds() {
    return boundsOf(this, this.there);
  }

  sort() {
    this.side = Math.max(1, Math.ceil(Math.sqrt(this.there.length / PER_CELL)));
    this.starts = new Uint32Array(this.side * this.side + 1);
    const cells = Uint32Array.from(this.there, (n) => this.cell(this.y[n]) * this.side + this.cell(this.x[n]));
    for (const cell of cells) this.starts[cell + 1] += 1;
    for (let n = 1; n < this.starts.length; n += 1) this.starts[n] += this.starts[n - 1];
    const next = this.starts.slice();
    this.order = new Uint32Array(cells.length);
    cells.forEach((cell, place) => (this.order[next[cell]++] = this.there[place]));
  }

  cell(value) {
    return Math.min(this.side - 1, Math.max(0, Math.floor(value * this.side)));
  }

  // Those in the cells that a rectangle touches: visit(from, to) of `order`, a row of cells at a time.
  within(left, top, right, bottom, visit) {
    const [first, last] = [this.cell(left), this.cell(right)];
    for (let row = this.cell(top); row <= this.cell(bottom); row += 1) {
      const [from, to] = [this.starts[row * this.side + first], this.starts[row * this.side + last + 1]];
      if (to > from) visit(from, to);
    }
  }

  // The nearest one that fits, at most so far away; -1 where there is none.
  nearest(x, y, far, fits) {
    let best = -1;
    let least = far * far;
    this.within(x - far, y - far, x + far, y + far, (from, to) => {
      for (let k = from; k < to; k += 1) {
        const n = this.order[k];
        const away = (this.x[n] - x) ** 2 + (this.y[n] - y) ** 2;
        if (away <= least && fits(n)) [best, least] = [n, away];
      }
    });
    return best;
  }
}

export function boundsOf(points, some) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const n of some) {
    left = Math.min(left, points.x[n]);
    right = Math.max(right, points.x[n]);
    top = Math.min(top, points.y[n]);
    bottom = Math.max(bottom, points.y[n]);
  }
  return { left, top, right, bottom };
}

function indices(colours) {
  const found = [];
  for (let n = 0; n < colours.length; n += 1) if (colours[n] !== NOWHERE) found.push(n);
  return Uint32Array.from(found);
}
