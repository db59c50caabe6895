// Making elements. Text is only ever set as text: documents may hold HTML.

/** An element with attributes and children; strings become text, null is left out. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null));
  return made;
}

export const byId = (id) => document.getElementById(id);

/** A string of somebody else's, which may be written from right to left. */
export const foreign = (text, className = null) => el("bdi", { class: className }, String(text));

/** A number with four digits that count, of a column whose largest is given. */
export function number(value, largest = value) {
  const size = Math.abs(largest);
  const digits = size > 0 ? Math.min(8, Math.max(0, 3 - Math.floor(Math.log10(size)))) : 3;
  return value.toFixed(digits).replace("-", "\u2212");
}

export const count = (n) => n.toLocaleString("en");
export const plural = (n, one, many = one + "s") => `${count(n)} ${n === 1 ? one : many}`;
export const largestOf = (values) => values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);

/** A bar whose length is a share of the largest. */
export function bar(value, largest) {
  const filled = el("span", { class: value < 0 ? "filled negative" : "filled" });
  filled.style.inlineSize = `${largest > 0 ? (100 * Math.abs(value)) / largest : 0}%`;
  return el("span", { class: "bar-of-term", "aria-hidden": "true" }, filled);
}

/** Text with marks, whose places are counted in code points (JavaScript counts UTF-16 units). */
export function marked(text, marks) {
  const points = Array.from(text);
  const parts = [];
  let before = 0;
  for (const [start, end] of marks) {
    parts.push(points.slice(before, start).join(""));
    parts.push(el("mark", {}, points.slice(start, end).join("")));
    before = end;
  }
  parts.push(points.slice(before).join(""));
  return parts.filter((part) => part !== "");
}

/** Show a message in an element that is hidden while there is none. */
export function tell(element, text) {
  element.textContent = text;
  element.hidden = text === "";
}
