// Reads the file that mfuser/stage/inside.py writes, and answers what the drawer "Inside the fusion" draws.

import { embedding, readParts } from "./bundle.js";
import { argmax, patchAt, pointSimilarity, textSimilarity } from "./similarity.js";

/**
 * @typedef {{offsets: Float32Array, features: Record<Side, Uint8Array>, tokens: Record<Side, import("./bundle.js").Embedding>,
 *   median: number, high: number, max: number, length: number, relative: number}} Part of one encoder at one block
 * @typedef {"before" | "after"} Side
 *
 * @typedef {object} Inside
 * @property {[number, number]} grid rows and columns of patches
 * @property {string[]} encoders
 * @property {Record<string, Part>[]} blocks encoder -> part, of each block
 * @property {string[]} classes
 * @property {Record<Side, Float32Array>} cosines of the class embeddings, K x K
 */

/** @type {Side[]} */
export const SIDES = ["before", "after"];

/** @param {ArrayBuffer} buffer @returns {Promise<Inside>} */
export async function readInside(buffer) {
  const { header, parts } = await readParts(buffer);
  const both = (make) => Object.fromEntries(SIDES.map((side) => [side, make(side)]));
  const part = (index, encoder) => {
    const numbers = header.blocks[index][encoder];
    return {
      ...numbers,
      offsets: Float32Array.from(parts[`offsets.${index}.${encoder}`], (steps) => steps * numbers.step),
      features: both((side) => parts[`features.${index}.${encoder}.${side}`]),
      tokens: both((side) => embedding(parts, header, `tokens.${index}.${encoder}.${side}`)),
    };
  };
  return {
    grid: header.grid,
    encoders: header.encoders,
    blocks: header.blocks.map((_, index) => Object.fromEntries(header.encoders.map((name) => [name, part(index, name)]))),
    classes: header.classes,
    cosines: both((side) => new Float32Array(parts[`classes.${side}`].buffer)),
  };
}

/**
 * Where to look: the points that are pinned, else the patch that MFuser finds closest to the text, else the middle.
 * A text has no place in the space of a block, so that its best patch stands for it.
 * @param {{points: {x: number, y: number, sign: 1 | -1}[], text: any}} asked
 * @param {import("./bundle.js").Picture} picture
 * @returns {{points: {index: number, sign: 1 | -1}[], place: {x: number, y: number}, from: "point" | "text" | "middle"}}
 */
export function lookingAt({ points, text }, picture) {
  const { grid } = picture;
  const placed = points.map(({ x, y, sign }) => ({ index: patchAt(x, y, grid), sign }));
  if (placed.some(({ sign }) => sign > 0)) {
    const first = points.find(({ sign }) => sign > 0);
    return { points: placed, place: { x: first.x, y: first.y }, from: "point" };
  }
  const vectors = text?.vectors?.fused;
  if (vectors && picture.dense.fused) {
    const index = argmax(textSimilarity(picture.dense.fused, vectors));
    return { points: [{ index, sign: 1 }], place: middleOf(index, grid), from: "text" };
  }
  return { points: [{ index: patchAt(0.5, 0.5, grid), sign: 1 }], place: { x: 0.5, y: 0.5 }, from: "middle" };
}

/** The middle of a patch, 0..1. @param {number} index @param {[number, number]} grid */
export const middleOf = (index, [rows, columns]) => ({
  x: ((index % columns) + 0.5) / columns,
  y: (Math.floor(index / columns) + 0.5) / rows,
});

/** Similarity of all patches to the points at one block. @returns {Float32Array} */
export const similarityAt = (inside, block, encoder, side, points) =>
  pointSimilarity(inside.blocks[block][encoder].tokens[side], points);

/** How far one patch is moved at each block, by encoder. @returns {Record<string, number[]>} */
export function followed(inside, index) {
  return Object.fromEntries(inside.encoders.map((name) => [name, inside.blocks.map((block) => block[name].offsets[index])]));
}

/** The median over the patches at each block, by encoder. @returns {Record<string, number[]>} */
export function medians(inside) {
  return Object.fromEntries(inside.encoders.map((name) => [name, inside.blocks.map((block) => block[name].median)]));
}

/** End of the colours of an encoder's offsets: one scale for all blocks, so that they can be compared. A few patches in
 * a hundred lie above it. */
export const scale = (inside, encoder) => Math.max(...inside.blocks.map((block) => block[encoder].high));

/**
 * The pair of classes whose cosine MTEnhancer changes most.
 * @param {Inside} inside
 * @returns {{a: string, b: string, before: number, after: number}}
 */
export function mostChanged({ classes, cosines }) {
  const count = classes.length;
  let best = { a: 0, b: 1, change: -1 };
  for (let a = 0; a < count; a++) {
    for (let b = a + 1; b < count; b++) {
      const change = Math.abs(cosines.after[a * count + b] - cosines.before[a * count + b]);
      if (change > best.change) best = { a, b, change };
    }
  }
  const at = best.a * count + best.b;
  return { a: classes[best.a], b: classes[best.b], before: cosines.before[at], after: cosines.after[at] };
}

/**
 * Points of a polyline over the blocks.
 * @param {number[]} values one a block
 * @param {number} most value at the top
 * @param {number} width @param {number} height
 * @returns {string} of an SVG "points" attribute
 */
export function polyline(values, most, width, height) {
  const step = values.length > 1 ? width / (values.length - 1) : 0;
  return values.map((value, i) => `${(i * step).toFixed(1)},${(height * (1 - value / Math.max(1e-9, most))).toFixed(1)}`).join(" ");
}
