// Taking away and looking around: save, download, link, theme, keys, full screen.

import { fullScreen } from "./gestures.js";
import { writeLink } from "./link.js";
import { WHOLE } from "./viewport.js";

/** @param {string} address @param {string} name of the file */
function save(address, name) {
  const link = document.createElement("a");
  Object.assign(link, { href: address, download: name });
  link.click();
}

/**
 * @param {HTMLElement} root
 * @param {ReturnType<import("./stage.js").createStage>} stage
 * @param {ReturnType<import("./store.js").createStore>} store
 * @param {object} of the page
 * @param {((picture: import("./bundle.js").Picture) => string)} [of.zip] address of a picture's files
 * @param {() => string} of.name of the picture shown
 * @param {() => string | null} of.example shown, for the link
 */
export function createTools(root, stage, store, { zip, name, example }) {
  const button = (kind, act) => {
    const element = root.querySelector(`.${kind}`);
    element.addEventListener("click", () => act(element));
    return element;
  };
  const stageElement = root.querySelector(".stage");

  /** Says on the button what was done, where the eye is. */
  function tell(element, text) {
    const before = (element.dataset.text ??= element.textContent);
    element.textContent = text;
    clearTimeout(Number(element.dataset.timer));
    element.dataset.timer = String(setTimeout(() => (element.textContent = before), 4000));
  }

  const seen = button("as-seen", () => {
    const file = `${name().replace(/\.[^.]*$/, "")}-${store.state.layer}.png`;
    stage.canvas.toBlob((blob) => save(URL.createObjectURL(blob), file));
  });
  const download = button("download", () => save(zip(store.state.picture), "mfuser.zip"));
  download.hidden = !zip;
  const settle = ({ picture }) => (download.disabled = seen.disabled = !picture);
  store.on(["picture"], settle);
  settle(store.state);

  button("share", async (element) => {
    const address = new URL(window.location.href);
    address.hash = writeLink(store.state, example());
    history.replaceState(null, "", address);
    try {
      await navigator.clipboard.writeText(address.href);
      tell(element, example() ? "Link copied" : "Copied, without your picture");
    } catch {
      tell(element, "It is in the address bar");
    }
  });

  const page = document.querySelector("gradio-app") ? document.body : document.documentElement;
  const isDark = () => document.querySelector(".dark") !== null;
  const theme = button("theme", () => {
    const dark = !isDark();
    for (const element of document.querySelectorAll(".dark")) element.classList.remove("dark");
    page.classList.toggle("dark", dark);
    sayTheme();
  });
  const sayTheme = () => (theme.textContent = isDark() ? "Light" : "Dark");
  sayTheme();

  const keys = root.querySelector(".keys");
  button("help", (element) => {
    keys.hidden = !keys.hidden;
    element.setAttribute("aria-expanded", String(!keys.hidden));
  });
  button("full-screen", () => fullScreen(stageElement));
  const whole = button("whole", () => store.set({ view: WHOLE }));
  store.on(["view"], ({ view }) => (whole.hidden = view.scale <= 1));
  whole.hidden = store.state.view.scale <= 1;
  root.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address is the view's
    stage.canvas.focus();
  });
}
