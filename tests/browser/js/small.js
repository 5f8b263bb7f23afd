/* Targets below 24 px. */
() => [...document.querySelectorAll('button, select, a[href], input, [role=slider]')]
  .filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.closest('.skip') && !e.closest('label'))
  .map((e) => [e, e.getBoundingClientRect()]).filter(([e, b]) => b.width && (b.width < 24 || b.height < 24) && getComputedStyle(e).display !== 'inline')
  .map(([e, b]) => `${Math.round(b.width)}x${Math.round(b.height)} ${e.tagName}.${e.className} ${e.textContent.slice(0, 20)}`)
