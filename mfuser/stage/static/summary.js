// What should I notice? Counts over a picture, and one sentence.

/**
 * Pixels in which two masks differ, by pair of classes, most frequent first.
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 * @returns {{total: number, pairs: {a: number, b: number, count: number}[]}}
 */
export function differences(a, b) {
  const counts = new Map();
  let total = 0;
  for (let i = 0; i < a.length; i++) {
    if (a[i] === b[i]) continue;
    total += 1;
    const key = a[i] * 256 + b[i];
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const pairs = [...counts].map(([key, count]) => ({ a: key >> 8, b: key & 255, count }));
  return { total, pairs: pairs.sort((p, q) => q.count - p.count) };
}

/** Pixels in which the masks are not all of one class. @param {Uint8Array[]} masks @returns {Uint8Array} 0 or 1 */
export function disagreement(masks) {
  const [first, ...others] = masks;
  return first.map((label, i) => (others.some((mask) => mask[i] !== label) ? 1 : 0));
}

/** Share of the pixels marked in `where` in which a mask is right; unlabelled ones do not count. */
export function rightWhere(mask, truth, where) {
  let known = 0;
  let right = 0;
  for (let i = 0; i < mask.length; i++) {
    if (!where[i] || truth[i] === 255) continue;
    known += 1;
    if (mask[i] === truth[i]) right += 1;
  }
  return known ? right / known : null;
}

/** Share of the pixels of each class, 0..1. @param {Uint8Array} mask @param {number} classes */
export function shares(mask, classes) {
  const counts = new Float64Array(classes);
  for (const label of mask) if (label < classes) counts[label] += 1;
  return counts.map((count) => count / mask.length);
}

const percent = (share) => (share > 0 && share < 0.01 ? "less than 1 %" : `${Math.round(100 * share)} %`);

/**
 * One sentence on how the models differ, and who is right where the truth is known.
 * @param {import("./bundle.js").Picture} picture
 * @returns {string}
 */
export function sentence(picture) {
  const streams = picture.header.streams;
  if (streams.length < 2) return "";
  const where = disagreement(streams.map((stream) => picture.masks[stream]));
  const share = where.reduce((sum, one) => sum + one, 0) / where.length;
  if (share < 0.0005) return "All models agree on this picture.";
  let worst = { count: 0, a: 0, b: 0 };
  for (const stream of streams.filter((name) => name !== "fused")) {
    for (const pair of differences(picture.masks[stream], picture.masks.fused ?? picture.masks[streams[0]]).pairs) {
      if (pair.count > worst.count) worst = pair;
    }
  }
  const names = picture.header.classes;
  let text = `The models differ in ${percent(share)} of this picture`;
  if (worst.count) text += `, most between ${names[worst.a]} and ${names[worst.b]}`;
  if (!picture.truth || !picture.masks.fused) return `${text}.`;
  const rights = streams.map((stream) => [stream, rightWhere(picture.masks[stream], picture.truth, where)]);
  const known = rights.filter(([, right]) => right !== null);
  if (!known.length) return `${text}.`;
  const titles = { vfm: "VFM only", vlm: "VLM only", fused: "MFuser" };
  const said = known.map(([stream, right]) => `${titles[stream]} ${Math.round(100 * right)} %`);
  return `${text}. In those pixels, right: ${said.join(", ")}.${sharedError(picture)}`;
}

/** What all models get wrong alike, where that is most of an object that is not small. */
export function sharedError({ header, masks, truth }) {
  const [first, ...others] = header.streams.map((stream) => masks[stream]);
  const count = header.classes.length;
  const alike = new Float64Array(count * count); // truth x class that all models say
  const area = new Float64Array(count);
  for (let i = 0; i < truth.length; i++) {
    if (truth[i] >= count) continue;
    area[truth[i]] += 1;
    if (first[i] !== truth[i] && first[i] < count && others.every((mask) => mask[i] === first[i])) alike[truth[i] * count + first[i]] += 1;
  }
  let worst = 0;
  for (let at = 0; at < alike.length; at++) {
    const share = area[Math.floor(at / count)] / truth.length;
    if (share > 0.01 && alike[at] > 0.5 * area[Math.floor(at / count)] && alike[at] > alike[worst]) worst = at;
  }
  const right = Math.floor(worst / count);
  if (!alike[worst] || alike[worst] <= 0.5 * area[right]) return "";
  return ` All call most of the ${header.classes[right]} ${header.classes[worst % count]}.`;
}
