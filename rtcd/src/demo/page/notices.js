// What went wrong, until it has been read: each message stays, beside the others, until it is dismissed.
import {$, add, icon} from './dom.js';

const LIMIT = 8;

/** Shows a message. The same one again is counted, not repeated. `act`: a button's text, and what it does. */
export function notice(text, {act} = {}) {
  const known = [...$('notices').children].find((one) => one.dataset.text === text);
  if (known) {
    known.dataset.times = Number(known.dataset.times) + 1;
    known.querySelector('.times').textContent = `${known.dataset.times} times`;
    return known;
  }
  const card = add($('notices'), 'div', {className: 'notice'});
  Object.assign(card.dataset, {text, times: 1});
  card.setAttribute('role', 'alert');
  add(card, 'p', {textContent: text});
  add(card, 'span', {className: 'times'});
  if (act) {
    const [label, what] = act;
    add(card, 'button', {textContent: label, onclick: () => { card.remove(); what(); }});
  }
  const close = add(card, 'button', {className: 'plain', onclick: () => card.remove()});
  close.setAttribute('aria-label', 'Dismiss this message');
  icon(close, 'close');
  // A page that fails again and again is not filled up.
  while ($('notices').children.length > LIMIT) $('notices').firstChild.remove();
  return card;
}

/** All messages that are shown. */
export const notices = () => [...$('notices').children].map((one) => one.dataset.text);

const NAMES = {microphone: 'microphone', camera: 'camera', screen: 'screen', tone: 'test tone', picture: 'test picture', 'test-screen': 'test screen'};

/** Why a source could not be had, in words for whoever wanted it. */
export function explain(source, error) {
  const name = NAMES[source.split(':')[0]] ?? source;
  switch (error.name) {
    case 'InsecureError':
      return `The browser gives no ${name} to a page over plain HTTP. Open it over HTTPS, or on the machine itself at 127.0.0.1; the test tone and the test picture work here, too.`;
    case 'NotAllowedError':
      return source === 'screen'
        ? 'Nothing is shared: no screen was chosen.'
        : `The browser was not allowed to use the ${name}. Allow it beside the page's address, then try again.`;
    case 'NotFoundError':
    case 'OverconstrainedError':
      return `No ${name} was found. Plug one in, or choose another under Devices.`;
    case 'NotReadableError':
      return `The ${name} cannot be used; maybe another program has it.`;
    default:
      return `The ${name} does not work: ${error.message}.`;
  }
}
