// The drawer "Inside the fusion": fetched once when it opens, then drawn here.

import { SIDES, followed, lookingAt, medians, middleOf, polyline, readInside, scale, similarityAt } from "./blocks.js";
import { drawClassPairs } from "./classpairs.js";
import { paintField, paintOn } from "./colours.js";
import { argmax } from "./similarity.js";

const NAMES = { vfm: "VFM", vlm: "VLM" };
const CHART = { width: 300, height: 110 };
const PAUSE = 900; // milliseconds a block is shown while playing
const FROM = {
  point: "the patch you pinned",
  text: "the patch that MFuser finds closest to your text (a text has no place inside the encoders)",
  middle: "the patch in the middle: click one of these pictures to choose another",
};

const BODY = `
  <p class="drawer-status" role="status"></p>
  <div class="inside-view" hidden>
    <div class="inside-play"><div class="pills inside-blocks" role="group" aria-label="Fused block"></div>
      <button type="button" class="play">Play</button>
      <label>Block <input type="range" min="1" value="1" step="1"></label></div>
    <p class="inside-says"></p>
    <div class="inside-grid"></div>
    <div class="inside-foot">
      <figure class="inside-chart"><figcaption></figcaption><svg role="img"></svg></figure>
      <figure class="inside-classes"><figcaption></figcaption><div></div><p class="inside-pair" role="status"></p></figure>
    </div>
  </div>`;

/**
 * @param {HTMLDetailsElement} root
 * @param {ReturnType<import("./store.js").createStore>} store
 * @param {object} from
 * @param {Uint8Array} from.heat colour map
 * @param {((picture: import("./bundle.js").Picture) => Promise<ArrayBuffer>) | undefined} from.fetch absent: no drawer
 */
export function mountInside(root, store, { heat, fetch }) {
  root.hidden = !fetch;
  if (!fetch) return;
  root.querySelector(".drawer-body").innerHTML = BODY;
  const find = (selector) => root.querySelector(selector);
  const [status, view, slider, play] = [".drawer-status", ".inside-view", "input", ".play"].map(find);
  let inside = null; // data of the picture that is shown
  let shown = null; // its photograph
  let block = 0;
  let timer = null;

  async function load() {
    const { picture } = store.state;
    if (inside && picture?.photo === shown) return; // the same picture, scored meanwhile
    inside = null;
    view.hidden = true;
    stop();
    if (!picture || !root.open) return;
    status.textContent = "Looking inside the fusion";
    try {
      await null; // the page learns of the picture first
      const found = await readInside(await fetch(picture));
      if (store.state.picture !== picture) return; // another one came meanwhile
      inside = found;
      shown = picture.photo;
      block = Math.min(block, inside.blocks.length - 1);
      status.textContent = "";
      view.hidden = false;
      build();
    } catch (error) {
      if (store.state.picture === picture) status.textContent = error.message || String(error);
    }
  }

  function build() {
    slider.max = String(inside.blocks.length);
    find(".inside-blocks").replaceChildren(
      ...inside.blocks.map((_, i) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = String(i + 1);
        button.setAttribute("aria-label", `Block ${i + 1} of ${inside.blocks.length}`);
        button.addEventListener("click", () => (stop(), go(i)));
        return button;
      }),
    );
    const cells = inside.encoders.flatMap((encoder) => [
      head(NAMES[encoder] ?? encoder, `side ${encoder}`),
      cell(encoder, "moved", "How far MVFuser moved each patch"),
      ...SIDES.map((side) => cell(encoder, `features ${side}`, `Features ${side} the fusion`)),
      ...SIDES.map((side) => cell(encoder, `similarity ${side}`, `Similarity ${side} the fusion`)),
    ]);
    const heads = ["", "Moved", "Features before", "Features after", "Similarity before", "Similarity after"].map((text) => head(text, "top"));
    find(".inside-grid").replaceChildren(...heads, ...cells);
    drawClassPairs(find(".inside-classes"), inside, heat);
    go(block);
  }

  function head(text, name) {
    const element = document.createElement("span");
    element.className = `inside-head ${name}`;
    element.textContent = text;
    return element;
  }

  function cell(encoder, what, label) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "inside-cell";
    button.setAttribute("aria-label", `${NAMES[encoder] ?? encoder}: ${label}. Enter chooses the patch that is moved most.`);
    button.title = "Click a patch to follow it";
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: inside.grid[1], height: inside.grid[0] });
    Object.assign(canvas.dataset, { encoder, what });
    const mark = document.createElement("i");
    button.append(canvas, mark);
    button.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      const keyboard = event.detail === 0;
      const place = keyboard
        ? middleOf(argmax(inside.blocks[block][encoder].offsets), inside.grid)
        : { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
      store.set({ points: [{ x: Math.min(0.999, Math.max(0, place.x)), y: Math.min(0.999, Math.max(0, place.y)), sign: 1 }] });
    });
    return button;
  }

  function go(to) {
    block = to;
    slider.value = String(block + 1);
    [...find(".inside-blocks").children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === block)));
    draw();
  }

  function draw() {
    if (!inside || !store.state.picture) return;
    const asked = lookingAt(store.state, store.state.picture);
    for (const canvas of root.querySelectorAll(".inside-grid canvas")) {
      const { encoder, what } = canvas.dataset;
      const [kind, side] = what.split(" ");
      const part = inside.blocks[block][encoder];
      paintOn(canvas, (rgba) => {
        if (kind === "moved") paintField(part.offsets, [0, scale(inside, encoder)], heat, rgba);
        else if (kind === "similarity") paintField(similarityAt(inside, block, encoder, side, asked.points), [0, 1], heat, rgba);
        else for (let i = 0; i < part.offsets.length; i++) rgba.set([...part.features[side].subarray(3 * i, 3 * i + 3), 255], 4 * i);
      });
      Object.assign(canvas.nextElementSibling.style, { left: `${100 * asked.place.x}%`, top: `${100 * asked.place.y}%` });
    }
    const moved = inside.encoders.map((name) => {
      const { median, relative } = inside.blocks[block][name];
      return `${NAMES[name] ?? name} patches by ${median.toFixed(2)} (${Math.round(100 * relative)} % of their length)`;
    });
    find(".inside-says").textContent =
      `Block ${block + 1} of ${inside.blocks.length} moves ${moved.join(", ")}, in the median. Similarity is to ${FROM[asked.from]}.`;
    chart(asked.points.find(({ sign }) => sign > 0).index);
  }

  function chart(index) {
    const { width, height } = CHART;
    const [lines, middle] = [followed(inside, index), medians(inside)];
    const most = Math.max(...Object.values(lines).flat(), ...Object.values(middle).flat());
    const line = (values, name) => `<polyline class="${name}" points="${polyline(values, most, width, height)}"/>`;
    const x = inside.blocks.length > 1 ? (block * width) / (inside.blocks.length - 1) : 0;
    const svg = find("svg");
    svg.setAttribute("viewBox", `-6 -6 ${width + 12} ${height + 12}`);
    svg.innerHTML = `<line class="now" x1="${x}" x2="${x}" y1="0" y2="${height}"/>${inside.encoders
      .map((name) => line(middle[name], `${name} median`) + line(lines[name], name))
      .join("")}`;
    const told = inside.encoders.map((name) => `${NAMES[name] ?? name} ${lines[name].map((v) => v.toFixed(1)).join(", ")}`);
    svg.setAttribute("aria-label", `How far the patch is moved at each block: ${told.join("; ")}`);
    find(".inside-chart figcaption").textContent = `This patch through the blocks: how far it is moved (dashed: the median patch). Top: ${most.toFixed(1)}`;
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }
  play.addEventListener("click", () => {
    if (timer) return stop();
    play.textContent = "Stop";
    go((block + 1) % inside.blocks.length);
    timer = setInterval(() => go((block + 1) % inside.blocks.length), PAUSE);
  });
  slider.addEventListener("input", () => (stop(), go(Number(slider.value) - 1)));
  root.addEventListener("toggle", () => (root.open ? inside || load() : stop()));
  store.on(["picture"], load);
  store.on(["points", "text"], draw);
}
