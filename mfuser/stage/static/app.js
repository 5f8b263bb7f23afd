// The stage in the app: photographs go to the server through Gradio, bundles and words come back.

import { mount } from "./main.js";

/**
 * @param {object} page
 * @param {HTMLElement} page.element
 * @param {(event: string, data?: object) => void} page.trigger
 * @param {(file: File) => Promise<{path: string}>} page.upload
 * @param {string} page.base address of the stage's files
 */
export async function start({ element, trigger, upload, base }) {
  const root = element.querySelector(".mfuser");
  if (!root || root.dataset.mounted) return;
  root.dataset.mounted = "1";
  const about = await (await fetch(`${base}about.json`)).json();
  root.querySelector(".privacy").textContent = about.privacy;
  const waiting = new Map(); // request -> what to do with its messages
  document.addEventListener("mfuser:message", (event) => {
    const message = JSON.parse(event.detail);
    waiting.get(message.request)?.(message);
  });

  /** Asks the queue; resolves with the token of a bundle. */
  function ask(entry, path, tell, signal) {
    const request = `${Date.now()}-${Math.random()}`; // crypto.randomUUID wants https
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => {
        waiting.delete(request);
        trigger("cancel");
        reject(new Error("Cancelled."));
      });
      waiting.set(request, ({ status, token, error }) => {
        if (status) tell(status);
        if (token) resolve(token);
        if (error) reject(new Error(error));
        if (token || error) waiting.delete(request);
      });
      tell("Waiting for the models");
      trigger("analyse", { request, example: entry.example ?? null, path });
    });
  }

  /** The data of a drawer, or an error with the server's sentence. */
  async function bytes(address, options) {
    const answer = await fetch(address, options);
    if (answer.ok) return answer.arrayBuffer();
    const said = await answer.json().catch(() => ({}));
    throw new Error(said.error ?? "The server does not answer: try again.");
  }

  const tokens = new WeakMap(); // picture -> token, filled when it is shown
  let last = null;
  let settings = false; // true once a visitor chose others: the ready bundles are those of the defaults
  const stage = mount(root, {
    examples: about.examples.map((one, example) => ({
      ...one,
      example,
      id: one.id,
      thumbnail: `${base}example/${example}/thumbnail`,
      preview: `${base}example/${example}/picture`,
    })),
    heat: about.heat,
    upload: (file) => upload(file),
    async analyse(entry, tell, signal) {
      let path = null;
      if (entry.file) {
        if (!entry.path) {
          tell("Sending the photograph");
          entry.path = (await upload(entry.file)).path;
        }
        path = entry.path;
      }
      if (entry.example !== undefined && !settings) {
        const ready = await fetch(`${base}example/${entry.example}/bundle`, { signal });
        if (ready.ok) {
          last = ready.headers.get("x-token");
          // The drawers below learn of the picture through the queue, which has its result already.
          ask(entry, null, () => {}, new AbortController().signal).catch(() => {});
          return ready.arrayBuffer();
        }
      }
      last = await ask(entry, path, tell, signal);
      const answer = await fetch(`${base}bundle/${last}`, { signal });
      if (!answer.ok) throw new Error("This result is no longer here: choose the picture again.");
      return answer.arrayBuffer();
    },
    inside: (picture) => bytes(`${base}inside/${tokens.get(picture)}`),
    truth: (picture, file, kind) => bytes(`${base}truth/${tokens.get(picture)}?kind=${kind}`, { method: "POST", body: file }),
    zip: (picture) => `${base}zip/${tokens.get(picture)}`,
    async lookFor(picture, text) {
      const words = await fetch(`${base}words/${tokens.get(picture)}?text=${encodeURIComponent(text)}`);
      const answer = await words.json();
      if (answer.error) throw new Error(answer.error);
      return { id: text, ...answer };
    },
  });
  stage.store.on(["picture"], ({ picture }) => {
    if (picture) tokens.set(picture, last);
  });

  document.addEventListener("mfuser:again", () => {
    settings = true;
    stage.again();
  });
}
