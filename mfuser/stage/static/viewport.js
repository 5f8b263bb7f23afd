// Which part of the picture the panes show: linked in all of them.

/** @typedef {{scale: number, x: number, y: number}} View scale 1 shows all; x, y: place in 0..1 at the pane's middle */

export const WHOLE = { scale: 1, x: 0.5, y: 0.5 };
export const MOST = 16;

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** The same view, moved so that the picture fills the pane. @param {View} view @returns {View} */
export function bounded({ scale, x, y }) {
  const s = clamp(scale, 1, MOST);
  const half = 0.5 / s;
  return { scale: s, x: clamp(x, half, 1 - half), y: clamp(y, half, 1 - half) };
}

/** Zoom so that one place stays where it is. @param {View} view @param {number} factor @param {{x: number, y: number}} at */
export function zoomed(view, factor, at) {
  const scale = clamp(view.scale * factor, 1, MOST);
  const kept = view.scale / scale;
  return bounded({ scale, x: at.x + (view.x - at.x) * kept, y: at.y + (view.y - at.y) * kept });
}

/**
 * Where the whole picture lies for a pane.
 * @param {{x: number, y: number, width: number, height: number}} pane
 * @param {View} view
 * @param {number} aspect width / height of the picture
 */
export function placed(pane, view, aspect) {
  const width = Math.min(pane.width, pane.height * aspect);
  const height = width / aspect;
  const w = width * view.scale;
  const h = height * view.scale;
  return {
    x: pane.x + pane.width / 2 - view.x * w,
    y: pane.y + pane.height / 2 - view.y * h,
    width: w,
    height: h,
    clip: { x: pane.x + (pane.width - width) / 2, y: pane.y + (pane.height - height) / 2, width, height },
  };
}
