// The right rail: one sentence, and the classes with a bar for each model.

import { css } from "./colours.js";
import { TITLES } from "./panes.js";
import { sentence, shares } from "./summary.js";

const LEAST = 0.0005; // share of the pixels below which a class is not listed

/**
 * @param {HTMLElement} root
 * @param {ReturnType<import("./store.js").createStore>} store
 * @param {(name: string) => void} lookFor
 */
export function createRail(root, store, lookFor) {
  const says = root.querySelector(".rail-sentence");
  const head = root.querySelector(".rail-head");
  const list = root.querySelector(".rail-classes");
  function rows(picture) {
    const { classes, colours, streams, iou } = picture.header;
    const found = streams.map((stream) => shares(picture.masks[stream], classes.length));
    head.textContent = iou
      ? "IoU with this picture's truth, by model: mean over its classes"
      : "Share of the pixels, by model";
    const means = iou && streams.map((s) => mean(iou[s].filter((value) => value !== null)));
    const entries = classes
      .map((name, k) => ({ name, k, values: streams.map((s, i) => (iou ? iou[s][k] : found[i][k])), most: Math.max(...found.map((f) => f[k])) }))
      .filter(({ most, values }) => (iou ? values.some((v) => v !== null) : most > LEAST));
    list.replaceChildren(
      ...(means ? [row({ name: "mean", colour: null, values: means, streams, k: null })] : []),
      ...entries.map(({ name, k, values }) => row({ name, colour: colours[k], values, streams, k })),
    );
  }

  function row({ name, colour, values, streams, k }) {
    const button = document.createElement(k === null ? "div" : "button");
    button.className = "rail-row";
    if (k !== null) {
      button.type = "button";
      button.setAttribute("aria-pressed", "false");
      button.dataset.class = String(k);
      button.title = "Point: show this class alone. Click: keep it. Double click: look for it.";
      button.addEventListener("pointerenter", () => store.set({ isolated: k }));
      button.addEventListener("pointerleave", () => release());
      button.addEventListener("focus", () => store.set({ isolated: k }));
      button.addEventListener("blur", () => release());
      button.addEventListener("click", () => {
        const kept = store.state.kept === k ? null : k;
        store.set({ layer: "masks" });
        store.set({ kept, isolated: kept });
      });
      button.addEventListener("dblclick", () => lookFor(name));
    }
    const swatch = document.createElement("i");
    if (colour) swatch.style.background = css(colour);
    const label = document.createElement("span");
    label.className = "rail-name";
    label.textContent = name;
    const bars = document.createElement("span");
    bars.className = "rail-bars";
    bars.append(
      ...streams.map((stream, i) => {
        const bar = document.createElement("span");
        bar.className = `rail-bar ${stream}`;
        const value = values[i];
        bar.style.setProperty("--value", String(value ?? 0));
        const text = value === null || value === undefined ? "–" : `${(100 * value).toFixed(1)} %`;
        bar.textContent = text;
        bar.setAttribute("aria-label", `${TITLES[stream]}: ${text}`);
        return bar;
      }),
    );
    button.append(swatch, label, bars);
    return button;
  }

  const release = () => store.set({ isolated: store.state.kept });

  function show({ picture }) {
    store.set({ kept: null, isolated: null });
    root.classList.toggle("empty", !picture);
    says.textContent = picture ? sentence(picture) : "\u00a0";
    if (picture) rows(picture);
    else {
      head.textContent = "";
      list.replaceChildren();
    }
  }
  store.on(["picture"], show);
  store.on(["kept"], ({ kept }) => {
    for (const button of list.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.class) === kept));
    }
  });
  // Another layer was chosen: it is shown, not the class.
  store.on(["layer"], () => store.set({ kept: null, isolated: null }));
}

const mean = (values) => (values.length ? values.reduce((sum, v) => sum + v, 0) / values.length : null);
