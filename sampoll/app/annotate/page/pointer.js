// Mouse, pen and fingers on the stage, as acts: a point, a box, a move, a zoom.

const DRAG_PIXELS = 5;

// `acts`: point(x, y, label), corner(x, y), band(a, b), box(a, b), noBand(); places are CSS pixels of the
// stage. `tool` returns what a click marks.
export function followPointers(stage, view, tool, acts) {
  const pointers = new Map();
  let gesture = null;
  let isSpaceHeld = false;

  const place = (event) => {
    const frame = stage.getBoundingClientRect();
    return { x: event.clientX - frame.left - stage.clientLeft, y: event.clientY - frame.top - stage.clientTop };
  };
  const two = () => {
    const [a, b] = [...pointers.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, distance: Math.hypot(a.x - b.x, a.y - b.y) };
  };

  stage.addEventListener('pointerdown', (event) => {
    view.isKeyboard = false;
    stage.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
    if (pointers.size === 2) {
      acts.noBand();
      gesture = { kind: 'pinch', last: two() };
    } else if (pointers.size === 1) {
      const moves = event.button === 1 || tool() === 'move' || isSpaceHeld;
      if (event.button > 2) return;
      gesture = { kind: moves ? 'move' : 'mark', button: event.button, start: place(event), last: place(event) };
    }
    if (event.button === 1) event.preventDefault();
  });

  stage.addEventListener('pointermove', (event) => {
    if (!gesture || !pointers.has(event.pointerId)) return;
    const here = place(event);
    pointers.set(event.pointerId, here);
    if (gesture.kind === 'pinch' && pointers.size === 2) {
      const now = two();
      view.move(now.x - gesture.last.x, now.y - gesture.last.y);
      view.zoom(now.distance / Math.max(1, gesture.last.distance), now.x, now.y);
      gesture.last = now;
    } else if (gesture.kind === 'move') {
      view.move(here.x - gesture.last.x, here.y - gesture.last.y);
      gesture.last = here;
    } else if (gesture.kind === 'mark' && gesture.button === 0) {
      const way = Math.hypot(here.x - gesture.start.x, here.y - gesture.start.y);
      gesture.isDrag ||= way > DRAG_PIXELS;
      if (gesture.isDrag) acts.band(gesture.start, here);
    }
  });

  const end = (event, isDone) => {
    const ended = gesture;
    pointers.delete(event.pointerId);
    if (pointers.size === 0) gesture = null;
    if (!ended || ended.kind !== 'mark') return;
    const here = place(event);
    acts.noBand();
    if (!isDone) return;
    if (ended.isDrag) acts.box(ended.start, here);
    else if (ended.button === 2) acts.point(here.x, here.y, 0);
    else if (tool() === 'box') acts.corner(here.x, here.y);
    else acts.point(here.x, here.y, tool() === 'background' ? 0 : 1);
  };
  stage.addEventListener('pointerup', (event) => end(event, true));
  stage.addEventListener('pointercancel', (event) => end(event, false));
  stage.addEventListener('contextmenu', (event) => event.preventDefault());
  stage.addEventListener('wheel', (event) => {
    event.preventDefault();
    const { x, y } = place(event);
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY / 100 : event.deltaY / 3;
    view.zoom(1.2 ** -Math.max(-4, Math.min(4, lines)), x, y);
  }, { passive: false });
  stage.addEventListener('keydown', (event) => {
    if (event.key === ' ') {
      isSpaceHeld = true;
      event.preventDefault();
    }
  });
  stage.addEventListener('keyup', (event) => {
    if (event.key === ' ') isSpaceHeld = false;
  });
  stage.addEventListener('blur', () => {
    isSpaceHeld = false;
  });
}
