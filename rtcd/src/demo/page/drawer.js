// The statistics: what comes and goes, each track with small plots of its last minute.
import {$, add, draw} from './dom.js';
import {here, nameOf, participant} from './state.js';
import {colour, css} from './colours.js';
import {KEPT, history} from './stats.js';

const PLOTS = [
  {key: 'kbps', label: 'Bit rate', unit: 'kbit/s', least: 50},
  {key: 'fps', label: 'Frames', unit: 'fps', least: 30, video: true},
  {key: 'jitter', label: 'Jitter', unit: 'ms', least: 20, digits: 1},
  {key: 'loss', label: 'Loss', unit: '%', least: 5, digits: 1},
];
const TYPES = {voice: 'Voice', video: 'Camera', screen: 'Screen', 'screen-audio': 'Sound of the screen'};
const HEIGHT = 30;

/** track id -> {card, title, detail, plots} */
const cards = new Map();

export function toggleDrawer() {
  const open = $('drawer').hidden;
  $('drawer').hidden = !open;
  $('stats').setAttribute('aria-expanded', String(open));
  if (open) {
    renderDrawer();
    $('drawer-close').focus();
  } else {
    $('stats').focus();
  }
}
$('drawer-close').addEventListener('click', toggleDrawer);
$('drawer').addEventListener('keydown', ({key}) => { if (key === 'Escape') toggleDrawer(); });

/** Brings it in line with the numbers, if somebody looks at it. */
export function renderDrawer() {
  if ($('drawer').hidden) return;
  renderPath(here.numbers.transport);
  // Sections that something is received in have a sender, too, that never sends.
  const tracks = here.numbers.tracks.filter((one) => one.inbound || one.bytes > 0);
  for (const [id, {card}] of cards) {
    if (tracks.some((one) => one.id === id)) continue;
    card.remove();
    cards.delete(id);
  }
  const known = cards.size;
  for (const one of tracks) {
    if (!cards.has(one.id)) cards.set(one.id, newCard(one));
    update(cards.get(one.id), one);
  }
  // By person; what we send ourselves last.
  if (cards.size !== known) for (const {id} of tracks.sort(inOrder)) $('tracks').append(cards.get(id).card);
}

const keyOf = (one) => [one.inbound ? 0 : 1, nameOf(one.sender), Object.keys(TYPES).indexOf(one.type), one.type].join('\n');
const inOrder = (one, other) => keyOf(one).localeCompare(keyOf(other));

/** Everything goes: the call is over. */
export function closeDrawer() {
  $('drawer').hidden = true;
  $('stats').setAttribute('aria-expanded', 'false');
  for (const {card} of cards.values()) card.remove();
  cards.clear();
}

function renderPath(path) {
  const facts = path
    ? [
      ['Way', `${path.protocol.toUpperCase()} to ${path.address}`],
      ['Round trip', `${(path.roundTripTime * 1000).toFixed(0)} ms`],
      ['Room to send', path.availableKbps ? `${path.availableKbps.toFixed(0)} kbit/s` : 'not known'],
    ]
    : [['Way', 'none yet']];
  $('path').replaceChildren();
  for (const [term, textContent] of facts) {
    const row = add($('path'), 'div');
    add(row, 'dt', {textContent: term});
    add(row, 'dd', {textContent});
  }
}

function newCard(one) {
  const card = add($('tracks'), 'article', {className: 'track'});
  const heading = add(card, 'h3');
  const detail = add(card, 'p', {className: 'hint'});
  const rows = add(card, 'div', {className: 'plots'});
  const plots = PLOTS.filter(({video}) => !video || one.kind === 'video').map((plot) => {
    const figure = add(rows, 'figure');
    const caption = add(figure, 'figcaption', {textContent: plot.label});
    const value = add(caption, 'b');
    const svg = draw(figure, 'svg', {viewBox: `0 0 ${KEPT - 1} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img'});
    return {...plot, value, svg, area: draw(svg, 'path', {class: 'area'}), line: draw(svg, 'path', {class: 'line'})};
  });
  return {card, heading, detail, plots};
}

function update({card, heading, detail, plots}, one) {
  const seat = participant(one.sender)?.seat;
  if (seat !== undefined) card.style.setProperty('--colour', css(colour(seat)));
  heading.textContent = one.inbound
    ? `${nameOf(one.sender)}: ${TYPES[one.type] ?? one.type}`
    : `You send: ${one.kind === 'audio' ? 'sound' : 'pictures'}`;
  const size = one.width ? `${one.width} × ${one.height}` : '';
  detail.textContent = [one.codec.split('/').pop(), size, one.rid && `layer ${one.rid}`].filter(Boolean).join(' · ');
  const values = history.get(one.id) ?? [];
  for (const plot of plots) paint(plot, values.map((value) => value[plot.key]));
}

function paint({label, unit, least, digits = 0, value, svg, area, line}, points) {
  const now = points.at(-1) ?? 0;
  const most = Math.max(least, ...points);
  value.textContent = `${now.toFixed(digits)} ${unit}`;
  svg.setAttribute('aria-label', `${label} in the last minute: at most ${Math.max(0, ...points).toFixed(digits)} ${unit}`);
  // The newest at the right.
  const from = KEPT - points.length;
  const at = (y, x) => `${from + x} ${(HEIGHT - 1 - y / most * (HEIGHT - 2)).toFixed(1)}`;
  const path = points.map(at).join('L');
  line.setAttribute('d', path && `M${path}`);
  area.setAttribute('d', path && `M${from} ${HEIGHT}L${path}L${KEPT - 1} ${HEIGHT}Z`);
}
