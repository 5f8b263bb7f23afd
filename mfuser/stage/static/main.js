// Puts the stage together. A page brings a backend: the app asks its server, a gallery reads files.

import { createBubble } from "./bubble.js";
import { readBundle } from "./bundle.js";
import { readColourMap } from "./colours.js";
import { createCommandLine } from "./commandline.js";
import { listen } from "./gestures.js";
import { mountInside } from "./inside.js";
import { readLink } from "./link.js";
import { createRail } from "./rail.js";
import { createStage } from "./stage.js";
import { createStore } from "./store.js";
import { createStrip } from "./strip.js";
import { createTools } from "./tools.js";
import { mountTruth } from "./truth.js";
import { WHOLE, bounded } from "./viewport.js";

/**
 * @typedef {object} State
 * @property {import("./bundle.js").Picture | null} picture
 * @property {ImageBitmap | null} preview of a photograph that is being analysed
 * @property {"swipe" | "triple" | "nine" | "single"} mode
 * @property {string} left @property {string} right of the swipe
 * @property {string} model of a single pane
 * @property {string} layer
 * @property {number} opacity 0..1
 * @property {{id: string, text: string, vectors: Record<string, number[][]>} | null} text
 * @property {{x: number, y: number, sign: 1 | -1}[]} points pinned
 * @property {{x: number, y: number, stream?: string} | null} hover
 * @property {boolean} following similarity to the patch under the pointer
 * @property {number | null} isolated class that alone is shown
 * @property {number | null} kept class that a click isolated
 * @property {import("./viewport.js").View} view
 * @property {number} split of the swipe, 0..1
 * @property {boolean} peek at the bare photograph
 *
 * @typedef {object} Backend
 * @property {import("./strip.js").Entry[]} examples
 * @property {string} heat colour map
 * @property {(entry: import("./strip.js").Entry, tell: (text: string) => void, signal: AbortSignal) => Promise<ArrayBuffer>} analyse
 * @property {(picture: import("./bundle.js").Picture, text: string) => Promise<any>} lookFor
 * @property {((picture: import("./bundle.js").Picture) => string)} [zip] address of a picture's files
 * @property {((file: File) => Promise<import("./strip.js").Entry>) | null} upload
 * @property {(picture: import("./bundle.js").Picture) => Promise<ArrayBuffer>} [inside] the fusion, block by block
 * @property {(picture: import("./bundle.js").Picture, file: File, kind: string) => Promise<ArrayBuffer>} [truth]
 */

/** Where to cut so that as many differing pixels lie on the left as on the right: the handle begins on what differs. */
function middleOfDifferences({ masks, width }, { left, right }) {
  const [a, b] = [masks[left], masks[right]];
  if (!a || !b) return 0.5;
  const columns = new Float64Array(width);
  let total = 0;
  for (let i = 0; i < a.length; i++) {
    if (a[i] === b[i]) continue;
    columns[i % width] += 1;
    total += 1;
  }
  let sum = 0;
  for (let x = 0; x < width; x++) {
    sum += columns[x];
    if (total && sum >= total / 2) return Math.min(0.9, Math.max(0.1, x / width));
  }
  return 0.5;
}

/** @param {HTMLElement} root @param {Backend} backend */
export function mount(root, backend) {
  const asked = readLink(window.location.hash);
  const store = createStore(
    /** @type {State} */ ({
      picture: null,
      preview: null,
      mode: "swipe",
      left: "vfm",
      right: "fused",
      model: "fused",
      layer: "masks",
      opacity: 0.6,
      text: null,
      points: [],
      hover: null,
      following: false,
      isolated: null,
      kept: null,
      split: 0.5,
      peek: false,
      hinted: false,
      ...asked.change,
      view: bounded(asked.change.view ?? WHOLE),
    }),
  );
  const element = root.querySelector(".stage");
  const stage = createStage(element, store, readColourMap(backend.heat));
  const status = root.querySelector(".stage-status");
  const notice = root.querySelector(".stage-notice");
  const hint = root.querySelector(".stage-hint");
  const cancel = root.querySelector(".stage-cancel");
  listen(stage, store);
  createBubble(root.querySelector(".bubble"), stage, store);
  const command = createCommandLine(root.querySelector(".command"), store, stage, (text) =>
    backend.lookFor(store.state.picture, text),
  );
  createRail(root.querySelector(".rail"), store, command.lookFor);
  mountInside(root.querySelector(".drawer-inside"), store, { heat: readColourMap(backend.heat), fetch: backend.inside });
  mountTruth(root.querySelector(".drawer-truth"), store, backend.truth);

  let running = null; // AbortController of the analysis under way
  let current = null; // entry shown

  async function open(entry, keep = false) {
    running?.abort();
    const mine = (running = new AbortController());
    current = entry;
    notice.textContent = "";
    // Never an old result under a new picture.
    const reset = keep ? {} : { points: [], text: null, view: WHOLE };
    store.set({ picture: null, preview: null, hover: null, ...reset });
    status.textContent = "Reading the photograph";
    cancel.hidden = false;
    element.setAttribute("aria-busy", "true");
    preview(entry, mine.signal);
    try {
      const buffer = await backend.analyse(entry, (text) => (status.textContent = text), mine.signal);
      const picture = await readBundle(buffer);
      if (mine.signal.aborted) return;
      store.set({ picture, ...(keep && asked.change.split !== undefined ? {} : { split: middleOfDifferences(picture, store.state) }) });
      status.textContent = "";
      const verb = window.matchMedia("(pointer: coarse)").matches ? "Tap" : "Click";
      hint.textContent = `${store.state.mode === "swipe" ? "Drag the handle. " : ""}${verb} anything.`;
      hint.hidden = store.state.hinted || store.state.points.length > 0;
    } catch (error) {
      if (mine.signal.aborted) return;
      notice.textContent = error.message || String(error);
      status.textContent = "";
      if (entry.file && entry.seen === false) strip.remove(entry.id);
    } finally {
      if (running === mine) {
        running = null;
        cancel.hidden = true;
        element.removeAttribute("aria-busy");
      }
    }
  }

  async function preview(entry, signal) {
    try {
      const image = new Image();
      image.src = entry.preview ?? entry.thumbnail;
      await image.decode();
      const bitmap = await createImageBitmap(image);
      entry.seen = true;
      if (!signal.aborted && !store.state.picture) store.set({ preview: bitmap });
    } catch {
      entry.seen = false; // what browsers do not show, such as TIFF or HEIC: the server's answer brings the picture
    }
  }

  cancel.addEventListener("click", () => {
    running?.abort();
    running = null;
    cancel.hidden = true;
    element.removeAttribute("aria-busy");
    status.textContent = "";
    notice.textContent = "Cancelled. Choose a picture to go on.";
  });

  let count = 0;
  const strip = createStrip(root.querySelector(".strip"), backend.examples, {
    choose: (entry) => open(entry),
    upload: backend.upload
      ? (file, shown) => {
          const thumbnail = URL.createObjectURL(file);
          const entry = { id: `own-${(count += 1)}`, title: file.name, thumbnail, preview: thumbnail, file };
          strip.add(entry);
          if (!shown) return;
          strip.mark(entry.id);
          open(entry);
        }
      : null,
  });
  createTools(root, stage, store, {
    zip: backend.zip,
    name: () => current?.title ?? "mfuser",
    example: () => backend.examples.find((one) => one.id === current?.id)?.id ?? null,
  });
  store.on(["hinted", "points", "following", "text", "mode", "layer"], () => (hint.hidden = true));

  const first = backend.examples.find((one) => one.id === asked.example) ?? backend.examples[0];
  if (first) {
    strip.mark(first.id);
    open(first, true).then(() => {
      if (asked.query && !store.state.points.length) command.lookFor(asked.query);
    });
  } else status.textContent = "Drop a photograph to begin.";
  // A link pasted into the address of an open page is a new visit.
  window.addEventListener("hashchange", () => window.location.hash.includes("=") && window.location.reload());
  return { store, stage, command, again: () => current && open(current, true) };
}
