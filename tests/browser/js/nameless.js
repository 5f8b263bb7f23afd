/* Controls without a name. */
() => [...document.querySelectorAll('button, select, a[href], input:not([type=hidden]), textarea, [role=slider], canvas')]
  .filter((e) => e.checkVisibility())
  .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.title || (e.labels && e.labels.length) || e.getAttribute('aria-labelledby')))
  .map((e) => e.outerHTML.slice(0, 120))
