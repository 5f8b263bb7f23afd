// The drawer "Truth": a label PNG goes to the server, IoU in the rail, the errors on the stage and a table come back.

import { readParts } from "./bundle.js";
import { TITLES } from "./panes.js";

const BODY = `
  <p>A label map of the picture on the stage, as a PNG of its size: Cityscapes trainIds, labelIds or colours. It is scored
    and not kept.</p>
  <div class="truth-choose">
    <label class="truth-file">Label map <input type="file" accept="image/png"></label>
    <label>Values <select><option value="auto">Detect</option><option value="trainIds">trainIds</option>
      <option value="labelIds">labelIds</option><option value="colours">Colours</option></select></label>
    <button type="button" class="truth-csv" hidden>Download CSV</button>
  </div>
  <p class="drawer-status" role="status"></p>`;

/** Mean of the classes that are known, 0..1, or null. @param {(number | null)[]} values */
export function mean(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

/**
 * @param {string[]} classes
 * @param {Record<string, (number | null)[]>} iou stream -> IoU of each class
 * @returns {string} CSV: a row for each class that is in labels or mask, a column for each model, then the means
 */
export function table(classes, iou) {
  const streams = Object.keys(iou);
  const number = (value) => (value === null ? "" : value.toFixed(6));
  const rows = classes
    .map((name, k) => [name, ...streams.map((stream) => iou[stream][k])])
    .filter(([, ...values]) => values.some((value) => value !== null));
  rows.push(["mean", ...streams.map((stream) => mean(iou[stream]))]);
  return [["class", ...streams], ...rows.map(([name, ...values]) => [name, ...values.map(number)])]
    .map((row) => `${row.join(",")}\n`)
    .join("");
}

/** The picture with a truth. @param {import("./bundle.js").Picture} picture */
export function scored(picture, { header, parts }) {
  return { ...picture, truth: parts.truth, header: { ...picture.header, iou: header.iou } };
}

/**
 * @param {HTMLDetailsElement} root
 * @param {ReturnType<import("./store.js").createStore>} store
 * @param {((picture: import("./bundle.js").Picture, file: File, kind: string) => Promise<ArrayBuffer>) | undefined} send
 *   absent: no drawer
 */
export function mountTruth(root, store, send) {
  root.hidden = !send;
  if (!send) return;
  root.querySelector(".drawer-body").innerHTML = BODY;
  const input = root.querySelector("input");
  const select = root.querySelector("select");
  const status = root.querySelector(".drawer-status");
  const csv = root.querySelector(".truth-csv");
  let own = null; // the picture as this drawer scored it

  async function score() {
    const [file] = input.files;
    const { picture } = store.state;
    if (!file) return;
    if (!picture) {
      status.textContent = "Choose a picture first.";
      return;
    }
    status.textContent = "Reading the label map";
    try {
      const answer = await readParts(await send(picture, file, select.value));
      if (store.state.picture !== picture) return; // another one came meanwhile
      own = scored(picture, answer);
      const means = Object.entries(answer.header.iou).map(([s, iou]) => `${TITLES[s]} ${(100 * mean(iou)).toFixed(1)} %`);
      store.set({ picture: own, layer: "truth" });
      status.textContent = `${answer.header.sentence} Mean IoU: ${means.join(", ")}.`;
    } catch (error) {
      if (store.state.picture === picture) status.textContent = error.message || String(error);
    }
  }

  input.addEventListener("change", score);
  select.addEventListener("change", score);
  csv.addEventListener("click", () => {
    const { classes, iou } = store.state.picture.header;
    const link = document.createElement("a");
    Object.assign(link, { href: URL.createObjectURL(new Blob([table(classes, iou)], { type: "text/csv" })), download: "iou.csv" });
    link.click();
    URL.revokeObjectURL(link.href);
  });
  store.on(["picture"], ({ picture }) => {
    csv.hidden = !picture?.header.iou;
    if (picture === own) return;
    own = null;
    input.value = "";
    status.textContent = picture?.header.iou ? "The truth of this example is known: its scores stand beside the picture." : "";
  });
}
