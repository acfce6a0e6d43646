// How the image lies in the stage, and all that is drawn there. Three frames: image pixels, as in prompts;
// pixels of the preview; and CSS pixels of the stage.

import { tinted } from './masks.js';

export const COLOURS = [
  [76, 201, 240], [255, 93, 158], [255, 209, 102], [6, 214, 160],
  [179, 136, 255], [255, 159, 28], [165, 216, 106], [255, 107, 107],
];
const MOST = 40;
const MARGIN = 8;

export class View {
  constructor(stage, canvas) {
    Object.assign(this, { stage, canvas });
    this.context = canvas.getContext('2d');
    this.image = null;
    this.scale = 1;
    this.left = 0;
    this.top = 0;
    this.cross = null;
    this.band = null;
    this.corner = null;
    this.areMasksShown = true;
    this.isWaiting = false;
    new ResizeObserver(() => this.resized()).observe(stage);
  }

  // Shows an image: what `open` of the service says of it, and its preview as a bitmap.
  show(opened, bitmap) {
    this.image?.bitmap.close();
    this.image = { ...opened, bitmap };
    this.columns = opened.preview_width / opened.width;
    this.rows = opened.preview_height / opened.height;
    this.band = this.corner = null;
    this.cross = { x: Math.floor(opened.width / 2), y: Math.floor(opened.height / 2) };
    this.fit();
  }

  hide() {
    this.image?.bitmap.close();
    this.image = null;
    this.draw();
  }

  fit() {
    if (!this.image) return;
    const { clientWidth, clientHeight } = this.stage;
    const { preview_width: width, preview_height: height } = this.image;
    this.scale = Math.min((clientWidth - 2 * MARGIN) / width, (clientHeight - 2 * MARGIN) / height);
    this.scale = Math.max(0.01, Math.min(MOST, this.scale));
    this.left = (clientWidth - width * this.scale) / 2;
    this.top = (clientHeight - height * this.scale) / 2;
    this.isFitted = true;
    this.draw();
  }

  resized() {
    if (this.isFitted) this.fit();
    else this.draw();
  }

  // Enlarges by `factor` around a place of the stage, by default its middle.
  zoom(factor, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    const scale = Math.max(0.01, Math.min(MOST, this.scale * factor));
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.isFitted = false;
    this.draw();
  }

  move(x, y) {
    this.left += x;
    this.top += y;
    this.isFitted = false;
    this.draw();
  }

  // Image pixels at a place of the stage; may lie outside the image.
  toImage(x, y) {
    return { x: (x - this.left) / this.scale / this.columns, y: (y - this.top) / this.scale / this.rows };
  }

  toStage(x, y) {
    return { x: this.left + x * this.columns * this.scale, y: this.top + y * this.rows * this.scale };
  }

  // The pixel of the image at such a place; null outside.
  pixelAt(x, y) {
    if (!this.image) return null;
    const place = this.toImage(x, y);
    const pixel = { x: Math.floor(place.x), y: Math.floor(place.y) };
    return pixel.x >= 0 && pixel.y >= 0 && pixel.x < this.image.width && pixel.y < this.image.height ? pixel : null;
  }

  // The box between two places in image pixels, cut to the image; null if nothing is left.
  boxBetween(a, b) {
    const cut = (value, most) => Math.min(most, Math.max(0, Math.round(value)));
    const { width, height } = this.image;
    const [x0, x1] = [a.x, b.x].map((x) => cut(x, width)).sort((p, q) => p - q);
    const [y0, y1] = [a.y, b.y].map((y) => cut(y, height)).sort((p, q) => p - q);
    return x0 < x1 && y0 < y1 ? { x0, y0, x1, y1 } : null;
  }

  // Moves the cross of the keyboard by CSS pixels, or to the next pixel of the image, and keeps it in sight.
  moveCross(x, y, isFine) {
    const { width, height } = this.image;
    const step = (way, scale) => (isFine ? Math.sign(way) : Math.sign(way) * Math.max(1, Math.abs(way) / scale));
    const cut = (value, most) => Math.min(most - 1, Math.max(0, Math.round(value)));
    this.cross = {
      x: cut(this.cross.x + step(x, this.scale * this.columns), width),
      y: cut(this.cross.y + step(y, this.scale * this.rows), height),
    };
    const place = this.toStage(this.cross.x, this.cross.y);
    const beyond = (value, most) => Math.min(0, value - 24) + Math.max(0, value - most + 24);
    const out = { x: beyond(place.x, this.stage.clientWidth), y: beyond(place.y, this.stage.clientHeight) };
    if (out.x || out.y) this.move(-out.x, -out.y);
    else this.draw();
  }

  // Draws in the next frame. `marks` and `masks` are those of the image.
  draw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.drawNow();
    });
  }

  drawNow() {
    const { context, canvas, stage, image } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(stage.clientWidth * ratio), Math.round(stage.clientHeight * ratio)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!image) return;
    context.setTransform(ratio * this.scale, 0, 0, ratio * this.scale, ratio * this.left, ratio * this.top);
    context.imageSmoothingEnabled = this.scale * ratio < 2;
    context.drawImage(image.bitmap, 0, 0);
    if (this.areMasksShown) this.drawMasks();
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.drawMarks();
  }

  drawMasks() {
    this.marks?.prompts.forEach((prompt, index) => {
      const mask = this.masks?.of(prompt);
      if (!mask || !mask.masks) return;
      this.context.globalAlpha = index === this.marks.current ? 1 : 0.7;
      this.context.drawImage(tinted(mask, COLOURS[index % COLOURS.length]), mask.left, mask.top);
    });
    this.context.globalAlpha = 1;
  }

  drawMarks() {
    this.marks?.prompts.forEach((prompt, index) => {
      const isCurrent = index === this.marks.current;
      if (prompt.box) this.drawBox(prompt.box, isCurrent, COLOURS[index % COLOURS.length]);
      for (const point of prompt.points ?? []) this.drawPoint(point, isCurrent);
    });
    if (this.band) this.drawBox(this.band, true, [255, 255, 255]);
    if (this.corner) this.drawPoint({ ...this.corner, label: 1 }, true);
    if (this.cross && document.activeElement === this.stage && this.isKeyboard) this.drawCross();
  }

  drawBox({ x0, y0, x1, y1 }, isCurrent, colour) {
    const [a, b] = [this.toStage(x0, y0), this.toStage(x1, y1)];
    for (const [style, width] of [['#000a', 4], [`rgb(${colour.join()})`, isCurrent ? 2 : 1]]) {
      this.context.strokeStyle = style;
      this.context.lineWidth = width;
      this.context.strokeRect(a.x, a.y, b.x - a.x, b.y - a.y);
    }
  }

  // A plus on the object, a minus on the background.
  drawPoint({ x, y, label }, isCurrent) {
    const place = this.toStage(x + 0.5, y + 0.5);
    const { context } = this;
    const radius = isCurrent ? 7 : 5;
    context.beginPath();
    context.arc(place.x, place.y, radius, 0, 2 * Math.PI);
    context.fillStyle = label ? '#0b7a3e' : '#b3122c';
    context.fill();
    context.lineWidth = 2;
    context.strokeStyle = '#fff';
    context.stroke();
    context.beginPath();
    context.moveTo(place.x - radius / 2, place.y);
    context.lineTo(place.x + radius / 2, place.y);
    if (label) {
      context.moveTo(place.x, place.y - radius / 2);
      context.lineTo(place.x, place.y + radius / 2);
    }
    context.stroke();
  }

  drawCross() {
    const place = this.toStage(this.cross.x + 0.5, this.cross.y + 0.5);
    for (const [style, width] of [['#000', 4], ['#fff', 1.5]]) {
      this.context.strokeStyle = style;
      this.context.lineWidth = width;
      this.context.beginPath();
      for (const [x, y] of [[-1, 0], [1, 0], [0, -1], [0, 1]]) {
        this.context.moveTo(place.x + 4 * x, place.y + 4 * y);
        this.context.lineTo(place.x + 16 * x, place.y + 16 * y);
      }
      this.context.stroke();
    }
  }
}
