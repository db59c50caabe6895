// The encode view: the vector of any text, with named terms.

import { request } from "./api.js";
import { byId, el, plural } from "./dom.js";
import { sparseLegs } from "./search.js";
import { weightTable } from "./terms.js";

/** Show the vector of the text of a state. */
export async function showEncoding({ state, index, signal }) {
  byId("text").value = state.text;
  byId("top").value = state.top;
  byId("encode-form").elements.kind.value = state.kind;
  byId("encode-count").textContent = "";
  byId("encoded").replaceChildren();
  const legs = index === null ? [] : await sparseLegs(index);
  signal.throwIfAborted();
  const select = byId("encode-leg");
  byId("encode-leg-field").hidden = legs.length < 2;
  select.replaceChildren(...legs.map((leg) => el("option", { value: leg }, leg)));
  select.value = legs.includes(state.leg) ? state.leg : (legs[0] ?? "");
  if (state.text === "") return;
  const body = { inputs: state.text, kind: state.kind, top: Number(state.top) };
  if (index !== null) body.index = index.name;
  if (select.value !== "") body.leg = select.value;
  const { encoder, texts: [{ terms, nnz }] } = await request("encode", { body, signal });
  const shown = nnz > terms.length ? `, the ${terms.length} largest are shown` : "";
  byId("encode-count").textContent = `${plural(nnz, "term")}${shown} \u2013 ${encoder}`;
  byId("encoded").replaceChildren(weightTable(terms, "Terms of the text", true));
}
