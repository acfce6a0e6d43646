// The objects of an image: documents of prompts, as in a prompt file, with undo and redo.

const STEPS = 200;
const ALONE = ['text', 'everything'];
const PLACED = ['points', 'box', 'mask', 'everything', 'text'];

export class Marks {
  // `onChange` is called after each change of the prompts.
  constructor(prompts, onChange) {
    this.prompts = prompts.map((prompt) => structuredClone(prompt));
    this.current = Math.max(0, this.prompts.length - 1);
    this.onChange = onChange;
    this.before = [];
    this.after = [];
  }

  get prompt() {
    return this.prompts[this.current];
  }

  get label() {
    return this.prompt?.label ?? '';
  }

  // A point at image pixels: label 1 on the object, 0 on the background.
  addPoint(x, y, label) {
    this.change(() => {
      const prompt = this.placeable();
      prompt.points = [...(prompt.points ?? []), { x, y, label }];
    });
  }

  setBox(box) {
    this.change(() => {
      this.placeable().box = box;
    });
  }

  setWords(text) {
    this.change(() => {
      const label = this.prompt?.label;
      const isFree = this.prompt && (!isMarked(this.prompt) || this.prompt.text !== undefined);
      if (!isFree) this.append(label === undefined ? {} : { label });
      this.prompt.text = text;
    });
  }

  setLabel(label) {
    if (label === this.label) return;
    this.change(() => {
      if (!this.prompt) this.append({});
      if (label) this.prompt.label = label;
      else delete this.prompt.label;
    });
  }

  addObject() {
    this.change(() => this.append({}));
  }

  remove(index) {
    this.change(() => {
      this.prompts.splice(index, 1);
      if (this.current >= index) this.current = Math.max(0, this.current - 1);
    });
  }

  choose(index) {
    this.current = Math.min(Math.max(0, index), Math.max(0, this.prompts.length - 1));
  }

  undo() {
    return this.exchange(this.before, this.after);
  }

  redo() {
    return this.exchange(this.after, this.before);
  }

  // Those that have something marked, as a prompt file takes them.
  complete() {
    return this.prompts.filter(isMarked);
  }

  change(act) {
    this.before.push(this.state());
    if (this.before.length > STEPS) this.before.shift();
    this.after = [];
    act();
    this.onChange();
  }

  exchange(from, to) {
    const state = from.pop();
    if (state === undefined) return false;
    to.push(this.state());
    ({ prompts: this.prompts, current: this.current } = JSON.parse(state));
    this.onChange();
    return true;
  }

  state() {
    return JSON.stringify({ prompts: this.prompts, current: this.current });
  }

  append(prompt) {
    this.prompts.push(prompt);
    this.current = this.prompts.length - 1;
  }

  // The current object if places can be marked on it: what is named by words, or everything, is an object
  // of its own.
  placeable() {
    if (!this.prompt || ALONE.some((kind) => this.prompt[kind] != null)) this.append({});
    return this.prompt;
  }
}

export function isMarked(prompt) {
  return PLACED.some((kind) => prompt[kind] != null && prompt[kind].length !== 0);
}

// What the mask of an object depends on, as text; null if nothing is marked.
export function maskKey(prompt) {
  if (!isMarked(prompt)) return null;
  const { label, id, ...marked } = prompt;
  return JSON.stringify(marked);
}

// Whether a model that takes these kinds of prompts takes this one.
export function isTaken(prompt, kinds) {
  return [...PLACED, 'refine'].every((kind) => !prompt[kind] || prompt[kind].length === 0 || kinds.includes(kind));
}

export function described(prompt) {
  const points = prompt.points ?? [];
  const parts = [];
  if (prompt.text != null) parts.push(`“${prompt.text}”`);
  if (prompt.everything != null) parts.push('everything');
  if (prompt.mask != null) parts.push('mask');
  if (prompt.box != null) parts.push('box');
  if (points.length) parts.push(points.length === 1 ? '1 point' : `${points.length} points`);
  return parts.join(', ') || 'nothing marked';
}
