// The first screen: what this is, which daemon it talks to, and how a second person comes in.
import {$, add} from './dom.js';
import {notice} from './notices.js';
import {query} from './state.js';

const NAME = 'rtcd-demo-name';
const isLocal = ['127.0.0.1', 'localhost', '[::1]'].includes(location.hostname);

/** What the page's server says of itself; what is not known is not said. */
const about = fetch('about.json').then((answer) => answer.json()).catch((error) => {
  notice(`The demo does not say what it is: ${error.message}.`);
  return null;
});

const invitation = (origin, more = '') => `${origin}?call=${encodeURIComponent($('call-name').value)}${more}`;

/** What is remembered is a comfort; some browsers forbid it. */
function remembered() {
  try {
    return localStorage.getItem(NAME) ?? '';
  } catch {
    return '';
  }
}

/** Keeps the name for the next visit. */
export function remember(name) {
  try {
    localStorage.setItem(NAME, name);
  } catch {
    // Then it is typed again.
  }
}

function renderInvitation(known) {
  $('second').href = invitation('./', '&name=Guest&tone=660&picture');
  const place = $('phone');
  place.replaceChildren();
  const origin = isLocal ? known?.addresses[0] : `${location.origin}/`;
  if (origin) {
    const address = invitation(origin);
    const code = add(place, 'img', {
      className: 'code', width: 160, height: 160, src: `code.svg?text=${encodeURIComponent(address)}`,
      alt: `QR code of ${address}`,
    });
    code.addEventListener('error', () => code.remove());
    const words = add(place, 'div');
    add(words, 'h3', {textContent: 'Or take a phone'});
    add(words, 'p', {textContent: 'Point its camera at the code, in a network that reaches this machine.'});
    add(words, 'a', {href: address, textContent: address, className: 'address'});
    if (origin.startsWith('https:')) {
      add(words, 'p', {className: 'hint', textContent: 'The browser warns once: the certificate was made for this demo and nobody vouches for it.'});
    }
  } else if (known) {
    const words = add(place, 'div');
    add(words, 'h3', {textContent: 'A phone, too?'});
    add(words, 'p', {textContent: 'This page is for this machine alone. Stop the demo and start it so, to let others in over HTTPS:'});
    add(add(words, 'p'), 'code', {textContent: 'rtcd demo --allow-remote'});
  }
}

function renderAbout(known) {
  if (!known) return;
  const whose = known.own ? ', started for this demo with an empty store' : '';
  add($('about'), 'p', {textContent: `Media goes through the daemon at ${known.daemon}${whose}. rtcd ${known.version}.`});
  add($('about'), 'p', {textContent: `The demo stands in for the Mattermost server; the page does what its web client does. At most ${known.most} people.`});
}

/** Fills in what the address asks for, and what is known. */
export async function prepare() {
  $('name').value = query.get('name') ?? remembered();
  $('call-name').value = query.get('call') || 'demo';
  if (query.has('tone')) $('voice').value = 'tone';
  if (query.has('picture')) $('video').value = 'picture';
  if (query.has('silent')) $('voice').value = 'none';
  if (!navigator.mediaDevices) {
    // What only fails is not offered first.
    if ($('voice').value === 'microphone') $('voice').value = 'tone';
    for (const id of ['voice', 'video']) {
      for (const option of $(id).options) option.disabled = ['microphone', 'camera'].includes(option.value);
    }
  }
  const known = await about;
  renderAbout(known);
  renderInvitation(known);
  $('call-name').addEventListener('input', () => renderInvitation(known));
}
