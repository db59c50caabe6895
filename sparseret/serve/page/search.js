// The search view: its form, the requests, and where the results go.

import { ApiError, request } from "./api.js";
import { byId, count, el, plural, tell } from "./dom.js";
import { columns, move, resultList, summary } from "./results.js";
import { searchBody } from "./state.js";
import { weightTable } from "./terms.js";

const FEW_TERMS = 5; // of the query, where there is little room above the results
const SOME_TERMS = 12;
const FUSED = "fused";
const SLOW = 300; // milliseconds until "Searching" is said

/** Show what a state finds. */
export async function showSearch({ state, index, signal, go }) {
  fillForm(state, index);
  tell(byId("filter-error"), "");
  byId("filter").removeAttribute("aria-invalid");
  const results = byId("results");
  if (state.q === "" && state.like.length === 0) {
    byId("query-terms").hidden = true;
    byId("count").textContent = "";
    results.removeAttribute("aria-busy"); // of a search that was given up
    results.replaceChildren(el("p", { class: "empty" },
      `${plural(index.documents, "document")}, ${index.description}`));
    return;
  }
  results.setAttribute("aria-busy", "true");
  const slow = setTimeout(() => (byId("count").textContent = "Searching\u2026"), SLOW);
  try {
    const asked = columnsOf(state, index);
    const [terms, ...answers] = await Promise.all([
      queryTerms(state, index, signal),
      ...asked.map(({ body }) => search(index, body, signal)),
    ]);
    signal.throwIfAborted();
    byId("query-terms").replaceChildren(...terms);
    byId("query-terms").hidden = terms.length === 0;
    results.replaceChildren(shown(asked, answers, actionsOf(state, index, signal, go)));
    byId("count").textContent = summary(answers[0], index.documents);
  } catch (error) {
    if (signal.aborted) throw error;
    results.replaceChildren();
    byId("count").textContent = "";
    byId("query-terms").hidden = true;
    if (!(error instanceof ApiError) || !isOfFilter(error, state)) throw error;
    tell(byId("filter-error"), error.message);
    byId("filter").setAttribute("aria-invalid", "true");
  } finally {
    clearTimeout(slow);
    if (!signal.aborted) results.removeAttribute("aria-busy");
  }
}

const kinds = new Map(); // by index: a promise of the kinds of its legs, by their names

/** The legs of an index that have terms: those of sparse vectors. */
export async function sparseLegs(index) {
  if (!kinds.has(index.name)) {
    const asked = request(`indexes/${encodeURIComponent(index.name)}`).then((stats) =>
      new Map(stats.legs.map((leg) => [leg.name, leg.kind])));
    asked.catch(() => kinds.delete(index.name));
    kinds.set(index.name, asked);
  }
  const kindOf = await kinds.get(index.name);
  return index.legs.filter((leg) => kindOf.get(leg) === "inverted");
}

const search = (index, body, signal) =>
  request(`indexes/${encodeURIComponent(index.name)}/search`, { body, signal });

/** Reports on filters point at a place in it, or speak of it. */
const isOfFilter = (error, state) =>
  error.status === 422 && state.filter.trim() !== "" &&
  (/^ *\^$/m.test(error.message) || /\bfilters?\b/.test(error.message));

const legsOf = (state, index) =>
  index.legs.filter((leg) => state.legs.length === 0 || state.legs.includes(leg));

/** The requests to be made: one, or besides it one a leg. */
function columnsOf(state, index) {
  const legs = legsOf(state, index);
  const some = state.legs.length > 0 ? legs : [];
  const first = { name: "r", title: FUSED, body: searchBody(state, some) };
  if (state.side === "" || legs.length < 2) return [first];
  return [first, ...legs.map((leg, i) => (
    { name: `leg${i}`, title: leg, body: searchBody(state, [leg]) }))];
}

function shown(asked, answers, actions) {
  if (answers.every((answer) => answer.results.length === 0)) {
    return el("p", { class: "empty" }, asked[0].body.filter === undefined
      ? "Nothing is found."
      : "Nothing is found that meets the filter.");
  }
  if (asked.length === 1) return resultList(answers[0], asked[0], actions);
  const ranks = new Map(answers[0].results.map((each, i) => [each.id, i + 1]));
  return columns(asked.map((column, i) => ({
    column,
    note: plural(answers[i].results.length, "result"),
    list: resultList(answers[i], column, actions, i === 0 ? null : ranks),
  })));
}

function actionsOf(state, index, signal, go) {
  const explained = new Map(); // by column: a promise of explanations by id
  return {
    explain(column) {
      if (!explained.has(column.name)) {
        const body = { ...column.body, explain: true };
        delete body.snippet;
        const asked = search(index, body, signal).then((answer) =>
          new Map(answer.results.map((each) => [each.id, each.explanation])));
        asked.catch(() => explained.delete(column.name));
        explained.set(column.name, asked);
      }
      return explained.get(column.name);
    },
    text: (id) => request(
      `indexes/${encodeURIComponent(index.name)}/documents/${encodeURIComponent(id)}`, { signal }),
    async like(id) {
      await go({ like: [id], q: "" });
      move(0, 0); // the button that had the focus is gone
    },
    encode: ({ title, text }) =>
      go({ view: "encode", kind: "document", text: [title, text].filter(Boolean).join(" ") }),
  };
}

function fillForm(state, index) {
  for (const id of ["k", "filter", "effort", "fusion", "weights"]) byId(id).value = state[id];
  byId("query").value = state.q;
  byId("side").checked = state.side !== "";
  byId("weights-field").hidden = state.fusion === "";
  byId("like").hidden = state.like.length === 0;
  byId("like-text").textContent = `More like ${state.like.join(", ")}`;
  byId("hybrid").hidden = index.legs.length < 2;
  const legs = byId("legs");
  const chosen = legsOf(state, index);
  const names = [...legs.querySelectorAll("input")].map((box) => box.value);
  if (names.join("\n") !== index.legs.join("\n")) {
    legs.replaceChildren(legs.firstElementChild, ...index.legs.map((leg) =>
      el("label", { class: "check" },
        el("input", { type: "checkbox", value: leg }), " ", el("bdi", {}, leg))));
  }
  for (const box of legs.querySelectorAll("input")) box.checked = chosen.includes(box.value);
}

/** The terms of a text as each sparse leg sees it. */
async function queryTerms(state, index, signal) {
  if (state.q === "") return [];
  const taking = legsOf(state, index);
  const legs = (await sparseLegs(index)).filter((leg) => taking.includes(leg));
  const above = state.side !== "" || matchMedia("(max-width: 68rem)").matches;
  const top = above ? FEW_TERMS : SOME_TERMS;
  return Promise.all(legs.map(async (leg) => {
    const body = { inputs: state.q, kind: "query", index: index.name, top };
    if (leg !== "") body.leg = leg;
    const { texts: [{ terms, nnz }] } = await request("encode", { body, signal });
    return termsOf(leg, terms, nnz);
  }));
}

function termsOf(leg, terms, nnz) {
  const title = leg === "" ? "Terms of the query" : `Terms of the query: ${leg}`;
  if (nnz === 0) return el("div", {}, el("h2", {}, title), el("p", { class: "dim" }, "None."));
  return el("div", {},
    el("h2", {}, title),
    weightTable(terms, title),
    nnz > terms.length
      ? el("p", { class: "dim" }, `The ${terms.length} largest of ${count(nnz)}.`)
      : null);
}
