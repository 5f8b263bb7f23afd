// A page without a server: bundles are files, and texts were embedded beforehand.

import { mount } from "./main.js";

const about = await (await fetch("./gallery.json")).json();

mount(document.querySelector(".mfuser"), {
  examples: about.pictures,
  heat: about.heat,
  upload: null,
  async analyse(entry, tell, signal) {
    const answer = await fetch(entry.bundle, { signal });
    if (!answer.ok) throw new Error(`The data of this picture is missing (${answer.status}): publish the whole folder.`);
    return answer.arrayBuffer();
  },
  async lookFor(picture, text) {
    const known = picture.header.queries ?? [];
    const wanted = text.toLowerCase();
    const found = known.find((one) => one.text.toLowerCase() === wanted);
    if (!found) throw new Error(`This page has no server: choose one of ${known.map((one) => one.text).join(", ")}.`);
    return { id: found.text, note: "", ...found };
  },
});
