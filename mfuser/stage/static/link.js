// The view in the address, so that a link restores it.

const FIELDS = ["mode", "left", "right", "model", "layer"];
const CHOICES = {
  mode: ["swipe", "triple", "nine", "single"],
  left: ["photo", "vfm", "vlm", "fused"],
  right: ["photo", "vfm", "vlm", "fused"],
  model: ["vfm", "vlm", "fused"],
  layer: ["masks", "similarity", "features", "confidence", "disagreement", "truth"],
};

/** @param {any} state @param {string | null} example @returns {string} what follows the # */
export function writeLink(state, example) {
  const found = new URLSearchParams();
  if (example) found.set("example", example);
  for (const name of FIELDS) found.set(name, state[name]);
  found.set("split", state.split.toFixed(3));
  found.set("opacity", state.opacity.toFixed(2));
  if (state.text && !state.points.length) found.set("query", state.text.text);
  if (state.points.length) {
    found.set("points", state.points.map((p) => `${p.x.toFixed(4)},${p.y.toFixed(4)},${p.sign}`).join(";"));
  }
  const { view } = state;
  if (view.scale > 1) found.set("view", [view.scale, view.x, view.y].map((n) => n.toFixed(4)).join(","));
  return found.toString();
}

/** What of a link can be used; everything else keeps its default. @param {string} hash */
export function readLink(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const change = {};
  for (const name of FIELDS) if (CHOICES[name].includes(given.get(name))) change[name] = given.get(name);
  for (const name of ["split", "opacity"]) {
    const value = Number.parseFloat(given.get(name) ?? "");
    if (value >= 0 && value <= 1) change[name] = value;
  }
  const points = (given.get("points") ?? "")
    .split(";")
    .filter(Boolean)
    .map((text) => text.split(",").map(Number))
    .filter(([x, y, sign]) => x >= 0 && x <= 1 && y >= 0 && y <= 1 && Math.abs(sign) === 1)
    .map(([x, y, sign]) => ({ x, y, sign }));
  if (points.length) change.points = points.slice(0, 20);
  const view = (given.get("view") ?? "").split(",").map(Number);
  if (view.length === 3 && view.every(Number.isFinite)) change.view = { scale: view[0], x: view[1], y: view[2] };
  return { change, example: given.get("example"), query: given.get("query") };
}
