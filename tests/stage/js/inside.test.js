import assert from "node:assert/strict";
import { test } from "node:test";

import { followed, lookingAt, medians, mostChanged, polyline, readInside, scale, similarityAt } from "../../../mfuser/stage/static/blocks.js";

/** A file of the stage's layout with parts that are not packed. */
function file(header, parts) {
  const entries = {};
  const blobs = [];
  let at = 0;
  for (const [name, array] of Object.entries(parts)) {
    const length = Math.ceil(array.byteLength / 4) * 4;
    const blob = new Uint8Array(length);
    blob.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
    entries[name] = { at, bytes: array.byteLength, deflated: false, shape: array.shape };
    blobs.push(blob);
    at += length;
  }
  const text = new TextEncoder().encode(JSON.stringify({ ...header, parts: entries }));
  const start = Math.ceil((8 + text.length) / 4) * 4;
  const out = new Uint8Array(start + at);
  out.set([77, 70, 66, 49]);
  new DataView(out.buffer).setUint32(4, text.length, true);
  out.set(text, 8);
  let place = start;
  for (const blob of blobs) {
    out.set(blob, place);
    place += blob.length;
  }
  return out.buffer;
}

const shaped = (array, ...shape) => Object.assign(array, { shape });
// Two blocks, one encoder, a row of three patches, two dimensions.
const parts = {};
for (const block of [0, 1]) {
  parts[`offsets.${block}.vfm`] = shaped(Uint8Array.from([0, 100, 200].map((v) => v / (block + 1))), 1, 3);
  for (const side of ["before", "after"]) {
    parts[`features.${block}.vfm.${side}`] = shaped(new Uint8Array(9).fill(block * 10), 1, 3, 3);
    parts[`tokens.${block}.vfm.${side}`] = shaped(Int8Array.from(side === "before" ? [2, 0, 2, 0, 2, 0] : [2, 2, 0, 0, 0, 2]), 2, 3);
    parts[`tokens.${block}.vfm.${side}.scale`] = shaped(Float32Array.from([0.5, 0.5]), 2);
  }
}
parts["classes.before"] = shaped(Float32Array.from([1, 0.9, 0.1, 0.9, 1, 0.2, 0.1, 0.2, 1]), 3, 3);
parts["classes.after"] = shaped(Float32Array.from([1, 0.4, 0.1, 0.4, 1, 0.3, 0.1, 0.3, 1]), 3, 3);
const block = (step) => ({ vfm: { step, median: 1, high: 150 * step, max: 200 * step, length: 10, relative: 0.1 } });
const buffer = file({ grid: [1, 3], encoders: ["vfm"], blocks: [block(0.01), block(0.1)], classes: ["car", "bus", "sky"] }, parts);
const near = (a, b) => [...a].forEach((value, i) => assert.ok(Math.abs(value - b[i]) < 1e-5, `${[...a]} is not ${b}`));

test("offsets are read in their own unit", async () => {
  const inside = await readInside(buffer);
  near(inside.blocks[0].vfm.offsets, [0, 1, 2]);
  near(inside.blocks[1].vfm.offsets, [0, 5, 10]);
  assert.equal(inside.blocks[1].vfm.features.after[0], 10);
  assert.equal(scale(inside, "vfm"), 15);
});
test("a patch is followed through the blocks, beside the median", async () => {
  const inside = await readInside(buffer);
  near(followed(inside, 2).vfm, [2, 10]);
  assert.deepEqual(medians(inside), { vfm: [1, 1] });
});
test("similarity is that of the block and the side", async () => {
  const inside = await readInside(buffer);
  near(similarityAt(inside, 0, "vfm", "before", [{ index: 0, sign: 1 }]), [1, 0, 1]);
  near(similarityAt(inside, 0, "vfm", "after", [{ index: 0, sign: 1 }]), [1, 1, 0]);
});
test("the pair of classes that changes most is named with its cosines", async () => {
  const pair = mostChanged(await readInside(buffer));
  assert.deepEqual([pair.a, pair.b], ["car", "bus"]);
  near([pair.before, pair.after], [0.9, 0.4]);
});
test("a point is looked at first, then the best patch of the text, then the middle", () => {
  const dense = { fused: { values: Float32Array.from([0, 1, 0.2]), dimensions: 1, count: 3 } };
  const picture = { grid: [1, 3], dense };
  const text = { vectors: { fused: [[1]] } };
  assert.deepEqual(lookingAt({ points: [{ x: 0.9, y: 0.5, sign: 1 }], text }, picture).points, [{ index: 2, sign: 1 }]);
  const found = lookingAt({ points: [], text }, picture);
  assert.equal(found.from, "text");
  assert.equal(found.points[0].index, 1);
  assert.equal(found.place.x, 0.5);
  assert.equal(lookingAt({ points: [{ x: 0.9, y: 0.5, sign: -1 }], text: null }, picture).from, "middle");
});
test("a line goes from left to right, larger values higher", () => {
  assert.equal(polyline([0, 5, 10], 10, 100, 50), "0.0,50.0 50.0,25.0 100.0,0.0");
  assert.equal(polyline([0], 0, 100, 50), "0.0,50.0");
});
