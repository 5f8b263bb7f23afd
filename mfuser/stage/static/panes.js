// How the canvas is divided: which model and which layer each pane shows.

/**
 * @typedef {{x: number, y: number, width: number, height: number, stream: string, layer: string, label: string,
 *   half?: "left" | "right"}} Pane stream "photo" is the photograph alone. half: of a swipe, which both cover all
 */

const GAP = 6;
const NARROW = 600; // pixels: below it three models stand under each other
const SHORT = { photo: "Photo", vfm: "VFM", vlm: "VLM", fused: "MFuser" };
export const TITLES = { photo: "Photograph", vfm: "VFM only", vlm: "VLM only", fused: "MFuser" };

/**
 * @param {import("./main.js").State} state
 * @param {string[]} streams that the picture has
 * @param {number} width of the canvas
 * @param {number} height of the canvas
 * @returns {Pane[]}
 */
export function panesOf(state, streams, width, height) {
  const all = { x: 0, y: 0, width, height };
  const pane = (box, stream, layer, more) => ({ ...box, stream, layer, label: labelOf(state, box, stream, layer), ...more });
  if (state.mode === "swipe") {
    return [
      pane(all, state.left, state.layer, { half: "left" }),
      pane(all, state.right, state.layer, { half: "right" }),
    ];
  }
  if (state.mode === "triple") {
    const divide = width < NARROW ? rows : columns;
    return divide(all, streams).map(([box, stream]) => pane(box, stream, state.layer));
  }
  if (state.mode === "nine") {
    return rows(all, ["features", "similarity", "masks"]).flatMap(([row, layer]) =>
      columns(row, streams).map(([box, stream]) => pane(box, stream, layer)),
    );
  }
  return [pane(all, state.model, state.layer)];
}

function columns(box, streams) {
  const width = (box.width - GAP * (streams.length - 1)) / streams.length;
  return streams.map((stream, i) => [{ ...box, x: box.x + i * (width + GAP), width }, stream]);
}

function rows(box, names) {
  const height = (box.height - GAP * (names.length - 1)) / names.length;
  return names.map((name, i) => [{ ...box, y: box.y + i * (height + GAP), height }, name]);
}

/** What stands on a pane: its model, and why nothing is painted where the model cannot answer. */
function labelOf({ mode, text, points, following, isolated }, { width }, stream, layer) {
  const title = width < 150 ? SHORT[stream] : TITLES[stream];
  if (mode === "nine") return width < 190 ? title : `${title}, ${layer}`;
  const words = text && !points.length && !following && isolated === null;
  return layer === "similarity" && stream === "vfm" && words ? `${title}: knows no words` : title;
}

/** Height of the stage for a width, so that nothing jumps when a picture comes. */
export function heightFor(mode, width, aspect, most) {
  const across = width < NARROW ? (3 * width) / aspect : width / 3 / aspect;
  const fit = { triple: across, nine: width / aspect }[mode] ?? width / aspect;
  return Math.round(Math.min(most, Math.max(160, fit)));
}
