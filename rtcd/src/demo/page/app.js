// The page: from the first screen into a call and out of it. `window.demo` is for tests.
import {Call} from './call.js';
import {colour} from './colours.js';
import {renderControls} from './controls.js';
import {$, say, view} from './dom.js';
import {closeDrawer, renderDrawer} from './drawer.js';
import {isIn, showEnd} from './ended.js';
import './keys.js';
import {choose, mute, publish, share, stopAll, unpublish} from './media.js';
import {notice, notices} from './notices.js';
import {audioContext, corners} from './sources.js';
import {prepare, remember} from './start.js';
import {here, nameOf, ownColour, query} from './state.js';
import {STATS_MS, measure} from './stats.js';
import {clearTiles, hide, renderTiles, ringed, show, speaking} from './tiles.js';

const STATES = {
  new: 'connecting …', connecting: 'connecting …', connected: 'connected', disconnected: 'connection unsteady, waiting …',
  failed: 'connection lost', closed: '',
};

let timer;
let joining = false;
/** What went wrong when the last call was joined. */
let failure = '';

async function join(asked) {
  if (joining || (here.call && !here.call.ended)) return;
  joining = true;
  audioContext();
  here.asked = asked;
  here.numbers = {tracks: [], received: {}, transport: null};
  const call = here.call = new Call({
    name: asked.name,
    call: asked.callName,
    dcSignaling: query.get('dc') !== '0',
    tcpOnly: query.get('tcp') === '1',
    av1: query.get('av1') === '1',
    simulcast: query.get('simulcast') !== '0',
    rsa: query.get('rsa') === '1',
    iceServers: JSON.parse(query.get('ice') ?? '[]'),
    relayOnly: query.get('relay') === '1',
    seat: asked.seat,
  });
  call.addEventListener('joined', () => { asked.seat = call.seat; });
  call.addEventListener('participants', renderTiles);
  call.addEventListener('track', ({detail}) => show(detail));
  call.addEventListener('untrack', ({detail}) => hide(detail));
  call.addEventListener('state', ({detail}) => status(STATES[detail] ?? detail));
  call.addEventListener('speaking', ({detail}) => speaking(detail));
  call.addEventListener('daemon', ({detail: reached}) => tellDaemon(reached));
  let why;
  call.addEventListener('closed', ({detail}) => { why = detail; left(why); });
  status('joining …');
  $('enter').disabled = true;
  $('enter').textContent = 'Joining …';
  try {
    await call.join();
    isIn();
    enter(asked);
    timer = setInterval(() => measure().then(renderDrawer, (error) => console.warn('statistics', error)), STATS_MS);
  } catch (error) {
    failure = `${error.message}.`;
    if (!why) call.close('failed');
    throw error;
  } finally {
    joining = false;
    $('enter').disabled = false;
    $('enter').textContent = 'Join';
  }
  await publish('voice', asked.voice);
  await publish('video', asked.video);
}

function enter({name, callName, voice, video}) {
  remember(name);
  if (voice !== 'none') here.chosen.voice = voice;
  if (video !== 'none') here.chosen.video = video;
  $('room-title').textContent = callName;
  document.title = `${callName} – rtcd demo`;
  view('room', $('room-title'));
  renderControls();
  renderTiles();
  say(`You are in the call ${callName}.`);
}

function left(why) {
  clearInterval(timer);
  stopAll();
  clearTiles();
  closeDrawer();
  for (const dialog of document.querySelectorAll('dialog')) dialog.close();
  document.title = 'rtcd demo';
  status('not in a call');
  if (why === 'gone') return;
  showEnd(why, why === 'failed' ? failure : '', () => attempt(here.asked));
}

/** Joins; why it did not work is said at its end. */
async function attempt(asked) {
  try {
    await join(asked);
  } catch (error) {
    console.warn('join', error);
  }
}

const status = (text) => { $('status').textContent = text; };

function tellDaemon(reached) {
  const text = 'The demo does not reach the daemon. It tries again every second; a call that runs may go on meanwhile.';
  const shown = [...$('notices').children].find((one) => one.dataset.text === text);
  if (!reached) return notice(text);
  shown?.remove();
  if (shown) say('The demo reaches the daemon again.');
}

$('join').addEventListener('submit', (event) => {
  event.preventDefault();
  const {value: name} = $('name'), {value: callName} = $('call-name');
  attempt({name, callName, voice: $('voice').value, video: $('video').value, seat: here.asked?.seat ?? null});
});
addEventListener('pagehide', () => {
  here.call?.signal('leave');
  here.call?.close('gone');
});

/** What a test wants to know, as plain values. */
function state() {
  const {call, numbers, shown} = here;
  return {
    view: document.body.dataset.view ?? 'start',
    sessionID: call?.sessionID ?? '',
    connection: call?.pc?.connectionState ?? 'none',
    ended: call?.ended ?? false,
    status: $('status').textContent,
    notices: notices(),
    colour: ownColour(),
    participants: call?.participants ?? [],
    speaking: ringed().map(nameOf),
    transport: numbers.transport,
    pongs: call?.pongs ?? 0,
    log: call?.log ?? [],
    signaling: call?.pc?.signalingState ?? 'none',
    negotiating: Boolean(call?.negotiating),
    mediaMap: call?.mediaMap ?? {},
    // By mid; with streams of participants that did not come through this page's server.
    received: numbers.received,
    transceivers: (call?.pc?.getTransceivers() ?? []).map((one) => `${one.mid} ${one.direction} ${one.currentDirection}`),
    audio: {state: audioContext().state, time: audioContext().currentTime},
    sent: numbers.tracks.filter(({inbound}) => !inbound),
    tracks: [...call?.remote.values() ?? []].map(({mid, sender, type, track}) => ({
      mid, sender, type,
      kind: track.kind,
      name: nameOf(sender),
      peak: shown.get(mid)?.ear?.peak() ?? null,
      corners: track.kind === 'video' && shown.has(mid) ? corners(shown.get(mid).element) : null,
      stats: numbers.tracks.find((one) => one.inbound && one.mid === mid) ?? null,
    })),
  };
}

/** So many sections more, in one offer, in the way that web clients keep those that they received pictures in. */
function crowd(sections) {
  for (let at = 0; at < sections; at += 1) here.call.pc.addTransceiver('video', {direction: 'sendrecv'});
}

window.demo = {
  state, crowd, mute, share, unpublish, publish, choose,
  /** All that the browser counts, as it counts it. */
  statistics: async () => [...(await here.call.pc.getStats()).values()],
  colours: (seats) => Array.from({length: seats}, (_, seat) => colour(seat)),
  leave: () => here.call.leave(),
  described: () => here.call.described,
  signal: (type, data) => here.call.signal(type, data),
};

view('start');
prepare();
if (query.has('auto')) $('join').requestSubmit();
else if (!$('name').value) $('name').focus();
