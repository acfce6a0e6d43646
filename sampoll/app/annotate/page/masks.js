// The masks of the objects of an image: asked for when what is marked changes, and kept for undo and redo.

import { ask } from './requests.js';
import { isTaken, maskKey } from './marks.js';

const KEPT = 300;
const OTHERS_AT_ONCE = 2;

export class Masks {
  // For a model that takes these kinds of prompts. `onMask` is called with the key of a mask that has come,
  // `onTrouble` with a key and an error.
  constructor(imageSha256, kinds, { onMask, onTrouble, onWait }) {
    this.path = `masks/${imageSha256}`;
    this.kinds = kinds;
    this.kept = new Map();
    this.asked = new Map();
    this.failed = new Map();
    Object.assign(this, { onMask, onTrouble, onWait });
  }

  of(prompt) {
    return this.kept.get(maskKey(prompt));
  }

  troubleOf(prompt) {
    return this.failed.get(maskKey(prompt));
  }

  isAwaited(prompt) {
    return this.asked.has(maskKey(prompt));
  }

  // Asks for the masks of these prompts that are not known, that of the current one first, and withdraws what
  // is no longer wanted.
  want(prompts, current) {
    const keys = prompts.map((prompt) => (isTaken(prompt, this.kinds) ? maskKey(prompt) : null));
    for (const [key, controller] of this.asked) if (!keys.includes(key)) controller.abort();
    const unknown = (key) => key && !this.kept.has(key) && !this.asked.has(key) && !this.failed.has(key);
    if (unknown(keys[current])) this.ask(keys[current]);
    for (const key of keys) {
      if (this.asked.size > OTHERS_AT_ONCE) break;
      if (unknown(key)) this.ask(key);
    }
    this.again = () => this.want(prompts, current);
  }

  close() {
    this.again = undefined;
    for (const controller of this.asked.values()) controller.abort();
  }

  async ask(key) {
    const controller = new AbortController();
    this.asked.set(key, controller);
    try {
      const options = { body: JSON.parse(key), signal: controller.signal, onWait: this.onWait };
      const response = await ask('POST', this.path, options);
      const place = JSON.parse(response.headers.get('X-Mask'));
      const bitmap = await createImageBitmap(await response.blob());
      this.kept.set(key, { ...place, bitmap, tinted: new Map() });
      if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
      this.asked.delete(key);
      this.onMask(key);
    } catch (error) {
      this.asked.delete(key);
      if (error.name === 'AbortError') return;
      this.failed.set(key, error.message);
      this.onTrouble(key, error);
    }
    this.again?.();
  }
}

// The mask as a canvas in a colour [r, g, b], its edge opaque.
export function tinted(mask, colour) {
  const name = colour.join();
  if (!mask.tinted.has(name)) mask.tinted.set(name, drawn(mask.bitmap, colour));
  return mask.tinted.get(name);
}

function drawn(bitmap, [red, green, blue]) {
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const pixels = context.getImageData(0, 0, width, height);
  const values = new Uint32Array(pixels.data.buffer); // little-endian: alpha, blue, green, red
  const isOn = values.map((value) => value & 1);
  const inside = ((100 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  const edge = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  for (let y = 0, index = 0; y < height; y += 1) {
    const isBorder = y === 0 || y === height - 1;
    for (let x = 0; x < width; x += 1, index += 1) {
      if (!isOn[index]) values[index] = 0;
      else if (isBorder || x === 0 || x === width - 1) values[index] = edge;
      else values[index] = isOn[index - 1] & isOn[index + 1] & isOn[index - width] & isOn[index + width] ? inside : edge;
    }
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}
