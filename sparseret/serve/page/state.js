// What the page shows, as it stands in the address: after "#", so that no server sees it.

const DEFAULTS = {
  view: "search", index: "", q: "", k: "10", filter: "", effort: "", fusion: "", weights: "",
  side: "", text: "", kind: "query", leg: "", top: "30",
};
const LISTS = ["like", "legs"];
const LONGEST = 2000; // characters of a text that an address can take

/** The state in an address. */
export function parse(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const state = {};
  for (const [name, value] of Object.entries(DEFAULTS)) state[name] = given.get(name) ?? value;
  for (const name of LISTS) state[name] = given.getAll(name);
  return state;
}

/** The address of a state, without what goes without saying. */
export function format(state) {
  const made = new URLSearchParams();
  for (const [name, value] of Object.entries(DEFAULTS)) {
    if (state[name] !== value && state[name].length <= LONGEST) made.set(name, state[name]);
  }
  for (const name of LISTS) for (const value of state[name]) made.append(name, value);
  return `#${made}`;
}

/** The body of a search. */
export function searchBody(state, legs) {
  const body = { k: Number(state.k), text: false, snippet: 240 };
  if (state.q !== "" || state.like.length === 0) body.query = state.q;
  if (state.like.length > 0) body.like = state.like;
  if (state.filter.trim() !== "") body.filter = state.filter;
  if (state.effort === "exact") body.exact = true;
  else if (state.effort !== "") body.recall = Number(state.effort);
  if (legs.length > 0) body.legs = legs;
  if (state.fusion !== "" && legs.length !== 1) {
    body.fusion = { kind: state.fusion };
    const weights = state.weights.split(/[\s,;]+/).filter((part) => part !== "");
    if (weights.length > 0) body.fusion.weights = weights.map(Number);
  }
  return body;
}
