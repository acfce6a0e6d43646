// The keys: one table, of which the help is made too.

const STEP_PIXELS = 16;
const PAN_PIXELS = 80;

// `acts` are called by the keys that are listed here; `tables` are where the help has them.
export function listenToKeys(stage, isOpen, acts) {
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  // Single letters act only while the image has the focus, so that no word that is typed elsewhere acts.
  const onStage = [
    [['Arrows'], 'move the cross; with Shift, by one pixel of the image; with Ctrl, move the image'],
    [['Enter', 'o'], 'a point on the object, at the cross', acts.object],
    [['b'], 'a point on the background, at the cross', acts.background],
    [['x'], 'a corner of a box, at the cross; then the opposite one', acts.corner],
    [['Escape'], 'give up a box that has one corner', acts.escape],
    [['n'], 'a new object', acts.newObject],
    [['Delete', 'Backspace'], 'delete the object', acts.remove],
    [[']'], 'the next object', () => acts.chooseNext(1)],
    [['['], 'the object before', () => acts.chooseNext(-1)],
    [['l'], 'write the label; Enter leads back to the image', acts.label],
    [['w'], 'write words to look for, where the model takes them', acts.words],
    [['u'], 'undo', acts.undo],
    [['r'], 'redo', acts.redo],
    [['+', '='], 'zoom in', () => acts.zoom(1.5)],
    [['-'], 'zoom out', () => acts.zoom(1 / 1.5)],
    [['0'], 'the whole image', acts.fit],
    [['m'], 'hide masks, or show them', acts.masks],
    [['PageDown', '.'], 'the next image', () => acts.go(1)],
    [['PageUp', ','], 'the image before', () => acts.go(-1)],
    [['d'], 'done: write the prompt file, and go to the next image', acts.done],
    [['i'], 'the list of images', acts.images],
    [['?'], 'these keys', acts.help],
  ];
  const anywhere = [
    [['Ctrl+Z'], 'undo', acts.undo],
    [['Ctrl+Y', 'Ctrl+Shift+Z'], 'redo', acts.redo],
    [['Ctrl+Enter'], 'done', acts.done],
    [['F1'], 'these keys', acts.help],
  ];
  write(acts.tables.stage, onStage);
  write(acts.tables.anywhere, anywhere);

  stage.addEventListener('keydown', (event) => {
    if (event.altKey || event.metaKey || event.defaultPrevented) return;
    const arrow = arrows[event.key];
    if (arrow && isOpen()) {
      const [x, y] = arrow;
      if (event.ctrlKey) acts.pan(-x * PAN_PIXELS, -y * PAN_PIXELS);
      else acts.move(x * STEP_PIXELS, y * STEP_PIXELS, event.shiftKey);
      event.preventDefault();
      return;
    }
    if (event.ctrlKey) return;
    const found = onStage.find(([keys]) => keys.includes(event.key));
    if (!found?.[2] || !(isOpen() || event.key === '?' || event.key === 'i')) return;
    event.preventDefault();
    found[2]();
  });

  document.addEventListener('keydown', (event) => {
    if (document.querySelector('dialog[open]')) return;
    const isText = event.target.matches?.('input:not([type="radio"]):not([type="checkbox"])');
    const name = [event.ctrlKey && 'Ctrl', event.shiftKey && 'Shift', event.key.length === 1 ? event.key.toUpperCase() : event.key];
    const found = anywhere.find(([keys]) => keys.includes(name.filter(Boolean).join('+')));
    // Text has an undo of its own.
    if (!found || event.defaultPrevented || (isText && /Z|Y/.test(event.key.toUpperCase()) && event.ctrlKey)) return;
    event.preventDefault();
    if (isOpen() || event.key === 'F1') found[2]();
  });
}

function write(table, keys) {
  for (const [names, what] of keys) {
    const row = table.insertRow();
    const head = document.createElement('th');
    head.scope = 'row';
    names.forEach((name, index) => {
      if (index) head.append(' or ');
      head.append(Object.assign(document.createElement('kbd'), { textContent: name }));
    });
    row.append(head);
    row.insertCell().textContent = what;
  }
}
