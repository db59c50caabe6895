// The page: shows what the address says, and changes the address on what the user does.

import { ApiError, handlers, request, useKey } from "./api.js";
import { byId, el, tell } from "./dom.js";
import { showEncoding } from "./encode.js";
import { listen } from "./keyboard.js";
import { showSearch } from "./search.js";
import { format, parse } from "./state.js";
import { statistics } from "./stats.js";

const VIEWS = ["search", "encode", "index"];
const TITLES = { search: "", encode: "Encode", index: "Statistics" };

let state = parse(location.hash);
let indexes = null; // as GET /indexes answers
let running = new AbortController(); // ends the requests of what is not shown any more

/** Show a state with these changes; a new entry of the history unless it is what is shown. */
function go(changes) {
  const next = { ...state, ...changes };
  if (format(next) !== format(state)) history.pushState(null, "", format(next));
  return show(next);
}

async function show(next) {
  state = next;
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const view = VIEWS.includes(state.view) ? state.view : "search";
  tell(byId("problem"), "");
  for (const name of VIEWS) {
    byId(`${name}-view`).hidden = name !== view;
    const link = byId(`to-${name}`);
    link.href = format({ ...state, view: name });
    if (name === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    indexes ??= (await request("indexes", { signal })).indexes;
    const index = chosenIndex();
    document.title = [view === "search" ? state.q : TITLES[view], index?.name, "sparseret"]
      .filter(Boolean).join(" \u2013 ");
    const context = { state, index, signal, go };
    if (view === "encode") await showEncoding(context);
    else if (index === null) tell(byId("problem"), noIndex());
    else if (view === "index") await showStatistics(context);
    else await showSearch(context);
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof ApiError)) throw error;
    tell(byId("problem"), error.message);
  }
}

function noIndex() {
  return state.index !== "" && indexes.length > 0
    ? `There is no index ${state.index}: choose another.`
    : "No index is served. Texts can be encoded nevertheless.";
}

function chosenIndex() {
  const select = byId("index");
  const names = indexes.map((each) => each.name);
  const chosen = state.index === "" ? (names[0] ?? "") : state.index;
  select.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
  select.disabled = names.length === 0;
  select.value = chosen;
  return indexes.find((each) => each.name === chosen) ?? null;
}

async function showStatistics({ index, signal }) {
  byId("index-title").textContent = index.name;
  byId("stats").replaceChildren();
  const stats = await request(`indexes/${encodeURIComponent(index.name)}`, { signal });
  byId("stats").replaceChildren(el("p", { class: "dim" }, index.description), statistics(stats));
}

// What the requests ask of the page.

handlers.askKey = (rejected) => new Promise((resolve) => {
  const form = byId("key-form");
  const field = byId("key");
  byId("key-text").textContent = rejected
    ? "The service does not know this key." : "This service needs a key.";
  form.hidden = false;
  field.value = "";
  field.focus();
  form.onsubmit = (event) => {
    event.preventDefault();
    const given = field.value.trim();
    if (!/^[\x21-\x7e]+$/.test(given)) {
      byId("key-text").textContent = "A key has letters, digits and signs of ASCII only.";
      return;
    }
    field.value = "";
    form.hidden = true;
    useKey(given);
    resolve();
    byId("query").focus();
  };
});

let wait = 0;
handlers.waiting = (seconds) => {
  clearTimeout(wait);
  if (seconds > 0) {
    tell(byId("problem"), `The service is busy: trying again in ${seconds} s.`);
  } else {
    wait = setTimeout(() => tell(byId("problem"), ""), 0);
  }
};

// Colours: those of the system, or chosen.

const THEMES = ["auto", "light", "dark"];

function showTheme() {
  const now = document.documentElement.dataset.theme ?? "auto";
  byId("theme").replaceChildren(el("span", {}, "Colours: "), now);
  return now;
}

function nextTheme() {
  const next = THEMES[(THEMES.indexOf(showTheme()) + 1) % THEMES.length];
  if (next === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try {
    if (next === "auto") localStorage.removeItem("sparseret.theme");
    else localStorage.setItem("sparseret.theme", next);
  } catch {
    // Storage is switched off: the choice lasts as long as the page.
  }
  showTheme();
}

showTheme();
byId("theme").addEventListener("click", nextTheme);
byId("keys-button").addEventListener("click", () => byId("keys").showModal());
byId("index").addEventListener("change", (event) =>
  go({ index: event.target.value, like: [], legs: [], leg: "", fusion: "", weights: "", side: "" }));
byId("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  go(readSearch());
});
for (const id of ["effort", "fusion", "side", "k", "legs"]) {
  byId(id).addEventListener("change", () => go(readSearch()));
}
byId("like-clear").addEventListener("click", () => {
  go({ like: [] });
  byId("query").focus();
});
byId("encode-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  go({
    text: byId("text").value, kind: form.elements.kind.value, leg: byId("encode-leg").value,
    top: byId("top").value || "30",
  });
});
window.addEventListener("hashchange", () => show(parse(location.hash)));
listen();

/** What the form of the search says. */
function readSearch() {
  const boxes = [...byId("legs").querySelectorAll("input")];
  const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
  const query = byId("query").value;
  return {
    q: query, like: query === "" ? state.like : [],
    k: byId("k").value || "10", filter: byId("filter").value, effort: byId("effort").value,
    fusion: byId("fusion").value, weights: byId("weights").value,
    side: byId("side").checked ? "1" : "",
    legs: chosen.length === boxes.length ? [] : chosen,
  };
}

await show(state);
if (document.activeElement === document.body && state.q === "" && state.like.length === 0) {
  byId("query").focus({ preventScroll: true });
}
