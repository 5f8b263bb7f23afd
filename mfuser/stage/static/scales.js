// From which similarity on a layer paints, and what to say when nothing reaches it.

import { TITLES } from "./panes.js";
import { argmax } from "./similarity.js";

/** Is the scale fixed for the model? @param {any} header @returns {boolean} */
export const isMeasured = (header) => header.scales?.measured === true;

/**
 * Range of colours. It was measured for the model and the stream, and does not depend on the picture shown. Where nobody
 * measured one it is the picture's own, from its middle to its highest value.
 * @param {any} header
 * @param {"text" | "point"} kind
 * @param {string} stream
 * @param {ArrayLike<number> | null} values similarity of each patch
 * @returns {[number, number]}
 */
export function rangeOf(header, kind, stream, values) {
  const fixed = isMeasured(header) ? header.scales[kind]?.[stream] : null;
  if (fixed) return fixed;
  if (!values?.length) return [0, 1];
  const sorted = Float32Array.from(values).sort();
  return [sorted[sorted.length >> 1], sorted[sorted.length - 1]];
}

/**
 * What a visitor should know of the answer to a text: unknown words, that nothing is close, that there is no scale.
 * @param {any} header
 * @param {{text: string, note: string, vectors: Record<string, number[][]>}} answer
 * @param {(stream: string) => ArrayLike<number> | null} field similarity of each patch to the text
 * @returns {string}
 */
export function verdict(header, answer, field) {
  const words = [answer.note].filter(Boolean);
  const fields = Object.keys(answer.vectors).map((stream) => ({ stream, values: field(stream) }));
  const seen = fields.filter(({ values }) => values?.length);
  if (!seen.length) return words.join(" ");
  if (!isMeasured(header)) {
    words.push("There is no calibrated scale for this model: the brightest place is painted, whether or not it is there.");
    return words.join(" ");
  }
  const empty = seen.filter(({ stream, values }) => values[argmax(values)] <= rangeOf(header, "text", stream, values)[0]);
  if (empty.length === seen.length) words.push(`Nothing here is close to “${answer.text}”.`);
  else if (empty.length) {
    words.push(`For ${empty.map(({ stream }) => TITLES[stream]).join(" and ")} nothing here is close to “${answer.text}”.`);
  }
  return words.join(" ");
}
