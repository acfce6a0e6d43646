// The annotation page: puts its parts together.

import { DraftSaver } from './draft.js';
import { listenToKeys } from './keys.js';
import { ImageList } from './list.js';
import { Marks, described, isMarked, isTaken, maskKey } from './marks.js';
import { Masks } from './masks.js';
import { followPointers } from './pointer.js';
import { ask, askJson, takeToken } from './requests.js';
import { View } from './view.js';

const OPENED = 'sampoll-annotate-image';
const $ = (id) => document.getElementById(id);

const stage = $('stage');
const view = new View(stage, $('canvas'));
const list = new ImageList(
  { list: $('list'), rows: $('rows'), counts: $('counts'), search: $('search'), unfinished: $('unfinished') },
  { onOpen: open, onTrouble: fail },
);
let about = null;
let image = null; // what the service says of the image that is open
let marks = null;
let masks = null;
let saver = null;
let wanted = null; // the image that is to be opened last
let isBusy = false;
let shownLabel = '';
let announced = null; // the key of the mask that people wait for
let saidLater; // the timer of what is said unless something else is said before

function say(text, isTrouble = false) {
  clearTimeout(saidLater);
  $('said').textContent = text;
  $('said').classList.toggle('trouble', isTrouble);
}

function fail(error) {
  if (error.name !== 'AbortError') say(error.message, true);
}

function wait(message) {
  say(`${message.charAt(0).toUpperCase()}${message.slice(1).replace(/: send it again later$/, '')} …`);
}

async function open(number, index) {
  wanted = { number, index };
  if (isBusy) return;
  isBusy = true;
  try {
    while (wanted) {
      const next = wanted;
      wanted = null;
      await openNow(next);
    }
  } catch (error) {
    fail(error);
  } finally {
    isBusy = false;
  }
}

async function openNow({ number, index }) {
  await saver?.settled();
  masks?.close();
  say('The image is being opened …');
  list.mark(number, index);
  let opened;
  let bitmap;
  try {
    opened = await askJson('GET', `images/${number}`);
    bitmap = await createImageBitmap(await (await ask('GET', `images/${number}/preview`)).blob());
  } catch (error) {
    close();
    throw error;
  }
  image = opened;
  sessionStorage.setItem(OPENED, JSON.stringify({ number, index: list.active }));
  begin(opened);
  view.marks = marks;
  view.masks = masks;
  view.show(opened, bitmap);
  showList(false);
  stage.focus({ preventScroll: true });
  say(`${opened.name}, ${opened.width} × ${opened.height} pixels. ${counted(marks.prompts.length, 'object')}.`);
  changedView();
  prepareNext(number).catch(() => {}); // the next one is only slower then
}

// What is marked in an image that was opened.
function begin(opened) {
  announced = null;
  saver = new DraftSaver(opened, () => marks.prompts, showSaved);
  marks = new Marks(opened.prompts, () => {
    announced = marks.prompt ? maskKey(marks.prompt) : null;
    changedView(); // the mask is asked for first: people wait for it
    saver.changed();
    list.note(opened.number, 'draft');
  });
  masks = new Masks(opened.image_sha256, about.kinds, {
    onMask: (key) => {
      // Only of what was marked last, and not in the place of an error.
      if (key === announced && !$('said').classList.contains('trouble')) say(sentenceOn(masks.kept.get(key)));
      changedView();
    },
    onTrouble: async (_, error) => {
      fail(error);
      if (error.code === 'image-unknown') await reopen();
      changedView();
    },
    onWait: wait,
  });
  $('saved').textContent = opened.revision ? 'This is a draft.' : '';
}

// Another window has shown many images meanwhile, and this one has to be read again.
async function reopen() {
  await askJson('GET', `images/${image.number}`);
  masks.failed.clear();
  masks.want(marks.prompts, marks.current);
}

function close() {
  image = marks = masks = saver = null;
  view.marks = view.masks = null;
  view.hide();
  showImage();
}

async function prepareNext(number) {
  const found = await askJson('GET', `images/${number}/neighbour?${list.question}`);
  if (found.image && image?.number === number) await ask('POST', `images/${found.image.number}/prepare`);
}

async function go(step) {
  if (!image) return;
  try {
    const question = list.question;
    question.set('step', step);
    const found = await askJson('GET', `images/${image.number}/neighbour?${question}`);
    if (found.image) await open(found.image.number, found.index);
    else say(step > 0 ? 'This is the last image.' : 'This is the first image.');
  } catch (error) {
    fail(error);
  }
}

async function done() {
  if (!image || isBusy) return;
  const { number } = image;
  takeLabel();
  isBusy = true;
  try {
    await saver.settled();
    const prompts = marks.complete();
    say('The prompt file is being written …');
    const body = saver.document(prompts);
    const written = await askJson('POST', `images/${number}/done`, { body });
    saver.revision = written.revision;
    saver.fileSha256 = written.file_sha256;
    list.note(number, 'done');
    $('saved').textContent = '';
    const files = written.files.length ? `, and ${written.files.join(', ')}` : '';
    const left = marks.prompts.length - prompts.length;
    const without = left ? ` ${counted(left, 'object')} without a mark left out.` : '';
    const message = `${written.prompt_file} is written${files}.${without}`;
    isBusy = false;
    if (written.trouble) {
      say(`${written.prompt_file} is written. ${written.trouble}`, true);
      return;
    }
    const question = list.question;
    const found = await askJson('GET', `images/${number}/neighbour?${question}`);
    if (found.image) await open(found.image.number, found.index);
    say(found.image ? `${message} Now: ${$('image-title').textContent}.` : `${message} This is the last image.`);
  } catch (error) {
    fail(error);
  } finally {
    isBusy = false;
  }
}

async function discard() {
  if (!image) return;
  const { number } = image;
  try {
    await saver.settled().catch(() => {}); // a draft that cannot be saved can be discarded
    await ask('DELETE', `images/${number}/draft`, { body: saver.document([]) });
    saver = null;
    await open(number);
    list.note(number, image.file_sha256 === null ? 'new' : 'done');
    say('The draft is discarded.');
  } catch (error) {
    fail(error);
  }
}

function sentenceOn(mask) {
  if (!mask.masks) return 'No mask: mark more.';
  const score = `score ${mask.score.toFixed(2)}`;
  return mask.masks === 1 ? `Mask, ${score}.` : `${mask.masks} masks, best ${score}.`;
}

function counted(count, what) {
  return count === 1 ? `1 ${what}` : `${count} ${what}s`;
}

function showSaved(state) {
  if (state === 'saving') $('saved').textContent = 'Saving the draft …';
  else if (state === 'saved') $('saved').textContent = 'The draft is saved.';
  else {
    $('saved').textContent = 'The draft is not saved.';
    fail(state);
  }
}

// After a change of what is marked or chosen.
function changedView() {
  masks?.want(marks.prompts, marks.current);
  view.draw();
  showImage();
}

function showImage() {
  $('image-title').textContent = image ? image.name : 'No image is open';
  stage.setAttribute('aria-label', image ? `The image ${image.name}` : 'No image is open');
  document.title = image ? `${image.name}: sampoll annotate` : 'sampoll annotate';
  $('notes').hidden = !image?.notes.length;
  $('notes').replaceChildren(...(image?.notes ?? []).map((note) => element('li', '', note)));
  $('undo').disabled = !marks?.before.length;
  $('redo').disabled = !marks?.after.length;
  for (const id of ['new', 'label', 'previous', 'next', 'done', 'discard', 'zoom-in', 'zoom-out', 'fit']) {
    $(id).disabled = !image;
  }
  showObjects();
  const label = $('label');
  if (document.activeElement !== label || label.value === shownLabel) {
    label.value = marks?.label ?? '';
    shownLabel = label.value;
  }
  const words = $('words');
  if (document.activeElement !== words) words.value = marks?.prompt?.text ?? '';
}

function showObjects() {
  const focused = document.activeElement?.dataset?.focus;
  $('object-list').replaceChildren(...(marks?.prompts ?? []).map(objectElement));
  if (focused) document.querySelector(`[data-focus="${focused}"]`)?.focus();
  const labels = new Set([...(image?.labels ?? []), ...(marks?.prompts ?? []).map((each) => each.label)]);
  $('labels').replaceChildren(
    ...[...labels].filter(Boolean).map((label) => Object.assign(document.createElement('option'), { value: label })),
  );
}

function objectElement(prompt, index) {
  const item = element('li', 'object');
  const choose = element('button', 'choose');
  choose.type = 'button';
  choose.dataset.focus = `choose-${index}`;
  choose.setAttribute('aria-current', index === marks.current);
  const mask = masks.of(prompt);
  const trouble = masks.troubleOf(prompt);
  let state = masks.isAwaited(prompt) ? '…' : '';
  if (!isTaken(prompt, about.kinds)) state = 'not for this model';
  else if (trouble) state = 'refused';
  else if (mask) state = mask.masks ? mask.score.toFixed(2) : 'no mask';
  choose.title = trouble ?? described(prompt);
  choose.append(
    element('span', `swatch colour-${index % 8}`),
    element('span', 'name', `${index + 1} ${prompt.label || prompt.text || 'object'}`),
    element('span', 'facts', isMarked(prompt) ? `${described(prompt)} ${state}` : 'nothing marked'),
  );
  choose.addEventListener('click', () => chooseObject(index));
  const remove = element('button', 'remove', '×');
  remove.type = 'button';
  remove.dataset.focus = `remove-${index}`;
  remove.setAttribute('aria-label', `Delete object ${index + 1}`);
  remove.addEventListener('click', () => removeObject(index));
  item.append(choose, remove);
  return item;
}

function element(name, className = '', text = '') {
  return Object.assign(document.createElement(name), { className, textContent: text });
}

function chooseObject(index) {
  if (!marks?.prompts.length) return;
  marks.choose(index);
  const { prompt } = marks;
  say(`Object ${marks.current + 1} of ${marks.prompts.length}: ${prompt.label || prompt.text || 'object'}, ${described(prompt)}.`);
  changedView();
}

function removeObject(index) {
  if (!marks?.prompts.length) return;
  marks.remove(index);
  say(`Object ${index + 1} is deleted.`);
}

const acts = {
  point(pixel, label) {
    if (!pixel) {
      say('This is outside the image.');
      return;
    }
    marks.addPoint(pixel.x, pixel.y, label);
    say(`${label ? 'Object' : 'Background'} point at ${pixel.x}, ${pixel.y}.`);
  },
  box(a, b) {
    view.corner = null;
    const box = view.boxBetween(a, b);
    if (!box) {
      say('This box has no part of the image.');
      view.draw();
      return;
    }
    marks.setBox(box);
    say(`Box from ${box.x0}, ${box.y0} to ${box.x1}, ${box.y1}.`);
  },
  corner(pixel) {
    if (!pixel) return;
    if (view.corner) {
      const { x, y } = view.corner;
      // Both pixels are inside.
      acts.box({ x: Math.min(x, pixel.x), y: Math.min(y, pixel.y) }, { x: Math.max(x, pixel.x) + 1, y: Math.max(y, pixel.y) + 1 });
    } else {
      view.corner = pixel;
      say(`First corner of a box at ${pixel.x}, ${pixel.y}: mark the opposite one, or press Escape.`);
      view.draw();
    }
  },
  undo() {
    say(marks?.undo() ? 'Undone.' : 'There is nothing to undo.');
  },
  redo() {
    say(marks?.redo() ? 'Done again.' : 'There is nothing to do again.');
  },
};

const tool = () => document.querySelector('input[name="tool"]:checked').value;

followPointers(stage, view, tool, {
  point: (x, y, label) => image && acts.point(view.pixelAt(x, y), label),
  corner: (x, y) => image && acts.corner(view.pixelAt(x, y)),
  band: (a, b) => {
    if (!image) return;
    view.band = view.boxBetween(view.toImage(a.x, a.y), view.toImage(b.x, b.y));
    view.draw();
  },
  noBand: () => {
    view.band = null;
    view.draw();
  },
  box: (a, b) => image && acts.box(view.toImage(a.x, a.y), view.toImage(b.x, b.y)),
});

listenToKeys(stage, () => image !== null, {
  tables: { stage: $('keys').tBodies[0], anywhere: $('anywhere').tBodies[0] },
  move: (x, y, isFine) => {
    view.isKeyboard = true;
    view.moveCross(x, y, isFine);
    clearTimeout(saidLater);
    saidLater = setTimeout(() => say(`Cross at ${view.cross.x}, ${view.cross.y}.`), 300);
  },
  pan: (x, y) => view.move(x, y),
  object: () => acts.point(view.cross, 1),
  background: () => acts.point(view.cross, 0),
  corner: () => acts.corner(view.cross),
  escape: () => {
    view.corner = null;
    say('The box is given up.');
    view.draw();
  },
  newObject: () => newObject(),
  remove: () => removeObject(marks.current),
  chooseNext: (step) => chooseObject((marks.current + step + marks.prompts.length) % marks.prompts.length),
  undo: acts.undo,
  redo: acts.redo,
  zoom: (factor) => {
    const { x, y } = view.toStage(view.cross.x, view.cross.y);
    if (view.isKeyboard) view.zoom(factor, x, y);
    else view.zoom(factor);
  },
  fit: () => view.fit(),
  label: () => $('label').focus(),
  words: () => !$('words-form').hidden && $('words').focus(),
  images: () => {
    showList(true);
    $('list').focus();
  },
  go,
  done,
  masks: () => {
    view.areMasksShown = !view.areMasksShown;
    say(view.areMasksShown ? 'Masks are shown.' : 'Masks are hidden.');
    view.draw();
  },
  help: () => $('help').showModal(),
});

// The label that a person has written. What was only shown stays as it is: a field has no line breaks.
function takeLabel() {
  const { value } = $('label');
  if (value === shownLabel) return;
  shownLabel = value;
  marks?.setLabel(value.trim());
}

// In a narrow window, the list takes the place of the image; in a wide one, it is always shown.
function showList(isShown) {
  $('folder').classList.toggle('closed', !isShown);
  $('show-images').setAttribute('aria-expanded', isShown);
}

function newObject() {
  if (!marks) return;
  marks.addObject();
  say(`Object ${marks.current + 1} is new: mark it.`);
}

const clicks = {
  undo: acts.undo,
  redo: acts.redo,
  fit: () => view.fit(),
  'zoom-in': () => view.zoom(1.5),
  'zoom-out': () => view.zoom(1 / 1.5),
  new: newObject,
  previous: () => go(-1),
  next: () => go(1),
  done,
  discard,
  'show-images': () => showList($('folder').classList.contains('closed')),
  'show-help': () => $('help').showModal(),
};
for (const [id, act] of Object.entries(clicks)) $(id).addEventListener('click', act);
$('label').addEventListener('change', takeLabel);
$('label').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' && event.key !== 'Escape') return;
  if (event.key === 'Escape') $('label').value = shownLabel;
  stage.focus();
});
$('words-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = $('words').value.trim();
  if (!text || !marks) return;
  marks.setWords(text);
  say(`Looking for “${text}” …`);
  stage.focus();
});
for (const input of document.querySelectorAll('input[name="tool"]')) {
  input.addEventListener('change', () => {
    view.corner = null;
    view.draw();
  });
}
stage.addEventListener('focus', () => view.draw());
stage.addEventListener('blur', () => view.draw());
window.addEventListener('pagehide', () => {
  takeLabel();
  saver?.flush();
});
window.addEventListener('beforeunload', (event) => {
  if (saver && !saver.isSaved) event.preventDefault();
});

async function start() {
  showImage();
  if (!takeToken()) {
    say('This page needs the whole address that the command has printed, with its token.', true);
    return;
  }
  try {
    about = await askJson('GET', 'about');
  } catch (error) {
    fail(error);
    return;
  }
  $('place').textContent = `${about.folder}, with ${about.model}${about.output ? `; results go to ${about.output}` : ''}`;
  $('words-form').hidden = !about.kinds.includes('text');
  $('label').maxLength = about.max_label_characters;
  $('words').maxLength = about.max_text_characters;
  if (about.needs_box) $('stage-help').prepend('Begin with a box around the object. ');
  await list.renew();
  const last = JSON.parse(sessionStorage.getItem(OPENED) ?? 'null');
  const first = last ?? (list.row(0) && { number: list.row(0).number, index: 0 });
  if (first) await open(first.number, first.index);
  else if (list.isComplete) say('There are no images in this folder.', true);
}

start();
