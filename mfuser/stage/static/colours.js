// Numbers to colours.

/** @typedef {Uint8Array} ColourMap 256 x RGB */

/** @param {string} hex 256 colours of 6 hex digits @returns {ColourMap} */
export function readColourMap(hex) {
  return Uint8Array.from({ length: hex.length / 2 }, (_, i) => parseInt(hex.slice(2 * i, 2 * i + 2), 16));
}

/**
 * A field as colours. Values below the range fade out, so that nothing is painted where nothing was found.
 * @param {ArrayLike<number>} values
 * @param {[number, number]} range
 * @param {ColourMap} map
 * @param {Uint8ClampedArray} rgba written to, 4 numbers for each value
 * @param {boolean} fade
 */
export function paintField(values, [low, high], map, rgba, fade = false) {
  const span = Math.max(1e-6, high - low);
  for (let i = 0; i < values.length; i++) {
    const share = (values[i] - low) / span;
    const at = 3 * Math.min(255, Math.max(0, Math.round(255 * share)));
    rgba[4 * i] = map[at];
    rgba[4 * i + 1] = map[at + 1];
    rgba[4 * i + 2] = map[at + 2];
    rgba[4 * i + 3] = fade ? 255 * Math.min(1, Math.max(0, 4 * share)) : 255;
  }
}

/**
 * A mask as colours.
 * @param {Uint8Array} mask class of each pixel
 * @param {number[][]} colours RGB of each class
 * @param {Uint8ClampedArray} rgba
 * @param {(pixel: number, label: number) => boolean} [shown] pixels left out are transparent
 */
export function paintMask(mask, colours, rgba, shown) {
  for (let i = 0; i < mask.length; i++) {
    const colour = colours[mask[i]];
    if (!colour || (shown && !shown(i, mask[i]))) {
      rgba[4 * i + 3] = 0;
      continue;
    }
    rgba[4 * i] = colour[0];
    rgba[4 * i + 1] = colour[1];
    rgba[4 * i + 2] = colour[2];
    rgba[4 * i + 3] = 255;
  }
}

/** Fills a whole canvas. @param {HTMLCanvasElement} canvas @param {(rgba: Uint8ClampedArray) => void} fill */
export function paintOn(canvas, fill) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  fill(image.data);
  context.putImageData(image, 0, 0);
}

/** @param {number[]} colour RGB @returns {string} */
export const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
