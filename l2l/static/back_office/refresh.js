// A page with an element data-refresh="N" follows what happens: it loads itself anew every N seconds while somebody looks at it.
document.addEventListener("DOMContentLoaded", () => {
  const element = document.querySelector("[data-refresh]");
  if (!element) return;
  setInterval(() => {
    if (!document.hidden) location.reload();
  }, 1000 * Number(element.dataset.refresh));
});
