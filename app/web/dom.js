/** Making and updating elements without a framework. Text goes in as text, never as HTML. */

const SVG = 'http://www.w3.org/2000/svg';

/** `h('button', {class: 'small', onclick}, 'Release')`. A prop that is null is left out; `true` sets an empty attribute. */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function s(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) element.append(child);
  return element;
}

/** Sets text only where it differs, so that a screen reader and a selection are left in peace. */
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

export function attribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/**
 * Keeps `parent`'s children in step with `items`: made once a key, updated in place, removed when their item is gone, in the items' order.
 * `make(item)` returns `{ root, update(item) }`. Elements in place are not moved, so the focus stays where it is.
 */
export function keyed(parent, make) {
  const known = new Map();
  return (items, keyOf) => {
    const wanted = new Set();
    let at = parent.firstElementChild;
    for (const item of items) {
      const key = keyOf(item);
      wanted.add(key);
      let part = known.get(key);
      if (part === undefined) {
        part = make(item);
        known.set(key, part);
      }
      part.update(item);
      if (part.root === at) at = at.nextElementSibling;
      else parent.insertBefore(part.root, at);
    }
    for (const [key, part] of known) {
      if (wanted.has(key)) continue;
      part.root.remove();
      known.delete(key);
    }
  };
}
