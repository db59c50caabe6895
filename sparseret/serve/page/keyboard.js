// Keys, as the dialog of the page lists them.

import { byId } from "./dom.js";
import { move } from "./results.js";

const MOVES = {
  j: [1, 0], ArrowDown: [1, 0], k: [-1, 0], ArrowUp: [-1, 0],
  l: [0, 1], ArrowRight: [0, 1], h: [0, -1], ArrowLeft: [0, -1],
};

const types = (target) => target.closest("input, textarea, select, dialog") !== null;

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const target = event.target;
  if (byId("keys").open) return;
  if (types(target)) {
    if (target === byId("query") && event.key === "ArrowDown" && move(0, 0)) event.preventDefault();
    return;
  }
  if (handled(event, target)) event.preventDefault();
}

/** Whether the key is one of the page's, which is then done. */
function handled(event, target) {
  const card = target.closest("article");
  if (event.key === "/" && !byId("search-view").hidden) {
    byId("query").select();
    byId("query").focus();
    return true;
  }
  if (event.key === "?") {
    byId("keys").showModal();
    return true;
  }
  // Arrows also scroll a long page or a text: only where a result has the focus are they moves.
  if (event.key in MOVES && !byId("search-view").hidden && (event.key.length === 1 || target === card)) {
    return move(...MOVES[event.key]);
  }
  if (card === null) return false;
  const toggle = card.querySelector("button.explain");
  const isOpen = toggle.getAttribute("aria-expanded") === "true";
  if (event.key === "e" || (event.key === "Enter" && target === card)) {
    toggle.click();
    return true;
  }
  if (event.key === "m") {
    card.querySelector("button.like-this").click();
    return true;
  }
  if (event.key === "Escape") {
    if (isOpen) {
      toggle.click();
      card.focus();
    } else {
      byId("query").focus();
    }
    return true;
  }
  return false;
}

/** Listen to the keys of the page. */
export function listen() {
  document.addEventListener("keydown", press);
}
