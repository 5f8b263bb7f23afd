// The film strip: a place to drop a photograph, the examples, and this visit's own pictures.

const MOST = 24; // pictures of one's own that the strip keeps

/**
 * @typedef {{id: string, title: string, thumbnail: string, badge?: string}} Entry
 *
 * @param {HTMLElement} root
 * @param {Entry[]} examples
 * @param {{choose: (entry: Entry) => void, upload: ((file: File, open: boolean) => void) | null}} actions
 *   upload: null without a server; open: the first of several is shown
 */
export function createStrip(root, examples, { choose, upload }) {
  const list = root.querySelector(".strip-list");
  const picker = root.querySelector('input[type="file"]');
  const drop = root.querySelector(".drop");
  const own = [];
  let chosen = null;

  function button(entry) {
    const element = document.createElement("button");
    element.type = "button";
    element.className = "strip-entry";
    element.dataset.id = entry.id;
    const image = document.createElement("img");
    image.src = entry.thumbnail;
    image.alt = "";
    image.width = 104;
    image.height = 52;
    image.addEventListener("error", () => image.classList.add("unseen")); // TIFF or HEIC, which browsers do not show
    const label = document.createElement("span");
    label.textContent = entry.title;
    element.append(image, label);
    if (entry.badge) {
      const badge = document.createElement("em");
      badge.textContent = entry.badge;
      element.append(badge);
    }
    element.title = entry.title;
    element.setAttribute("aria-label", entry.badge ? `${entry.title} (${entry.badge})` : entry.title);
    element.addEventListener("click", () => {
      mark(entry.id);
      choose(entry);
    });
    return element;
  }

  function show() {
    list.replaceChildren(...own.map(button), ...examples.map(button));
    mark(chosen);
  }

  function mark(id) {
    chosen = id;
    for (const element of list.children) element.setAttribute("aria-pressed", String(element.dataset.id === id));
  }

  drop.hidden = !upload;
  if (upload) {
    const take = (files) => {
      [...files].slice(0, MOST).forEach((file, i) => upload(file, i === 0));
    };
    drop.addEventListener("click", () => picker.click());
    picker.addEventListener("change", () => {
      take(picker.files);
      picker.value = "";
    });
    const page = document.documentElement;
    page.addEventListener("dragover", (event) => {
      if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
      event.preventDefault();
      root.classList.add("dragging");
    });
    page.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) root.classList.remove("dragging");
    });
    page.addEventListener("drop", (event) => {
      if (!event.dataTransfer?.files.length) return;
      event.preventDefault();
      root.classList.remove("dragging");
      take(event.dataTransfer.files);
    });
    page.addEventListener("paste", (event) => {
      if (event.clipboardData?.files.length) take(event.clipboardData.files);
    });
  }
  show();
  return {
    mark,
    /** A picture of this visit, remembered by this tab alone. @param {Entry} entry */
    add(entry) {
      own.unshift(entry);
      own.splice(MOST);
      show();
    },
    /** What turned out to be no picture goes away. @param {string} id */
    remove(id) {
      const at = own.findIndex((entry) => entry.id === id);
      if (at >= 0) own.splice(at, 1);
      show();
    },
  };
}
