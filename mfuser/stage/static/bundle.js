// Reads the file that mfuser/stage/bundle.py writes.

/**
 * @typedef {object} Embedding patches of one stream, a dimension a row
 * @property {Float32Array} values dimension-major, (dimensions x count)
 * @property {number} dimensions
 * @property {number} count
 *
 * @typedef {object} Picture
 * @property {any} header
 * @property {number} width pixels
 * @property {number} height pixels
 * @property {[number, number]} grid rows and columns of patches
 * @property {Uint8Array} photo encoded JPEG
 * @property {Record<string, Uint8Array>} masks stream -> class of each pixel
 * @property {Record<string, {values: Uint8Array, width: number, height: number}>} confidence stream -> 0..255
 * @property {Record<string, Uint8Array>} features stream -> RGB of each patch
 * @property {Record<string, Embedding>} tokens stream -> patches, compared with each other
 * @property {Record<string, Embedding>} dense stream -> patches, compared with texts
 * @property {Uint8Array | null} truth class of each pixel, 255 unlabelled
 */

const aligned = (length) => Math.ceil(length / 4) * 4;

/** @param {Uint8Array} packed @returns {Promise<Uint8Array>} */
async function inflate(packed) {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * The header and the parts of a file; parts are bytes, unpacked.
 * @param {ArrayBuffer} buffer
 * @returns {Promise<{header: any, parts: Record<string, Uint8Array>}>}
 */
export async function readParts(buffer) {
  const bytes = new Uint8Array(buffer);
  if (bytes.length < 8 || String.fromCharCode(...bytes.subarray(0, 4)) !== "MFB1") {
    throw new Error("The data of this picture cannot be read: analyse it again.");
  }
  const length = new DataView(buffer).getUint32(4, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const start = aligned(8 + length);
  const parts = {};
  await Promise.all(
    Object.entries(header.parts).map(async ([name, part]) => {
      const raw = bytes.slice(start + part.at, start + part.at + part.bytes);
      if (raw.length !== part.bytes) throw new Error("The data of this picture came cut short: analyse it again.");
      parts[name] = part.deflated ? await inflate(raw) : raw;
    }),
  );
  return { header, parts };
}

/**
 * @param {ArrayBuffer} buffer
 * @returns {Promise<Picture>}
 */
export async function readBundle(buffer) {
  const { header, parts } = await readParts(buffer);
  const of = (prefix, make) =>
    Object.fromEntries(
      Object.keys(parts)
        .filter((name) => name.startsWith(prefix) && !name.endsWith(".scale"))
        .map((name) => [name.slice(prefix.length), make(name)]),
    );
  return {
    header,
    width: header.size[1],
    height: header.size[0],
    grid: header.grid,
    photo: parts.photo,
    masks: of("mask.", (name) => parts[name]),
    confidence: of("confidence.", (name) => {
      const [height, width] = header.parts[name].shape;
      return { values: parts[name], width, height };
    }),
    features: of("features.", (name) => parts[name]),
    tokens: of("tokens.", (name) => embedding(parts, header, name)),
    dense: of("dense.", (name) => embedding(parts, header, name)),
    truth: parts.truth ?? null,
  };
}

/** @returns {Embedding} */
export function embedding(parts, header, name) {
  const [dimensions, count] = header.parts[name].shape;
  const steps = new Int8Array(parts[name].buffer);
  const scale = new Float32Array(parts[`${name}.scale`].buffer);
  const values = new Float32Array(dimensions * count);
  for (let d = 0; d < dimensions; d++) {
    for (let i = 0; i < count; i++) values[d * count + i] = steps[d * count + i] * scale[d];
  }
  return { values, dimensions, count };
}
