// Before the first paint: the colours that were chosen here, else those of the system.
"use strict";
{
  let chosen = null;
  try {
    chosen = localStorage.getItem("sparseret.theme");
  } catch {
    // Storage is switched off: the system's colours, then.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
