// Draws the picture and its layers on one canvas. Nothing here asks a server.

import { createLayers } from "./layers.js";
import { heightFor, panesOf } from "./panes.js";
import { placed } from "./viewport.js";

/**
 * @param {HTMLElement} root the stage, with a canvas and a place for labels
 * @param {ReturnType<import("./store.js").createStore>} store
 * @param {Uint8Array} heat colour map
 */
export function createStage(root, store, heat) {
  const canvas = root.querySelector("canvas");
  const labels = root.querySelector(".stage-labels");
  const handle = root.querySelector(".swipe-handle");
  const context = canvas.getContext("2d");
  let layers = null;
  let photo = null;
  let panes = [];
  let waiting = false;
  let number = 0; // pictures shown so far

  const size = () => ({ width: canvas.clientWidth, height: canvas.clientHeight });
  let lastAspect = 2; // kept until the next picture is known, so that the stage does not jump
  const aspect = () => {
    const shown = store.state.picture ?? store.state.preview;
    if (shown) lastAspect = shown.width / shown.height;
    return lastAspect;
  };

  function query() {
    const { hover, following, points, text } = store.state;
    return { hover: following && hover ? { x: hover.x, y: hover.y } : null, points, text };
  }

  function draw() {
    waiting = false;
    const started = performance.now();
    const { state } = store;
    const { width, height } = size();
    const ratio = window.devicePixelRatio || 1;
    const wide = Math.round(width * ratio);
    const high = Math.round(height * ratio);
    if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const streams = state.picture?.header.streams ?? ["fused"];
    panes = panesOf(state, streams, width, height);
    for (const pane of panes) drawPane(pane);
    if (state.hover && panes.length > 1 && !panes[0].half) for (const pane of panes) cross(pane, state.hover, false);
    for (const point of state.points) for (const pane of panes) if (pane.half !== "right") cross(pane, point, true);
    place();
    root.dataset.drawn = String(Number(root.dataset.drawn ?? 0) + 1);
    root.dataset.milliseconds = (performance.now() - started).toFixed(2);
  }

  function drawPane(pane) {
    const { state } = store;
    const at = placed(pane, state.view, aspect());
    const edge = at.clip.x + state.split * at.clip.width;
    context.save();
    context.beginPath();
    if (pane.half === "left") context.rect(at.clip.x, at.clip.y, edge - at.clip.x, at.clip.height);
    else if (pane.half === "right") context.rect(edge, at.clip.y, at.clip.x + at.clip.width - edge, at.clip.height);
    else context.rect(at.clip.x, at.clip.y, at.clip.width, at.clip.height);
    context.clip();
    const shown = photo ?? state.preview;
    if (shown) {
      context.imageSmoothingEnabled = true;
      context.imageSmoothingQuality = "high";
      context.drawImage(shown, at.x, at.y, at.width, at.height);
    }
    const bare = state.peek || pane.stream === "photo" || !layers;
    const wanted = state.isolated !== null && state.mode !== "nine" ? "masks" : pane.layer;
    const layer = bare ? null : layers.get(wanted, pane.stream, { query: query(), isolated: state.isolated });
    if (layer) {
      if (layer.veil) {
        context.fillStyle = `rgb(0 0 0 / ${layer.veil})`;
        context.fillRect(at.x, at.y, at.width, at.height);
      }
      context.globalAlpha = state.opacity;
      context.imageSmoothingEnabled = layer.smooth;
      context.drawImage(layer.canvas, at.x, at.y, at.width, at.height);
      context.globalAlpha = 1;
    }
    context.restore();
  }

  function cross(pane, { x, y, sign = 1 }, pinned) {
    const at = placed(pane, store.state.view, aspect());
    const cx = at.x + x * at.width;
    const cy = at.y + y * at.height;
    const inside = cx >= at.clip.x && cx <= at.clip.x + at.clip.width && cy >= at.clip.y && cy <= at.clip.y + at.clip.height;
    if (!inside) return;
    context.beginPath();
    context.arc(cx, cy, pinned ? 7 : 4, 0, 2 * Math.PI);
    context.lineWidth = 3;
    context.strokeStyle = "rgb(0 0 0 / 0.65)";
    context.stroke();
    context.lineWidth = 1.5;
    context.strokeStyle = sign < 0 ? "#ff6b6b" : "#ffffff";
    context.stroke();
  }

  // Labels and the handle lie above the canvas as elements: text stays crisp and can be read aloud.
  function place() {
    const { state } = store;
    const key = panes.map((pane) => `${pane.label}${pane.x},${pane.y},${pane.width},${pane.height},${aspect()}`).join();
    if (labels.dataset.key !== key) {
      labels.dataset.key = key;
      labels.replaceChildren(
        ...panes.map((pane) => {
          const label = document.createElement("span");
          label.className = `stage-label ${pane.stream} ${pane.half ?? ""}`;
          label.textContent = pane.label;
          const at = placed(pane, { scale: 1, x: 0.5, y: 0.5 }, aspect()).clip;
          label.style.top = `${at.y + 8}px`;
          label.style.maxWidth = `${(pane.half ? 0.5 : 1) * at.width - 16}px`;
          if (pane.half === "right") label.style.right = `${size().width - at.x - at.width + 8}px`;
          else label.style.left = `${at.x + 8}px`;
          return label;
        }),
      );
    }
    canvas.style.touchAction = state.view.scale > 1 ? "none" : "pan-y";
    handle.hidden = state.mode !== "swipe" || !state.picture;
    if (!handle.hidden) {
      const { clip } = placed(panes[0], state.view, aspect());
      Object.assign(handle.style, {
        left: `${clip.x + state.split * clip.width}px`,
        top: `${clip.y}px`,
        height: `${clip.height}px`,
      });
      handle.setAttribute("aria-valuenow", String(Math.round(100 * state.split)));
    }
  }

  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(draw);
  }

  function resize() {
    root.parentElement.classList.toggle("wide", store.state.mode === "triple");
    const full = document.fullscreenElement === root;
    const part = full ? 1 : window.innerWidth < 700 && store.state.mode !== "triple" ? 0.55 : 0.72;
    const most = Math.max(200, Math.round(window.innerHeight * part));
    canvas.style.height = `${heightFor(store.state.mode, root.clientWidth, aspect(), most)}px`;
    redraw();
  }

  async function show(picture) {
    layers = photo = null;
    delete root.dataset.shown;
    if (!picture) return resize();
    const decoded = await createImageBitmap(new Blob([picture.photo], { type: "image/jpeg" }));
    if (store.state.picture !== picture) return; // another one was chosen meanwhile
    layers = createLayers(picture, heat);
    photo = decoded;
    root.dataset.shown = String((number += 1));
    resize();
  }

  store.on(["picture"], ({ picture }) => show(picture));
  store.on(["preview", "mode"], resize);
  store.on(
    ["left", "right", "model", "layer", "opacity", "text", "points", "following", "isolated", "view", "split", "peek"],
    redraw,
  );
  store.on(["hover"], ({ mode, following }) => {
    if (following || mode === "triple" || mode === "nine") redraw(); // nowhere else is the pointer drawn
  });
  new ResizeObserver(resize).observe(root);
  resize();

  return {
    canvas,
    handle,
    redraw,
    /** The pane and the place in the picture (0..1) under a point of the page; null outside. */
    locate(clientX, clientY) {
      const box = canvas.getBoundingClientRect();
      const px = clientX - box.left;
      const py = clientY - box.top;
      for (const pane of panes) {
        const at = placed(pane, store.state.view, aspect());
        const { clip } = at;
        if (px < clip.x || py < clip.y || px >= clip.x + clip.width || py >= clip.y + clip.height) continue;
        const right = px >= clip.x + store.state.split * clip.width;
        if (pane.half && (pane.half === "right") !== right) continue;
        return { pane, clip, x: (px - at.x) / at.width, y: (py - at.y) / at.height };
      }
      return null;
    },
    /** Where a place of the picture lies on the canvas, in the pane that is hovered or else the first. */
    placeOf({ x, y, stream }) {
      const pane = panes.find((one) => one.stream === stream) ?? panes[0];
      if (!pane) return null;
      const at = placed(pane, store.state.view, aspect());
      return { x: at.x + x * at.width, y: at.y + y * at.height };
    },
    /** Similarity of each patch of a stream to what is asked now; null where the model cannot answer. */
    field: (stream) => layers?.field(stream, query()) ?? null,
  };
}
