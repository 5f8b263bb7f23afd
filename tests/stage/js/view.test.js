import assert from "node:assert/strict";
import { test } from "node:test";

import { readLink, writeLink } from "../../../mfuser/stage/static/link.js";
import { panesOf } from "../../../mfuser/stage/static/panes.js";
import { differences, disagreement, rightWhere, sentence } from "../../../mfuser/stage/static/summary.js";
import { WHOLE, bounded, placed, zoomed } from "../../../mfuser/stage/static/viewport.js";

test("zooming keeps the place under the pointer", () => {
  const at = { x: 0.3, y: 0.6 };
  const pane = { x: 0, y: 0, width: 800, height: 400 };
  const before = placed(pane, WHOLE, 2);
  const after = placed(pane, zoomed(WHOLE, 4, at), 2);
  assert.ok(Math.abs(before.x + at.x * before.width - (after.x + at.x * after.width)) < 1e-6);
  assert.ok(Math.abs(before.y + at.y * before.height - (after.y + at.y * after.height)) < 1e-6);
});
test("a view never leaves the picture", () => {
  assert.deepEqual(bounded({ scale: 2, x: 0, y: 1 }), { scale: 2, x: 0.25, y: 0.75 });
  assert.deepEqual(bounded({ scale: 0.1, x: 0, y: 1 }), WHOLE);
});
test("a link restores what it was written from", () => {
  const state = { mode: "triple", left: "vlm", right: "fused", model: "vfm", layer: "features", split: 0.25, opacity: 0.5,
    text: null, points: [{ x: 0.62, y: 0.55, sign: 1 }, { x: 0.1, y: 0.2, sign: -1 }], view: { scale: 2, x: 0.5, y: 0.5 } };
  const { change, example } = readLink(`#${writeLink(state, "street-02")}`);
  assert.equal(example, "street-02");
  for (const key of ["mode", "left", "right", "model", "layer", "split", "opacity", "points", "view"]) {
    assert.deepEqual(change[key], state[key], key);
  }
});
test("what a link has no business to say is left out", () => {
  const { change } = readLink("#mode=evil&split=7&points=9,9,1;a,b,c&view=NaN,1&layer=masks");
  assert.deepEqual(change, { layer: "masks" });
});
test("differences are counted by pair of classes", () => {
  const found = differences(Uint8Array.from([0, 1, 1, 2]), Uint8Array.from([0, 2, 2, 1]));
  assert.deepEqual(found, { total: 3, pairs: [{ a: 1, b: 2, count: 2 }, { a: 2, b: 1, count: 1 }] });
});
test("who is right counts labelled pixels alone", () => {
  const where = disagreement([Uint8Array.from([0, 1, 1]), Uint8Array.from([0, 2, 2])]);
  assert.deepEqual([...where], [0, 1, 1]);
  assert.equal(rightWhere(Uint8Array.from([0, 1, 1]), Uint8Array.from([0, 1, 255]), where), 1);
  assert.equal(rightWhere(Uint8Array.from([0, 1, 1]), Uint8Array.from([0, 255, 255]), where), null);
});
test("the sentence names share, pair and who is right", () => {
  const masks = { vfm: Uint8Array.from([0, 1, 1, 0]), vlm: Uint8Array.from([0, 2, 1, 0]), fused: Uint8Array.from([0, 2, 1, 0]) };
  const header = { streams: ["vfm", "vlm", "fused"], classes: ["road", "train", "truck"] };
  assert.match(sentence({ header, masks, truth: null }), /differ in 25 % .* between train and truck\.$/);
  assert.match(sentence({ header, masks, truth: Uint8Array.from([0, 2, 1, 0]) }), /VFM only 0 %, VLM only 100 %, MFuser 100 %/);
  const same = { ...masks, vfm: masks.fused };
  assert.match(sentence({ header, masks: same, truth: null }), /agree/);
});
test("a swipe has two panes in one place, a triple three beside each other, nine three rows", () => {
  const state = { mode: "swipe", left: "vfm", right: "fused", model: "fused", layer: "masks" };
  const streams = ["vfm", "vlm", "fused"];
  const swipe = panesOf(state, streams, 900, 450);
  assert.deepEqual(swipe.map((pane) => [pane.stream, pane.half]), [["vfm", "left"], ["fused", "right"]]);
  const triple = panesOf({ ...state, mode: "triple" }, streams, 900, 450);
  assert.ok(triple[1].x > triple[0].x + triple[0].width - 1);
  assert.equal(panesOf({ ...state, mode: "nine" }, streams, 900, 450).length, 9);
});
