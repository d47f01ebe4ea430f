// Small helpers around the document.
const SVG = 'http://www.w3.org/2000/svg';

/** The element with this id. */
export const $ = (id) => document.getElementById(id);

/** Appends a new element with these properties. */
export const add = (parent, tag, properties = {}) =>
  parent.appendChild(Object.assign(document.createElement(tag), properties));

/** Appends a new element of SVG with these attributes. */
export function draw(parent, tag, attributes = {}) {
  const element = parent.appendChild(document.createElementNS(SVG, tag));
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** Appends one of the page's icons; what it means is said beside it. */
export function icon(parent, name) {
  const svg = draw(parent, 'svg', {'aria-hidden': 'true'});
  draw(svg, 'use', {href: `#icon-${name}`});
  return svg;
}

/** Shows another icon in its place. */
export const turn = (svg, name) => svg.firstChild.setAttribute('href', `#icon-${name}`);

/** One of the views `start`, `room`, `ended`; the element that the reader is led to. */
export function view(name, focus) {
  for (const id of ['start', 'room', 'ended']) $(id).hidden = id !== name;
  document.body.dataset.view = name;
  focus?.focus();
}

/** Tells screen readers, in words, what the others see. */
export function say(text) {
  // The same text again is an event of its own.
  $('live').textContent = $('live').textContent === text ? `${text} ` : text;
}

/** Opens a dialog. Messages come into it: what is behind it can neither be reached nor heard. */
export function openDialog(id) {
  const dialog = $(id);
  if (dialog.open) return;
  dialog.showModal();
  dialog.append($('notices'));
  dialog.addEventListener('close', () => document.body.append($('notices')), {once: true});
}
