import assert from "node:assert/strict";
import { test } from "node:test";

import { readColourMap, paintField } from "../../../mfuser/stage/static/colours.js";
import { rangeOf, verdict } from "../../../mfuser/stage/static/scales.js";
import { textSimilarity } from "../../../mfuser/stage/static/similarity.js";

const measured = { scales: { measured: true, text: { vlm: [0.25, 0.5], fused: [0.3, 0.5] }, point: { vfm: [0.5, 0.9] } } };
const unmeasured = { scales: { measured: false } };
const answer = { text: "giraffe", note: "", vectors: { vlm: [[1]], fused: [[1]] } };
const fields = (vlm, fused) => (stream) => ({ vlm, fused })[stream];

test("the highest background word is subtracted, and nothing where there is none", () => {
  const embedding = { values: Float32Array.from([1, 0, 0.6, 0, 1, 0.8]), dimensions: 2, count: 3 };
  const near = (a, b) => a.forEach((value, i) => assert.ok(Math.abs(value - b[i]) < 1e-6, `${a} is not ${b}`));
  near(textSimilarity(embedding, [[1, 0]]), [1, 0, 0.6]);
  near(textSimilarity(embedding, [[1, 0]], [[0, 1]]), [1, -1, -0.2]);
  near(textSimilarity(embedding, [[1, 0]], [[0, 1], [0.5, 0]]), [0.5, -1, -0.2]);
});
test("a measured range does not depend on the picture", () => {
  assert.deepEqual(rangeOf(measured, "text", "vlm", [0, 0.1]), [0.25, 0.5]);
  assert.deepEqual(rangeOf(measured, "text", "vlm", [0.9, 1]), [0.25, 0.5]);
  assert.deepEqual(rangeOf(measured, "point", "vfm", null), [0.5, 0.9]);
});
test("without a measured range it is the picture's own", () => {
  assert.deepEqual(rangeOf(unmeasured, "text", "vlm", [0.5, 0, 1]), [0.5, 1]);
  assert.deepEqual(rangeOf({}, "point", "vfm", [3, 1, 2]), [2, 3]);
});
test("nothing is painted at or under the threshold", () => {
  const rgba = new Uint8ClampedArray(12);
  paintField([0.1, 0.25, 0.4], [0.25, 0.5], readColourMap("000000".repeat(256)), rgba, true);
  assert.deepEqual([rgba[3], rgba[7]], [0, 0]);
  assert.ok(rgba[11] > 0);
});
test("the verdict says when nothing is close, for all models or for one", () => {
  assert.match(verdict(measured, answer, fields([0.1, 0.25], [0.2, 0.3])), /^Nothing .* “giraffe”/);
  const one = verdict(measured, answer, fields([0.1, 0.25], [0.2, 0.31]));
  assert.match(one, /VLM only.*“giraffe”/);
  assert.doesNotMatch(one, /MFuser/);
  assert.equal(verdict(measured, answer, fields([0.26], [0.31])), "");
});
test("the verdict says that a model has no scale, and then never that nothing is close", () => {
  const said = verdict(unmeasured, answer, fields([0.1], [0.1]));
  assert.match(said, /no calibrated scale/);
  assert.doesNotMatch(said, /Nothing/);
});
test("of a text without a known word only the note is said", () => {
  const unknown = { text: "🦒", note: "unknown: 🦒", vectors: {} };
  assert.equal(verdict(measured, unknown, () => null), "unknown: 🦒");
});
