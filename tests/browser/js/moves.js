/* 95 percentiles in ms over many moves of the pointer: to the painted frame, and drawing alone. */
async (count) => {
  const canvas = document.querySelector('#stage-canvas'), box = canvas.getBoundingClientRect(), took = [], drawing = [];
  const stage = canvas.closest('.stage');
  const painted = () => new Promise((done) => requestAnimationFrame(() => {
    const channel = new MessageChannel(); channel.port1.onmessage = done; channel.port2.postMessage(0); }));
  for (let i = 0; i < count; i++) {
    const x = box.left + box.width * (0.05 + 0.9 * ((i * 37) % 101) / 101), y = box.top + box.height * (0.05 + 0.9 * ((i * 53) % 97) / 97);
    await painted();
    const started = performance.now(), drawn = stage.dataset.drawn;
    canvas.dispatchEvent(new PointerEvent('pointermove', { clientX: x, clientY: y, pointerType: 'mouse', bubbles: true }));
    await painted();
    if (stage.dataset.drawn === drawn) throw new Error('a move was not painted');
    took.push(performance.now() - started);
    drawing.push(Number(stage.dataset.milliseconds));
  }
  const p95 = (all) => all.sort((a, b) => a - b)[Math.floor(0.95 * all.length)];
  return { painted: p95(took), drawing: p95(drawing) };
}
