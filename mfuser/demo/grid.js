// Runs once per grid component (Gradio gives `element`). The content of `element` is replaced by the
// server's next answer, so every listener sits on `element` itself.

const pixels = new WeakMap(); // mask picture -> {src, data, width, height}

function cellOf(event) {
  const cell = event.target.closest ? event.target.closest(".tile[data-kind]") : null;
  return cell && element.contains(cell) ? cell : null;
}

function read(image) {
  const known = pixels.get(image);
  if (known && known.src === image.src) return known;
  if (!image.complete || !image.naturalWidth) return null;
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const fresh = { src: image.src, data, width: canvas.width, height: canvas.height };
  pixels.set(image, fresh);
  return fresh;
}

function nameAt(cell, x, y, names) {
  const picture = read(cell.querySelector("img.layer"));
  if (!picture) return "";
  const column = Math.min(picture.width - 1, Math.floor(x * picture.width));
  const row = Math.min(picture.height - 1, Math.floor(y * picture.height));
  const at = 4 * (row * picture.width + column);
  if (picture.data[at + 3] === 0) return "unlabelled";
  return names[Array.from(picture.data.slice(at, at + 3)).join(",")] || "";
}

// The same place in every picture, and the class that each mask has there.
function point(x, y) {
  const frame = element.querySelector(".grid-frame");
  if (!frame) return;
  element.style.setProperty("--x", `${100 * x}%`);
  element.style.setProperty("--y", `${100 * y}%`);
  element.classList.add("pointing");
  element.dataset.x = x;
  element.dataset.y = y;
  const names = JSON.parse(frame.dataset.names);
  for (const cell of element.querySelectorAll('.tile[data-kind="mask"]')) {
    const tip = cell.querySelector(".tip");
    tip.textContent = nameAt(cell, x, y, names);
    tip.classList.toggle("left", x > 0.6);
    tip.classList.toggle("above", y > 0.7);
  }
}

function fractions(cell, event) {
  const box = cell.getBoundingClientRect();
  const clamp = (value) => Math.min(1, Math.max(0, value));
  return [clamp((event.clientX - box.left) / box.width), clamp((event.clientY - box.top) / box.height)];
}

element.addEventListener("pointermove", (event) => {
  const cell = cellOf(event);
  if (cell) point(...fractions(cell, event));
  else if (event.pointerType === "mouse") element.classList.remove("pointing");
});
element.addEventListener("pointerleave", (event) => {
  if (event.pointerType === "mouse") element.classList.remove("pointing");
});
element.addEventListener("click", (event) => {
  const cell = cellOf(event);
  if (cell) point(...fractions(cell, event));
});

const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
element.addEventListener("keydown", (event) => {
  const cell = cellOf(event);
  if (!cell) return;
  let [x, y] = [Number(element.dataset.x ?? 0.5), Number(element.dataset.y ?? 0.5)];
  if (event.key in steps) {
    const size = event.shiftKey ? 0.1 : 0.02;
    x = Math.min(1, Math.max(0, x + size * steps[event.key][0]));
    y = Math.min(1, Math.max(0, y + size * steps[event.key][1]));
    point(x, y);
    event.preventDefault();
  }
});
element.addEventListener("focusout", () => element.classList.remove("pointing"));
