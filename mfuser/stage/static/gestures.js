// Mouse, touch and keyboard on the stage.

import { WHOLE, bounded, zoomed } from "./viewport.js";

const STEP = 0.02;
const clamp = (value) => Math.min(1, Math.max(0, value));

/**
 * @param {ReturnType<import("./stage.js").createStage>} stage
 * @param {ReturnType<import("./store.js").createStore>} store
 */
export function listen(stage, store) {
  const { canvas, handle } = stage;
  const touches = new Map(); // pointerId -> last place
  let pressed = null; // where a press began
  let pinch = null;
  let byTouch = false;

  const hoverAt = (event) => {
    const found = stage.locate(event.clientX, event.clientY);
    store.set({ hover: found ? { x: clamp(found.x), y: clamp(found.y), stream: found.pane.stream } : null });
    return found;
  };

  canvas.addEventListener("pointerdown", (event) => {
    byTouch = event.pointerType === "touch";
    touches.set(event.pointerId, event);
    pressed = { x: event.clientX, y: event.clientY, view: store.state.view, moved: false };
    if (touches.size === 2) {
      const [a, b] = [...touches.values()];
      pinch = { distance: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY), view: store.state.view };
    }
  });
  canvas.addEventListener("pointermove", (event) => {
    if (touches.has(event.pointerId)) touches.set(event.pointerId, event);
    if (event.pointerType === "mouse" && !event.buttons) pressed = null; // the button was released elsewhere
    if (pinch && touches.size === 2) {
      const [a, b] = [...touches.values()];
      const distance = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
      const at = stage.locate((a.clientX + b.clientX) / 2, (a.clientY + b.clientY) / 2);
      if (at) store.set({ view: zoomed(pinch.view, distance / pinch.distance, at) });
      pressed = null;
      return;
    }
    if (pressed && Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) > 5) pressed.moved = true;
    const found = hoverAt(event);
    if (pressed?.moved && store.state.view.scale > 1 && found) {
      const { view } = pressed;
      const dx = (event.clientX - pressed.x) / (found.clip.width * view.scale);
      const dy = (event.clientY - pressed.y) / (found.clip.height * view.scale);
      store.set({ view: bounded({ scale: view.scale, x: view.x - dx, y: view.y - dy }) });
    }
  });
  const release = (event) => {
    touches.delete(event.pointerId);
    if (touches.size < 2) pinch = null;
  };
  canvas.addEventListener("pointerup", (event) => {
    release(event);
    if (!pressed || pressed.moved) return;
    pressed = null;
    const found = hoverAt(event);
    if (!found || !store.state.picture) return;
    if (store.state.mode === "nine") {
      store.set({ mode: "single", model: found.pane.stream, layer: found.pane.layer });
      return;
    }
    pin(clamp(found.x), clamp(found.y), event.altKey ? -1 : 1, event.shiftKey || event.altKey);
  });
  canvas.addEventListener("pointercancel", (event) => {
    release(event);
    pressed = null;
  });
  canvas.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse") store.set({ hover: null });
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      const found = stage.locate(event.clientX, event.clientY);
      if (!found) return;
      const whole = store.state.view.scale <= 1;
      const pinching = event.ctrlKey || event.metaKey; // that of a touch pad too
      // The page scrolls on where there is nothing to zoom out of, and back up to its top.
      if (whole && (event.deltaY > 0 || (!pinching && window.scrollY > 0))) return;
      event.preventDefault();
      store.set({ view: zoomed(store.state.view, Math.exp(-event.deltaY / 400), found) });
    },
    { passive: false },
  );
  function pin(x, y, sign, add) {
    const point = { x, y, sign };
    const points = add ? [...store.state.points, point] : [point];
    store.set({ points, layer: "similarity", kept: null, isolated: null });
  }

  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const digits = { 1: "vfm", 2: "vlm", 3: "fused" };
  document.addEventListener("keydown", (event) => {
    const { hover, view } = store.state;
    const over = event.target === document.body && canvas.matches(":hover"); // the pointer is on the picture
    if ((event.target !== canvas && !over) || !store.state.picture) return;
    if (event.ctrlKey || event.metaKey) return;
    if (event.key in arrows) {
      const step = (event.shiftKey ? 5 : 1) * (STEP / view.scale);
      const from = hover ?? { x: 0.5, y: 0.5 };
      const [dx, dy] = arrows[event.key];
      store.set({ hover: { ...from, x: clamp(from.x + dx * step), y: clamp(from.y + dy * step) } });
    } else if (event.key === "Enter" && hover) pin(hover.x, hover.y, event.altKey ? -1 : 1, event.shiftKey || event.altKey);
    else if (event.key === "+" || event.key === "=") store.set({ view: zoomed(view, 1.5, hover ?? { x: 0.5, y: 0.5 }) });
    else if (event.key === "-") store.set({ view: zoomed(view, 1 / 1.5, hover ?? { x: 0.5, y: 0.5 }) });
    else if (event.key === "0") store.set({ view: WHOLE });
    else if (event.key === "Escape") store.set({ points: [], kept: null, isolated: null, view: WHOLE });
    else if (event.key in digits) store.set({ mode: "single", model: digits[event.key] });
    else if (event.key === " ") store.set({ peek: true });
    else if (event.key.toLowerCase() === "f") fullScreen(canvas.closest(".stage"));
    else return;
    event.preventDefault();
  });
  document.addEventListener("keyup", (event) => {
    if (event.key === " ") store.set({ peek: false });
  });
  canvas.addEventListener("blur", () => {
    // After a touch the reading stays: on a phone it is a panel, and what lies below must not move under the finger.
    store.set({ peek: false, hover: byTouch ? store.state.hover : null });
  });

  // The swipe's handle.
  handle.addEventListener("pointerdown", (event) => {
    handle.setPointerCapture(event.pointerId);
    event.preventDefault();
    handle.focus();
  });
  handle.addEventListener("pointermove", (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const box = canvas.getBoundingClientRect();
    const middle = stage.locate(box.left + box.width / 2, box.top + box.height / 2);
    if (!middle) return;
    store.set({ split: clamp((event.clientX - box.left - middle.clip.x) / middle.clip.width), hinted: true });
  });
  handle.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 0.1 : 0.02;
    const to = { ArrowLeft: store.state.split - step, ArrowRight: store.state.split + step, Home: 0, End: 1 }[event.key];
    if (to === undefined) return;
    store.set({ split: clamp(to), hinted: true });
    event.preventDefault();
  });
}

/** @param {HTMLElement} element */
export function fullScreen(element) {
  if (document.fullscreenElement) document.exitFullscreen();
  else element.requestFullscreen?.();
}
