// Who is in the call: a tile each with picture or initials, and a large one for the screen that is shared.
import {$, add, icon, say} from './dom.js';
import {colour, css, ink, initials} from './colours.js';
import {media, route} from './media.js';
import {notice} from './notices.js';
import {Ear} from './sources.js';
import {here, nameOf, participant} from './state.js';

/** session id -> its tile */
const tiles = new Map();
/** kind -> our own picture of it: no road through the daemon */
const previews = new Map();
/** As in the style sheet. */
const RATIO = 16 / 9, GAP = 12, MARGIN = 4;

/** Brings the tiles in line with the participants. */
export function renderTiles() {
  const list = here.call.participants;
  const present = new Set(list.map(({sessionID}) => sessionID));
  for (const [id, tile] of tiles) {
    if (present.has(id)) continue;
    say(`${tile.dataset.name} has left.`);
    tile.remove();
    tiles.delete(id);
    here.speaking.delete(id);
  }
  for (const one of list) {
    if (!tiles.has(one.sessionID)) seatTile(newTile(one), one);
    update(tiles.get(one.sessionID), one);
  }
  $('count').textContent = list.length === 1 ? '1 person' : `${list.length} people`;
  here.settled = present.has(here.call.sessionID);
  preview();
  renderScreen();
}

/** In the order in which they came. Tiles that are there stay where they are: a picture that is moved stops. */
function seatTile(tile, {sessionID, seat}) {
  tile.dataset.seat = seat;
  const behind = [...$('tiles').children].find((other) => Number(other.dataset.seat) > seat);
  $('tiles').insertBefore(tile, behind ?? null);
  tiles.set(sessionID, tile);
}

function newTile({sessionID, name, seat, speaking}) {
  const own = sessionID === here.call.sessionID;
  const tile = Object.assign(document.createElement('li'), {className: 'tile'});
  tile.dataset.name = name;
  // No style attributes: the page's policy forbids them, setting a property is something else.
  tile.style.setProperty('--colour', css(colour(seat)));
  tile.style.setProperty('--ink', ink(colour(seat)));
  const face = add(tile, 'span', {className: 'face', textContent: initials(name)});
  face.setAttribute('aria-hidden', 'true');
  add(tile, 'div', {className: 'pictures'});
  const label = add(tile, 'div', {className: 'label'});
  icon(label, 'mic-off').classList.add('off');
  const share = icon(label, 'screen');
  share.classList.add('shares');
  add(label, 'b', {textContent: name});
  if (own) add(label, 'span', {textContent: '(you)'});
  add(label, 'span', {className: 'unseen notes'});
  if (own) tile.classList.add('own');
  else if (here.settled) say(`${name} has joined.`);
  if (speaking) here.speaking.add(sessionID);
  return tile;
}

function update(tile, {sessionID, muted, video, screen}) {
  const before = tile.classList.contains('sharing');
  tile.classList.toggle('muted', muted);
  tile.classList.toggle('pictured', video);
  tile.classList.toggle('sharing', screen);
  if (screen && !before) say(`${tile.dataset.name} shares a screen.`);
  if (before && !screen) say(`${tile.dataset.name} shares no more.`);
  if (muted) here.speaking.delete(sessionID);
  ring(sessionID);
}

/** The daemon has heard a voice begin or end. */
export function speaking({sessionID, on}) {
  if (on) here.speaking.add(sessionID);
  else here.speaking.delete(sessionID);
  ring(sessionID);
}

function ring(sessionID) {
  const tile = tiles.get(sessionID);
  if (!tile) return;
  const on = here.speaking.has(sessionID);
  tile.classList.toggle('speaking', on);
  const notes = [on && 'speaking', tile.classList.contains('muted') && 'muted', tile.classList.contains('sharing') && 'shares a screen'];
  tile.querySelector('.notes').textContent = notes.filter(Boolean).join(', ');
}

/** Sessions whose tile has the ring. */
export const ringed = () => [...tiles].filter(([, tile]) => tile.classList.contains('speaking')).map(([id]) => id);

// ---- pictures and sound

/** What we send ourselves, on our own tile. */
function preview() {
  const tile = tiles.get(here.call?.sessionID);
  for (const [kind, made] of previews) {
    if (here.sources.get(kind)?.tracks.includes(made.track)) continue;
    made.element.remove();
    previews.delete(kind);
  }
  for (const [kind, {tracks}] of here.sources) {
    const track = tracks.find((one) => one.kind === 'video');
    if (!tile || !track || previews.has(kind)) continue;
    const parent = kind === 'screen' ? $('screen') : tile.querySelector('.pictures');
    const srcObject = new MediaStream([track]);
    const element = add(parent, 'video', {muted: true, autoplay: true, playsInline: true, srcObject});
    if (here.sources.get(kind).source.startsWith('camera')) element.classList.add('mirrored');
    previews.set(kind, {element, track});
  }
  tile?.classList.toggle('pictured', previews.has('video'));
}

/** Shows, or plays, a track of somebody else. */
export function show({mid, sender, type, track, stream}) {
  const tile = tiles.get(sender);
  const parent = type === 'screen' ? $('screen') : tile?.querySelector('.pictures') ?? $('stage');
  const element = add(parent, track.kind, {autoplay: true, playsInline: true, srcObject: stream});
  if (track.kind === 'video') element.setAttribute('aria-label', `${type === 'screen' ? 'Screen' : 'Camera'} of ${nameOf(sender)}`);
  else route(element);
  play(element);
  here.shown.set(mid, {element, ear: track.kind === 'audio' ? new Ear(track) : null});
  renderScreen();
}

function play(element) {
  element.play().catch((error) => {
    // AbortError: the track went before it began.
    if (error.name === 'NotAllowedError') {
      const all = () => here.shown.forEach(({element: one}) => play(one));
      notice('The browser plays no sound before you have clicked.', {act: ['Play', all]});
    } else if (error.name !== 'AbortError') {
      notice(`A track cannot be played: ${error.message}.`);
    }
  });
}

export function hide({mid}) {
  const {element, ear} = here.shown.get(mid) ?? {};
  ear?.close();
  if (element) element.srcObject = null;
  element?.remove();
  here.shown.delete(mid);
  renderScreen();
}

function renderScreen() {
  const sharer = here.call?.participants.find(({screen}) => screen);
  const has = Boolean($('screen').querySelector('video'));
  $('screen').querySelector('.label')?.remove();
  if (has && sharer) {
    const own = sharer.sessionID === here.call.sessionID;
    const label = add($('screen'), 'div', {className: 'label'});
    icon(label, 'screen');
    add(label, 'b', {textContent: own ? 'Your screen, as the others get it' : `${sharer.name}’s screen`});
  }
  $('screen').hidden = !has;
  $('stage').classList.toggle('with-screen', has);
  layOut();
}

/** Everything goes: the call is over. */
export function clearTiles() {
  for (const tile of tiles.values()) tile.remove();
  for (const {element} of previews.values()) element.remove();
  tiles.clear();
  previews.clear();
  here.speaking.clear();
  here.settled = false;
  $('screen').replaceChildren();
  renderScreen();
}

// ---- the grid

/** As many columns as make the tiles largest. */
function layOut() {
  const width = $('tiles').clientWidth - 2 * MARGIN, height = $('tiles').clientHeight - 2 * MARGIN;
  const count = tiles.size;
  if (!count || width <= 0 || $('stage').classList.contains('with-screen')) return;
  let best = 0;
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const across = (width - GAP * (columns - 1)) / columns;
    const down = (height - GAP * (rows - 1)) / rows * RATIO;
    best = Math.max(best, Math.min(across, down));
  }
  // Below that it is better to scroll.
  $('tiles').style.setProperty('--width', `${Math.floor(Math.max(best, Math.min(width, 150)))}px`);
}

new ResizeObserver(layOut).observe($('stage'));
media.addEventListener('change', () => {
  if (here.call && !here.call.ended && participant(here.call.sessionID)) {
    preview();
    renderScreen();
  }
});
