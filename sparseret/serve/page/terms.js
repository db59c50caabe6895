// Terms as bars: of a query, of a text, and of an explanation.

import { bar, count, el, foreign, largestOf, number } from "./dom.js";

const MOST = 20; // rows before "all"

/** Rows of a table, the first ones at once and the others on demand. */
function rows(items, row, columns) {
  const body = el("tbody", {}, items.slice(0, MOST).map(row));
  if (items.length > MOST) {
    const more = el("button", {
      type: "button",
      class: "quiet",
      onclick: () => {
        last.replaceWith(...items.slice(MOST).map(row));
      },
    }, `All ${count(items.length)} terms`);
    const last = el("tr", {}, el("td", { colspan: columns }, more));
    body.append(last);
  }
  return body;
}

/** Terms of a vector: {term, value}. */
export function weightTable(terms, caption, withIndex = false) {
  const largest = largestOf(terms.map((each) => each.value));
  const row = ({ term, value, index }) =>
    el("tr", {},
      el("th", { scope: "row" }, foreign(term)),
      withIndex ? el("td", { class: "number dim" }, String(index)) : null,
      el("td", { class: "number" }, number(value, largest)),
      el("td", { class: "bars" }, bar(value, largest)));
  return el("table", { class: "terms" },
    el("caption", { class: "visually-hidden" }, caption),
    el("thead", { class: "visually-hidden" }, el("tr", {},
      el("th", { scope: "col" }, "Term"),
      withIndex ? el("th", { scope: "col" }, "Column") : null,
      el("th", { scope: "col" }, "Weight"),
      el("td", {}))),
    rows(terms, row, withIndex ? 4 : 3));
}

/** What terms add to a score. */
function contributionTable(terms, caption, total) {
  const largest = largestOf(terms.map((each) => each.contribution));
  const queryLargest = largestOf(terms.map((each) => each.query_weight));
  const documentLargest = largestOf(terms.map((each) => each.document_weight));
  const row = (each) =>
    el("tr", {},
      el("th", { scope: "row" }, foreign(each.term)),
      el("td", { class: "number" }, number(each.query_weight, queryLargest)),
      el("td", { class: "number" }, number(each.document_weight, documentLargest)),
      el("td", { class: "number strong" }, number(each.contribution, largest)),
      el("td", { class: "bars" }, bar(each.contribution, largest)));
  return el("div", { class: "wide" }, el("table", { class: "terms contributions" },
    el("caption", { class: "visually-hidden" }, caption),
    el("thead", {}, el("tr", {},
      el("th", { scope: "col" }, "term"),
      el("th", { scope: "col", class: "number" }, "query"),
      el("th", { scope: "col", class: "number" }, "document"),
      el("th", { scope: "col", class: "number" }, "product"),
      el("td", {}))),
    rows(terms, row, 5),
    el("tfoot", {}, el("tr", {},
      el("th", { scope: "row", colspan: 3 }, "sum"),
      el("td", { class: "number strong" }, number(total, largest)),
      el("td", {})))));
}

const missing = (terms) =>
  terms.length === 0 ? null : el("p", { class: "missing" }, "Not in the document: ",
    terms.slice(0, 50).flatMap((term, i) => (i ? [", ", foreign(term)] : [foreign(term)])),
    terms.length > 50 ? ` and ${count(terms.length - 50)} more` : "");

/** Why a document has its score. */
export function explanation(explained) {
  if (explained.legs.length === 0) {
    return el("div", {},
      explained.terms.length > 0
        ? contributionTable(explained.terms, "What each term adds to the score", explained.score)
        : el("p", { class: "missing" }, "No terms: dense vectors have none."),
      missing(explained.missing));
  }
  return el("div", {}, explained.legs.map((leg) =>
    el("section", { class: "leg" },
      el("h4", {}, foreign(leg.name), el("span", { class: "dim" },
        ` score ${number(leg.score)}, ` +
        (leg.rank == null ? "not among its results that were fused" : `rank ${count(leg.rank)}`) +
        `, adds ${number(leg.share, explained.score)} of ${number(explained.score)}`)),
      leg.terms.length > 0
        ? contributionTable(leg.terms, `What each term adds to the score of ${leg.name}`, leg.score)
        : null,
      leg.terms.length === 0 && leg.missing.length === 0
        ? el("p", { class: "missing" }, "No terms: dense vectors have none.")
        : null,
      missing(leg.missing))));
}
