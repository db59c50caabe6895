// Results: a list, or one a leg side by side.

import { byId, count, el, foreign, largestOf, marked, number, plural } from "./dom.js";
import { explanation } from "./terms.js";

/**
 * A list of results.
 *
 * answer: of the search. column: {name, title, body}, the request that was made. actions:
 * explain(column) and text(id), promises of an explanation by id and of a document; like(id) and
 * encode(document). fusedRanks: by id, in the columns of legs.
 */
export function resultList(answer, column, actions, fusedRanks = null) {
  const largest = largestOf(answer.results.map((each) => each.score));
  const items = answer.results.map((result, i) =>
    el("li", {}, card(result, i + 1, largest, column, actions, fusedRanks)));
  return el("ol", { class: "list" }, items);
}

/** Several lists side by side. */
export function columns(parts) {
  return el("div", { class: "columns" }, parts.map(({ column, list, note }) =>
    el("section", { class: "column", "aria-label": column.title },
      el("h2", {}, foreign(column.title), el("span", { class: "dim" }, ` ${note}`)),
      list)));
}

function card(result, rank, largest, column, actions, fusedRanks) {
  const panel = el("div", { class: "panel", id: `panel-${column.name}-${rank}`, hidden: true });
  const toggle = el("button", {
    type: "button", class: "quiet explain", "aria-expanded": "false", "aria-controls": panel.id,
    onclick: () => open(toggle, panel, result, column, actions),
  }, "Explain");
  const fused = fusedRanks?.get(result.id);
  return el("article", {
    class: "result", tabindex: rank === 1 ? "0" : "-1", "data-id": result.id,
    "aria-labelledby": `title-${column.name}-${rank}`,
  },
    el("header", {},
      el("span", { class: "rank" }, String(rank)),
      el("h3", { id: `title-${column.name}-${rank}` }, foreign(result.title || result.id)),
      el("span", { class: "score", title: "score" }, number(result.score, largest))),
    result.snippet?.text
      ? el("p", { class: "snippet", dir: "auto" }, marked(result.snippet.text, result.snippet.marks))
      : null,
    result.shares ? shares(result.shares) : null,
    el("footer", {},
      el("span", { class: "pair" }, el("span", { class: "dim" }, "id "), foreign(result.id, "code")),
      fusedRanks === null ? null : el("span", { class: "pair dim" },
        fused === undefined ? "not in the fused results" : `fused: ${count(fused)}`),
      Object.entries(result.metadata).map(([name, value]) =>
        el("span", { class: "pair" }, foreign(name, "dim"), " ", foreign(plain(value)))),
      el("span", { class: "grow" }),
      toggle,
      el("button", { type: "button", class: "quiet like-this", onclick: () => actions.like(result.id) },
        "More like this")),
    panel);
}

const plain = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** What each leg adds, as parts of one bar; the colours go by the order of the legs. */
function shares(byLeg) {
  const legs = Object.entries(byLeg);
  const total = legs.reduce((sum, [, share]) => sum + Math.abs(share), 0);
  const largest = largestOf(legs.map(([, share]) => share));
  const parts = legs.map(([, share], i) => {
    const part = el("span", { class: `part leg-${i % 4}${share < 0 ? " negative" : ""}` });
    part.style.inlineSize = `${total > 0 ? (100 * Math.abs(share)) / total : 0}%`;
    return part;
  });
  return el("div", { class: "shares" },
    el("span", { class: "stack", "aria-hidden": "true" }, parts),
    legs.map(([leg, share], i) => el("span", { class: "pair" },
      el("span", { class: `swatch leg-${i % 4}`, "aria-hidden": "true" }),
      foreign(leg), ` ${number(share, largest)}`)));
}

async function open(toggle, panel, result, column, actions) {
  if (toggle.getAttribute("aria-expanded") === "true") {
    toggle.setAttribute("aria-expanded", "false");
    panel.hidden = true;
    return;
  }
  toggle.setAttribute("aria-expanded", "true");
  panel.hidden = false;
  if (panel.childElementCount > 0 && !panel.dataset.failed) return;
  delete panel.dataset.failed;
  panel.replaceChildren(el("p", { class: "dim" }, "Explaining\u2026"));
  try {
    const explained = (await actions.explain(column)).get(result.id);
    panel.replaceChildren(
      explained === undefined
        ? el("p", { class: "error" }, "The index has changed since: search again.")
        : explanation(explained),
      wholeText(result.id, actions));
  } catch (error) {
    panel.dataset.failed = "true"; // the next time asks again
    panel.replaceChildren(el("p", { class: "error", role: "alert" }, error.message));
  }
}

function wholeText(id, actions) {
  const inside = el("div", {});
  return el("details", {
    ontoggle: async (event) => {
      if (!event.target.open || inside.childElementCount > 0) return;
      try {
        const found = await actions.text(id);
        inside.replaceChildren(
          el("p", { class: "whole", dir: "auto", tabindex: "0" }, found.text),
          el("button", { type: "button", class: "quiet", onclick: () => actions.encode(found) },
            "Terms of this text"));
      } catch (error) {
        inside.textContent = error.message;
      }
    },
  }, el("summary", {}, "Whole text"), inside);
}

/** How a search was made, in words. */
export function summary(answer, documents) {
  const { mode, results, ms } = answer;
  const how = mode.exact ? "exact"
    : mode.recall == null ? "approximate" : `recall ${mode.recall} when calibrated`;
  const without = mode.missing.length > 0 ? `; without ${mode.missing.join(", ")}` : "";
  return `${plural(results.length, "result")} of ${plural(documents, "document")} in ` +
    `${number(ms)} ms, ${how}${without}`;
}

/** Move the focus among results: by rows, and by columns where there are several. */
export function move(rows, columnsBy) {
  const lists = [...byId("results").querySelectorAll("ol.list")].map((list) =>
    [...list.querySelectorAll("article")]).filter((list) => list.length > 0);
  if (lists.length === 0) return false;
  const now = document.activeElement?.closest("article");
  const at = lists.findIndex((list) => list.includes(now));
  const column = Math.min(lists.length - 1, Math.max(0, at < 0 ? 0 : at + columnsBy));
  const row = at < 0 ? 0 : lists[at].indexOf(now) + rows;
  const list = lists[column];
  const next = list[Math.min(list.length - 1, Math.max(0, row))];
  for (const each of list) each.tabIndex = each === next ? 0 : -1;
  next.focus();
  next.scrollIntoView({ block: "nearest" });
  return true;
}
