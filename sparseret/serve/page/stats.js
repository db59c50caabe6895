// An index in numbers.

import { count, el, foreign } from "./dom.js";

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

function size(bytes) {
  let unit = 0;
  while (bytes >= 1024 && unit < UNITS.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${unit === 0 ? count(bytes) : bytes.toFixed(1)} ${UNITS[unit]}`;
}

/** What GET /indexes/{name} answers. */
export function statistics(stats) {
  const numbers = [
    ["documents", count(stats.documents)],
    ["deleted, not merged yet", count(stats.tombstones)],
    ["terms in the vocabulary", stats.terms > 0 ? count(stats.terms) : "none is kept"],
    ["terms of a document, on average", stats.mean_length.toFixed(1)],
    ["on disk", size(stats.bytes)],
    ["ordered by", stats.order_by ?? "arrival"],
    ["format", String(stats.format_version)],
  ];
  const row = (leg) =>
    el("tr", {},
      el("th", { scope: "row" }, foreign(leg.name || "the only one")),
      el("td", {}, leg.kind),
      el("td", {}, foreign(leg.encoder)),
      el("td", { class: "number" }, count(leg.nnz)),
      el("td", { class: "number" }, size(leg.bytes)),
      el("td", { class: "number" }, count(leg.segments)),
      el("td", {}, leg.calibrated ? "yes" : "no"));
  return el("div", {},
    el("dl", { class: "numbers" }, numbers.map(([name, value]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Legs" },
      el("table", { class: "legs" },
        el("caption", {}, "Legs"),
        el("thead", {}, el("tr", {},
          ["leg", "kind", "encoder", "stored values", "size", "segments", "calibrated"].map(
            (name, i) => el("th", { scope: "col", class: i > 2 && i < 6 ? "number" : null }, name)))),
        el("tbody", {}, stats.legs.map(row)))));
}
