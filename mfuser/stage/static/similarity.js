// Cosines of all patches with a patch, with several patches, or with texts. Everything here runs while the pointer moves.

/** @typedef {import("./bundle.js").Embedding} Embedding */

/**
 * Product of every patch with one vector.
 * @param {Embedding} embedding
 * @param {ArrayLike<number>} vector one number for each dimension
 * @param {Float32Array} [sums] written to, so that a moving pointer makes no garbage
 * @returns {Float32Array} one number for each patch
 */
export function products({ values, dimensions, count }, vector, sums = new Float32Array(count)) {
  sums.fill(0);
  for (let d = 0; d < dimensions; d++) {
    const factor = vector[d];
    if (factor === 0) continue;
    const row = d * count;
    for (let i = 0; i < count; i++) sums[i] += factor * values[row + i];
  }
  return sums;
}

/** @param {Embedding} embedding @param {number} index of a patch @returns {Float32Array} its vector */
export function patchVector({ values, dimensions, count }, index) {
  const vector = new Float32Array(dimensions);
  for (let d = 0; d < dimensions; d++) vector[d] = values[d * count + index];
  return vector;
}

/** Index of the patch at a place. @param {number} x 0..1 @param {number} y 0..1 @param {[number, number]} grid */
export function patchAt(x, y, [rows, columns]) {
  const row = Math.min(rows - 1, Math.max(0, Math.floor(y * rows)));
  const column = Math.min(columns - 1, Math.max(0, Math.floor(x * columns)));
  return row * columns + column;
}

/**
 * The largest cosine with any point marked +, less the largest with any marked - (where it is above 0).
 * @param {Embedding} embedding
 * @param {{index: number, sign: 1 | -1}[]} points
 * @param {Float32Array} [into] written to where one point is asked for
 * @returns {Float32Array}
 */
export function pointSimilarity(embedding, points, into) {
  if (points.length === 1 && points[0].sign > 0) {
    return products(embedding, patchVector(embedding, points[0].index), into);
  }
  const best = { 1: null, "-1": null };
  for (const { index, sign } of points) {
    const cosines = products(embedding, patchVector(embedding, index));
    best[sign] = best[sign] ? best[sign].map((value, i) => Math.max(value, cosines[i])) : cosines;
  }
  const found = best[1] ?? new Float32Array(embedding.count);
  return best["-1"] ? found.map((value, i) => value - Math.max(0, best["-1"][i])) : found;
}

/**
 * The largest cosine with any of several texts, less the largest with any generic background word.
 * @param {Embedding} embedding
 * @param {number[][]} vectors of the texts, in the dimensions of the embedding
 * @param {number[][]} [background] vectors of background words; none where the cosine itself was measured to be better
 * @returns {Float32Array}
 */
export function textSimilarity(embedding, vectors, background = []) {
  const best = (several) =>
    several
      .map((vector) => products(embedding, vector))
      .reduce((highest, next) => highest.map((value, i) => Math.max(value, next[i])));
  const found = best(vectors);
  if (!background.length) return found;
  const generic = best(background);
  return found.map((value, i) => value - generic[i]);
}

/** @param {ArrayLike<number>} values @returns {number} index of the largest */
export function argmax(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}
