// How the canvas is divided: which model and which layer each pane shows.

/**
 * @typedef {{x: number, y: number, width: number, height: number, stream: string, layer: string, label: string,
 *   half?: "left" | "right"}} Pane stream "photo" is the photograph alone. half: of a swipe, which both cover all
 */

const GAP = 6;
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
  const pane = (box, stream, layer, more) => ({ ...box, stream, layer, label: TITLES[stream], ...more });
  if (state.mode === "swipe") {
    return [
      pane(all, state.left, state.layer, { half: "left" }),
      pane(all, state.right, state.layer, { half: "right" }),
    ];
  }
  if (state.mode === "triple") return columns(all, streams).map(([box, stream]) => pane(box, stream, state.layer));
  if (state.mode === "nine") {
    const rows = ["features", "similarity", "masks"];
    const each = (height - GAP * (rows.length - 1)) / rows.length;
    return rows.flatMap((layer, row) =>
      columns({ x: 0, y: row * (each + GAP), width, height: each }, streams).map(([box, stream]) =>
        pane(box, stream, layer),
      ),
    );
  }
  return [pane(all, state.model, state.layer)];
}

function columns(box, streams) {
  const width = (box.width - GAP * (streams.length - 1)) / streams.length;
  return streams.map((stream, i) => [{ ...box, x: box.x + i * (width + GAP), width }, stream]);
}

/** Height of the stage for a width, so that nothing jumps when a picture comes. */
export function heightFor(mode, width, aspect, most) {
  const fit = { triple: width / 3 / aspect, nine: width / aspect }[mode] ?? width / aspect;
  return Math.round(Math.min(most, Math.max(160, fit)));
}
