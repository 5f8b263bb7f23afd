// One layer of one model as a small canvas, which the stage stretches over the photograph.

import { paintField, paintMask } from "./colours.js";
import { rangeOf } from "./scales.js";
import { argmax, patchAt, pointSimilarity, textSimilarity } from "./similarity.js";
import { disagreement } from "./summary.js";

export const LAYERS = ["masks", "similarity", "features", "confidence", "disagreement", "truth"];

/**
 * @param {import("./bundle.js").Picture} picture
 * @param {Uint8Array} heat colour map of similarity
 */
export function createLayers(picture, heat) {
  const drawn = new Map(); // key -> canvas; the last of each kind is kept
  const fields = new Map(); // stream -> {key, values}

  function canvas(name, key, width, height, paint) {
    let known = drawn.get(name);
    if (known && known.key === key) return known.canvas;
    if (!known) {
      const target = new OffscreenCanvas(width, height);
      const context = target.getContext("2d");
      known = { key, canvas: target, context, image: context.createImageData(width, height) };
      drawn.set(name, known);
    }
    known.key = key;
    paint(known.image.data);
    known.context.putImageData(known.image, 0, 0);
    return known.canvas;
  }

  /** Similarity of each patch of a stream to what is asked, or null where the model cannot answer. */
  function field(stream, query) {
    const points = query.hover ? [{ ...query.hover, sign: 1 }] : query.points;
    const places = points.map((p) => ({ index: patchAt(p.x, p.y, picture.grid), sign: p.sign }));
    const key = keyOf(query);
    const known = fields.get(stream) ?? { key: null, values: null, buffer: null };
    if (known.key === key) return known.values;
    known.key = key;
    known.values = null;
    if (places.length && picture.tokens[stream]) {
      known.buffer ??= new Float32Array(picture.tokens[stream].count);
      known.values = pointSimilarity(picture.tokens[stream], places, known.buffer);
    } else if (!places.length && query.text && picture.dense[stream] && query.text.vectors[stream]) {
      known.values = textSimilarity(picture.dense[stream], query.text.vectors[stream], query.text.background?.[stream]);
    }
    fields.set(stream, known);
    return known.values;
  }

  /** What is asked, as a text: moves within one patch ask for the same. */
  function keyOf({ hover, points, text }) {
    const at = (p) => patchAt(p.x, p.y, picture.grid);
    if (hover) return `at ${at(hover)}`;
    return points.length ? points.map((p) => `${p.sign} ${at(p)}`).join() : `text ${text?.id ?? ""}`;
  }

  /** Range of colours for a query. @returns {[number, number]} */
  function range(stream, query) {
    const kind = query.hover || query.points.length ? "point" : "text";
    return rangeOf(picture.header, kind, stream, field(stream, query));
  }

  const { width, height, grid } = picture;
  const colours = picture.header.colours;

  return {
    field,
    /** @returns {{canvas: OffscreenCanvas, smooth: boolean, veil: number} | null} veil: how far the photograph is dimmed */
    get(layer, stream, { query, isolated }) {
      if (layer === "masks" && picture.masks[stream]) {
        const mask = picture.masks[stream];
        const shown = isolated === null ? undefined : (_, label) => label === isolated;
        const made = canvas(`masks ${stream}`, isolated, width, height, (rgba) => paintMask(mask, colours, rgba, shown));
        return { canvas: made, smooth: false, veil: isolated === null ? 0 : 0.35 };
      }
      if (layer === "similarity") {
        const values = field(stream, query);
        if (!values) return null;
        const made = canvas(`similarity ${stream}`, keyOf(query), grid[1], grid[0], (rgba) =>
          paintField(values, range(stream, query), heat, rgba, true),
        );
        const found = values[argmax(values)] > range(stream, query)[0];
        return { canvas: made, smooth: true, veil: found ? 0.25 : 0 };
      }
      if (layer === "features" && picture.features[stream]) {
        const rgb = picture.features[stream];
        const made = canvas(`features ${stream}`, 0, grid[1], grid[0], (rgba) => {
          for (let i = 0; i < rgb.length / 3; i++) rgba.set([rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2], 255], 4 * i);
        });
        return { canvas: made, smooth: true, veil: 0 };
      }
      if (layer === "confidence" && picture.confidence[stream]) {
        const { values, width: w, height: h } = picture.confidence[stream];
        const made = canvas(`confidence ${stream}`, 0, w, h, (rgba) => paintField(values, [0, 255], heat, rgba));
        return { canvas: made, smooth: true, veil: 0 };
      }
      if (layer === "disagreement" && picture.masks[stream]) {
        const where = disagreement(Object.values(picture.masks));
        const made = canvas(`disagreement ${stream}`, 0, width, height, (rgba) =>
          paintMask(picture.masks[stream], colours, rgba, (i) => where[i] === 1),
        );
        return { canvas: made, smooth: false, veil: 0.55 };
      }
      if (layer === "truth" && picture.truth) {
        const { truth } = picture;
        const mask = picture.masks[stream];
        if (!mask) return null;
        const made = canvas(`truth ${stream}`, 0, width, height, (rgba) => {
          for (let i = 0; i < truth.length; i++) {
            if (truth[i] === 255) rgba.set([120, 120, 120, 90], 4 * i);
            else if (truth[i] !== mask[i]) rgba.set([230, 30, 60, 255], 4 * i);
          }
        });
        return { canvas: made, smooth: false, veil: 0.2 };
      }
      return null;
    },
  };
}
