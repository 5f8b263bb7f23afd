import assert from "node:assert/strict";
import { test } from "node:test";

import { argmax, patchAt, pointSimilarity, products, textSimilarity } from "../../../mfuser/stage/static/similarity.js";

// Three patches in two dimensions, a dimension a row.
const embedding = { values: Float32Array.from([1, 0, 0.6, 0, 1, 0.8]), dimensions: 2, count: 3 };
const near = (a, b) => a.forEach((value, i) => assert.ok(Math.abs(value - b[i]) < 1e-6, `${a} is not ${b}`));

test("a product with a vector is one number for each patch", () => near(products(embedding, [2, 1]), [2, 1, 2]));
test("a patch is most similar to itself", () => {
  const cosines = pointSimilarity(embedding, [{ index: 2, sign: 1 }]);
  near(cosines, [0.6, 0.8, 1]);
  assert.equal(argmax(cosines), 2);
});
test("points with + take the best, points with - are subtracted", () => {
  near(pointSimilarity(embedding, [{ index: 0, sign: 1 }, { index: 1, sign: 1 }]), [1, 1, 0.8]);
  near(pointSimilarity(embedding, [{ index: 0, sign: 1 }, { index: 1, sign: -1 }]), [1, -1, -0.2]);
});
test("of several texts the best counts", () => near(textSimilarity(embedding, [[1, 0], [0, 1]]), [1, 1, 0.8]));
test("places at the border belong to the last patch", () => {
  assert.equal(patchAt(0, 0, [2, 4]), 0);
  assert.equal(patchAt(1, 1, [2, 4]), 7);
  assert.equal(patchAt(0.49, 0.51, [2, 4]), 5);
});
