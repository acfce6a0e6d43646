// The list of images: only the rows in sight exist, so that a folder of any size opens at once.

import { askJson } from './requests.js';

const ROW_PIXELS = 32;
const PART = 100;
const WORDS = { new: '', draft: 'draft', done: 'done' };

export class ImageList {
  // `onOpen` is called with the row that is chosen, `onTrouble` with an error.
  constructor({ list, rows, counts, search, unfinished }, { onOpen, onTrouble }) {
    Object.assign(this, { list, rows, counts, search, unfinished, onOpen, onTrouble });
    this.parts = new Map();
    this.asked = new Set();
    this.total = 0;
    this.active = 0;
    this.opened = null;
    list.addEventListener('scroll', () => this.draw());
    list.addEventListener('keydown', (event) => this.key(event));
    rows.addEventListener('click', (event) => {
      const element = event.target.closest('.image');
      if (element) this.open(Number(element.dataset.index));
    });
    let timer;
    search.addEventListener('input', () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.renew(), 150);
    });
    unfinished.addEventListener('change', () => this.renew());
    new ResizeObserver(() => this.draw()).observe(list);
  }

  // What is looked for, as a part of an address.
  get question() {
    return new URLSearchParams({ search: this.search.value, unfinished: this.unfinished.checked });
  }

  async renew() {
    this.parts.clear();
    this.asked.clear();
    this.active = 0;
    this.list.scrollTop = 0;
    await this.load(0);
  }

  // Shows an image as the opened one, and scrolls to it.
  mark(number, index) {
    this.opened = number;
    if (index !== undefined) {
      this.active = index;
      const top = index * ROW_PIXELS;
      const isAbove = top < this.list.scrollTop;
      if (isAbove || top + ROW_PIXELS > this.list.scrollTop + this.list.clientHeight) {
        this.list.scrollTop = top - (isAbove ? 0 : this.list.clientHeight - ROW_PIXELS);
      }
    }
    this.draw();
  }

  // Enters how far an image is.
  note(number, progress) {
    for (const part of this.parts.values()) {
      for (const row of part) {
        if (row.number === number && row.progress !== progress) {
          if (this.all) this.all.done += (progress === 'done') - (row.progress === 'done');
          row.progress = progress;
        }
      }
    }
    this.draw();
  }

  row(index) {
    return this.parts.get(Math.floor(index / PART))?.[index % PART];
  }

  async open(index) {
    const row = this.row(index);
    if (!row) return;
    this.active = index;
    await this.onOpen(row.number, index);
  }

  async load(part) {
    if (this.asked.has(part)) return;
    this.asked.add(part);
    const question = this.question;
    const wanted = `${question}`;
    try {
      question.set('first', part * PART);
      question.set('count', PART);
      const found = await askJson('GET', `images?${question}`);
      if (wanted !== `${this.question}`) return;
      this.total = found.total;
      this.all = found.all;
      this.isComplete = found.is_complete;
      this.parts.set(part, found.images);
      if (!found.is_complete) {
        this.asked.delete(part);
        this.load(part);
      }
    } catch (error) {
      this.asked.delete(part);
      this.onTrouble(error);
    }
    this.draw();
  }

  draw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.drawNow();
    });
  }

  drawNow() {
    this.rows.style.height = `${this.total * ROW_PIXELS}px`;
    const first = Math.max(0, Math.floor(this.list.scrollTop / ROW_PIXELS) - 3);
    const last = Math.min(this.total, Math.ceil((this.list.scrollTop + this.list.clientHeight) / ROW_PIXELS) + 3);
    for (let part = Math.floor(first / PART); part * PART < last; part += 1) {
      if (!this.parts.has(part)) this.load(part);
    }
    const elements = [];
    for (let index = first; index < last; index += 1) elements.push(this.element(index));
    this.rows.replaceChildren(...elements);
    if (this.row(this.active)) this.list.setAttribute('aria-activedescendant', `image-${this.active}`);
    else this.list.removeAttribute('aria-activedescendant');
    this.counts.textContent = this.sentence();
  }

  element(index) {
    const row = this.row(index);
    const element = document.createElement('div');
    element.className = index === this.active ? 'image active' : 'image';
    element.style.top = `${index * ROW_PIXELS}px`;
    element.id = `image-${index}`;
    element.dataset.index = index;
    element.setAttribute('role', 'option');
    element.setAttribute('aria-posinset', index + 1);
    element.setAttribute('aria-setsize', this.total);
    element.setAttribute('aria-selected', row !== undefined && row.number === this.opened);
    const name = document.createElement('span');
    name.className = 'name';
    name.textContent = row?.name ?? '…';
    element.title = row?.name ?? '';
    const progress = document.createElement('span');
    progress.className = 'progress';
    progress.textContent = row ? WORDS[row.progress] : '';
    element.append(name, progress);
    return element;
  }

  sentence() {
    if (!this.all) return '';
    if (!this.isComplete) return 'The folder is being read.';
    const found = this.total === this.all.images ? '' : `${this.total} found, `;
    return `${found}${this.all.images} images, ${this.all.done} done`;
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.list.clientHeight / ROW_PIXELS) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.total, End: this.total };
    if (event.key === 'Enter' || event.key === ' ') this.open(this.active);
    else if (event.key in steps) {
      this.mark(this.opened, Math.min(this.total - 1, Math.max(0, this.active + steps[event.key])));
    } else return;
    event.preventDefault();
  }
}
