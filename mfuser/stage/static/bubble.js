// What every model says at the pointer: class, confidence, similarity.

import { css } from "./colours.js";
import { TITLES } from "./panes.js";
import { patchAt } from "./similarity.js";

/**
 * @param {import("./bundle.js").Picture} picture
 * @param {string} stream
 * @param {{x: number, y: number}} at place in 0..1
 * @returns {{name: string, label: number, confidence: number | null}}
 */
export function readingAt(picture, stream, { x, y }) {
  const column = Math.min(picture.width - 1, Math.floor(x * picture.width));
  const row = Math.min(picture.height - 1, Math.floor(y * picture.height));
  const label = picture.masks[stream][row * picture.width + column];
  const map = picture.confidence[stream];
  let confidence = null;
  if (map) {
    const c = Math.min(map.width - 1, Math.floor(x * map.width));
    const r = Math.min(map.height - 1, Math.floor(y * map.height));
    confidence = map.values[r * map.width + c] / 255;
  }
  return { name: picture.header.classes[label] ?? "unlabelled", label, confidence };
}

/**
 * @param {HTMLElement} element
 * @param {ReturnType<import("./stage.js").createStage>} stage
 * @param {ReturnType<import("./store.js").createStore>} store
 */
export function createBubble(element, stage, store) {
  function show() {
    const { hover, picture, peek } = store.state;
    element.hidden = !hover || !picture || peek;
    if (element.hidden) return;
    const streams = picture.header.streams;
    const readings = streams.map((stream) => readingAt(picture, stream, hover));
    const differ = new Set(readings.map((one) => one.label)).size > 1;
    const patch = patchAt(hover.x, hover.y, picture.grid);
    const asked = store.state.points.length > 0 || store.state.text;
    element.classList.toggle("differ", differ);
    const head = document.createElement("div");
    head.className = "head";
    head.append(span(""), span("class"), span("sure"), span(asked && !store.state.following ? "similar" : ""));
    element.replaceChildren(
      head,
      ...readings.map(({ name, label, confidence }, i) => {
        const row = document.createElement("div");
        const field = asked && !store.state.following ? stage.field(streams[i]) : null;
        const cells = [
          TITLES[streams[i]],
          name,
          confidence === null ? "" : `${Math.round(100 * confidence)} %`,
          field ? field[patch].toFixed(2) : "",
        ];
        row.append(
          ...cells.map((text, k) => {
            const cell = document.createElement(k === 1 ? "b" : "span");
            if (k === 1) {
              const dot = document.createElement("i");
              dot.style.background = css(picture.header.colours[label] ?? [128, 128, 128]);
              cell.append(dot);
            }
            cell.append(text);
            return cell;
          }),
        );
        return row;
      }),
    );
    if (picture.truth) {
      const at = Math.floor(hover.y * picture.height) * picture.width + Math.floor(hover.x * picture.width);
      const row = document.createElement("div");
      row.className = "truth";
      const truth = picture.truth[Math.min(at, picture.truth.length - 1)];
      row.append(span("Truth"), span(picture.header.classes[truth] ?? "unlabelled"), span(""), span(""));
      element.append(row);
    }
    const box = stage.canvas.getBoundingClientRect();
    const place = stage.placeOf?.(hover);
    if (place) {
      element.style.left = `${Math.min(Math.max(4, place.x + 16), box.width - element.offsetWidth - 4)}px`;
      const below = place.y + 18;
      const fits = below + element.offsetHeight < box.height;
      element.style.top = `${fits ? below : Math.max(4, place.y - element.offsetHeight - 14)}px`;
    }
  }
  store.on(["hover", "picture", "points", "text", "peek", "view"], show);
}

function span(text) {
  const element = document.createElement("span");
  element.textContent = text;
  return element;
}
