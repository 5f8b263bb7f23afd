// "Look for ...": words, chips, pinned points, opacity, layer and mode.

import { LAYERS } from "./layers.js";
import { verdict } from "./scales.js";

const SUGGESTIONS = ["car", "person", "tree", "traffic light", "something red"];
const NAMES = {
  masks: "Masks",
  similarity: "Similarity",
  features: "Features",
  confidence: "Confidence",
  disagreement: "Differences",
  truth: "Errors",
};

/**
 * @param {HTMLElement} root
 * @param {ReturnType<import("./store.js").createStore>} store
 * @param {ReturnType<import("./stage.js").createStage>} stage
 * @param {(text: string) => Promise<{id: string, text: string, note: string, vectors: Record<string, number[][]>,
 *   background?: Record<string, number[][]>} | null>} ask
 */
export function createCommandLine(root, store, stage, ask) {
  const form = root.querySelector("form");
  const input = form.querySelector("input");
  const chips = root.querySelector(".chips");
  const points = root.querySelector(".points");
  const note = root.querySelector(".query-note");
  let asked = 0;

  async function lookFor(text) {
    const wanted = text.trim();
    if (!wanted || !store.state.picture) return;
    input.value = wanted;
    const mine = ++asked;
    const { picture } = store.state;
    note.textContent = "";
    try {
      const answer = await ask(wanted);
      if (mine !== asked || store.state.picture !== picture || !answer) return; // a later question, or another picture
      store.set({ text: answer, points: [], layer: "similarity", following: false, kept: null, isolated: null });
      note.textContent = verdict(picture.header, answer, stage.field);
    } catch (error) {
      if (mine === asked) note.textContent = error.message || String(error);
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    lookFor(input.value);
  });
  chips.replaceChildren(
    ...SUGGESTIONS.map((text) => {
      const chip = document.createElement("button");
      chip.type = "button";
      chip.textContent = text;
      chip.addEventListener("click", () => lookFor(text));
      return chip;
    }),
  );

  function showPoints({ points: pinned }) {
    points.hidden = !pinned.length;
    form.hidden = chips.hidden = pinned.length > 0;
    points.replaceChildren(
      ...pinned.map((point, i) => {
        const chip = document.createElement("span");
        chip.className = "point-chip";
        const sign = document.createElement("button");
        sign.type = "button";
        sign.textContent = point.sign > 0 ? "+" : "−";
        sign.title = "Change to the opposite";
        sign.setAttribute("aria-label", point.sign > 0 ? "More like this patch" : "Less like this patch");
        sign.addEventListener("click", () =>
          store.set({ points: store.state.points.map((p, k) => (k === i ? { ...p, sign: -p.sign } : p)) }),
        );
        const text = document.createElement("span");
        text.textContent = `patch at ${Math.round(100 * point.x)} %, ${Math.round(100 * point.y)} %`;
        const remove = document.createElement("button");
        remove.type = "button";
        remove.textContent = "×";
        remove.setAttribute("aria-label", `Remove the point at ${text.textContent.slice(9)}`);
        remove.addEventListener("click", () => store.set({ points: store.state.points.filter((_, k) => k !== i) }));
        chip.append(sign, text, remove);
        return chip;
      }),
    );
    if (pinned.length) note.textContent = "";
  }

  function pills(element, key, choices, names) {
    element.replaceChildren(
      ...choices.map((choice) => {
        const button = document.createElement("button");
        button.type = "button";
        button.dataset.choice = choice;
        button.textContent = names[choice];
        button.addEventListener("click", () => store.set({ [key]: choice }));
        return button;
      }),
    );
    const mark = (state) => {
      for (const button of element.children) button.setAttribute("aria-pressed", String(button.dataset.choice === state[key]));
    };
    store.on([key], mark);
    mark(store.state);
  }
  pills(root.querySelector(".layers"), "layer", LAYERS, NAMES);
  pills(root.querySelector(".modes"), "mode", ["swipe", "triple", "nine", "single"], {
    swipe: "Swipe",
    triple: "Triple",
    nine: "Nine",
    single: "Single",
  });
  const truth = root.querySelector('.layers [data-choice="truth"]');
  const between = root.querySelector(".between");
  for (const [side, select] of [["left", between.querySelector(".between-left")], ["right", between.querySelector(".between-right")]]) {
    select.addEventListener("change", () => store.set({ [side]: select.value }));
    store.on([side], (state) => (select.value = state[side]));
    select.value = store.state[side];
  }
  const models = root.querySelector(".models");
  pills(models, "model", ["vfm", "vlm", "fused"], { vfm: "VFM", vlm: "VLM", fused: "MFuser" });
  const settle = ({ mode, picture }) => {
    between.hidden = mode !== "swipe";
    models.hidden = mode !== "single";
    truth.disabled = !picture?.truth;
    truth.title = picture && !picture.truth ? "The truth of this picture is not known" : "";
  };
  store.on(["mode", "picture"], settle);
  settle(store.state);
  store.on(["picture"], ({ picture, layer }) => {
    if (layer === "truth" && picture && !picture.truth) store.set({ layer: "masks" });
  });

  const opacity = root.querySelector(".opacity input");
  opacity.addEventListener("input", () => store.set({ opacity: Number(opacity.value) / 100 }));
  store.on(["opacity"], (state) => (opacity.value = String(Math.round(100 * state.opacity))));
  opacity.value = String(Math.round(100 * store.state.opacity));
  const follow = root.querySelector(".follow input");
  follow.addEventListener("change", () =>
    store.set({ following: follow.checked, layer: follow.checked ? "similarity" : store.state.layer }),
  );
  store.on(["following"], ({ following }) => (follow.checked = following));
  store.on(["points"], showPoints);
  store.on(["picture"], () => (note.textContent = ""));
  store.on(["text"], ({ text }) => (input.value = text?.text ?? ""));
  const INVITE = "Click the picture, or type what to look for.";
  store.on(["layer", "points", "text", "following", "picture"], ({ layer, points: pinned, text, following, picture }) => {
    const nothing = picture && layer === "similarity" && !pinned.length && !text && !following;
    if (nothing) note.textContent = INVITE;
    else if (note.textContent === INVITE) note.textContent = "";
  });
  showPoints(store.state);
  return { lookFor };
}
