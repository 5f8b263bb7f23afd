// Cosines of the class texts with each other, before and after MTEnhancer, as two small matrices.

import { SIDES, mostChanged } from "./blocks.js";
import { paintField, paintOn } from "./colours.js";

/**
 * @param {HTMLElement} root a figure with a caption, a place for the matrices and a line for the pair pointed at
 * @param {import("./blocks.js").Inside} inside
 * @param {Uint8Array} heat colour map
 */
export function drawClassPairs(root, inside, heat) {
  const { classes, cosines } = inside;
  const count = classes.length;
  const { a, b, before, after } = mostChanged(inside);
  const line = root.querySelector(".inside-pair");
  const tell = (i, j) => {
    const [was, is] = SIDES.map((side) => cosines[side][i * count + j].toFixed(2));
    line.textContent = `${classes[i]} and ${classes[j]}: ${was} before, ${is} after`;
  };
  const at = (offset, size) => Math.min(count - 1, Math.max(0, Math.floor((offset / size) * count)));
  root.querySelector("figcaption").textContent =
    `Class to class: cosines of the class texts before (left) and after MTEnhancer. Most changed: ${a} and ${b}, ` +
    `${before.toFixed(2)} to ${after.toFixed(2)}.`;
  root.querySelector("div").replaceChildren(
    ...SIDES.map((side) => {
      const canvas = document.createElement("canvas");
      Object.assign(canvas, { width: count, height: count, title: `Cosines ${side} MTEnhancer; point to read a pair` });
      canvas.dataset.side = side;
      paintOn(canvas, (rgba) => paintField(cosines[side], [0, 1], heat, rgba));
      canvas.addEventListener("pointermove", ({ offsetX, offsetY }) =>
        tell(at(offsetY, canvas.clientHeight), at(offsetX, canvas.clientWidth)),
      );
      return canvas;
    }),
  );
  tell(classes.indexOf(a), classes.indexOf(b));
}
