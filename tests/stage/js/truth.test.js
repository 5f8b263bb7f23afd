import assert from "node:assert/strict";
import { test } from "node:test";

import { mean, scored, table } from "../../../mfuser/stage/static/truth.js";

test("the mean leaves out classes that are in neither", () => {
  assert.equal(mean([0.5, null, 1]), 0.75);
  assert.equal(mean([null]), null);
});
test("the table has a row for each class that is there, and the means", () => {
  const iou = { vfm: [0.5, null, 1], fused: [0.25, null, null] };
  assert.equal(table(["road", "wall", "sky"], iou), "class,vfm,fused\nroad,0.500000,0.250000\nsky,1.000000,\nmean,0.750000,0.250000\n");
});
test("a scored picture has the truth and keeps everything else", () => {
  const picture = { photo: 1, truth: null, header: { classes: ["road"] } };
  const truth = Uint8Array.from([0, 255]);
  const found = scored(picture, { header: { iou: { vfm: [1] } }, parts: { truth } });
  assert.deepEqual(found, { photo: 1, truth, header: { classes: ["road"], iou: { vfm: [1] } } });
  assert.equal(picture.truth, null);
});
