// The page: who is in the call, what we send, and numbers for each track. `window.demo` is for tests.
import {Call} from './call.js';
import {Ear, audioContext, colour, corners, css, picture, tone} from './sources.js';

const query = new URLSearchParams(location.search);
const $ = (id) => document.getElementById(id);
const STATS_MS = 1000;

let call = null;
let rgb = [0, 0, 0];
/** kind -> things to stop when it is no longer sent */
const sources = new Map();
/** kind -> the picture of it on our own card */
const previews = new Map();
/** mid -> {element, ear} of a remote track */
const shown = new Map();
/** session id -> its card */
const cards = new Map();
let numbers = {tracks: [], received: {}, transport: null};
let timer;

const add = (parent, tag, properties = {}) => parent.appendChild(Object.assign(document.createElement(tag), properties));
const status = (text) => { $('status').textContent = text; };

// ---- joining and leaving

async function join({name, callName, voice, video}) {
  audioContext();
  rgb = colour(name);
  call = new Call({
    name,
    call: callName,
    dcSignaling: query.get('dc') !== '0',
    tcpOnly: query.get('tcp') === '1',
    av1: query.get('av1') === '1',
    simulcast: query.get('simulcast') !== '0',
    rsa: query.get('rsa') === '1',
    iceServers: JSON.parse(query.get('ice') ?? '[]'),
    relayOnly: query.get('relay') === '1',
  });
  call.addEventListener('participants', renderCards);
  call.addEventListener('track', ({detail}) => show(detail));
  call.addEventListener('untrack', ({detail}) => hide(detail));
  call.addEventListener('state', ({detail}) => status(detail));
  call.addEventListener('closed', left);
  call.addEventListener('speaking', ({detail}) => {
    cards.get(detail.sessionID)?.classList.toggle('speaking', detail.on);
  });
  status('joining');
  await call.join();
  $('join').hidden = true;
  $('controls').hidden = $('numbers').hidden = false;
  timer = setInterval(measure, STATS_MS);
  await publish('voice', voice);
  await publish('video', video);
}

function left() {
  clearInterval(timer);
  for (const kind of [...sources.keys()]) stop(kind);
  for (const card of cards.values()) card.remove();
  cards.clear();
  $('tracks').replaceChildren();
  $('join').hidden = false;
  $('controls').hidden = $('numbers').hidden = true;
  screenButtons(false);
  muteButton(false);
  status('not in a call');
}

// ---- what we send

const device = (stream) => ({tracks: stream.getTracks(), stop: () => stream.getTracks().forEach((track) => track.stop())});
const test = (...made) => ({tracks: made.map(({track}) => track), stop: () => made.forEach((one) => one.stop())});

const SOURCES = {
  microphone: async () => device(await navigator.mediaDevices.getUserMedia({audio: true})),
  camera: async () => device(await navigator.mediaDevices.getUserMedia({video: {width: 1280, height: 720}})),
  screen: async () => device(await navigator.mediaDevices.getDisplayMedia({video: {frameRate: 20}, audio: true})),
  tone: async () => test(tone(Number(query.get('tone')) || 440)),
  picture: async () => test(picture(rgb, {width: 640, height: 360})),
  'test-screen': async () => test(
    picture(rgb, {width: 1280, height: 720, screen: true}),
    tone(Number(query.get('screentone')) || 1500),
  ),
};

async function publish(kind, source) {
  if (source === 'none') return;
  try {
    const made = await SOURCES[source]();
    sources.set(kind, made);
    preview();
    await call.publish(kind, made.tracks);
    made.tracks[0].addEventListener('ended', () => unpublish(kind));
  } catch (error) {
    stop(kind);
    status(`${source}: ${error.message}`);
  }
}

function stop(kind) {
  sources.get(kind)?.stop();
  sources.delete(kind);
  previews.get(kind)?.remove();
  previews.delete(kind);
}

/** What we send ourselves, on our own card: no road through the daemon. */
function preview() {
  const card = cards.get(call.sessionID);
  for (const [kind, {tracks}] of sources) {
    const picture = tracks.find((track) => track.kind === 'video');
    if (!card || !picture || previews.has(kind)) continue;
    previews.set(kind, add(card, 'video', {muted: true, autoplay: true, playsInline: true, srcObject: new MediaStream([picture])}));
  }
}

function unpublish(kind) {
  call?.unpublish(kind);
  stop(kind);
  if (kind === 'screen') screenButtons(false);
}

async function share(source) {
  if (sources.has('screen')) return;
  await publish('screen', source);
  screenButtons(sources.has('screen'));
}

function screenButtons(sharing) {
  $('share').hidden = $('share-test').hidden = sharing;
  $('unshare').hidden = !sharing;
}

function muteButton(on) {
  $('mute').setAttribute('aria-pressed', String(on));
  $('mute').textContent = on ? 'Unmute' : 'Mute';
}

function mute(on) {
  call.mute(on);
  muteButton(on);
}

// ---- the others

function renderCards() {
  const here = new Set(call.participants.map(({sessionID}) => sessionID));
  for (const [id, card] of cards) {
    if (!here.has(id)) {
      card.remove();
      cards.delete(id);
    }
  }
  for (const {sessionID, name, muted, screen} of call.participants) {
    if (!cards.has(sessionID)) cards.set(sessionID, newCard(sessionID, name));
    const notes = [sessionID === call.sessionID && 'you', muted && 'muted', screen && 'sharing'].filter(Boolean);
    cards.get(sessionID).querySelector('small').textContent = notes.join(', ');
  }
  preview();
}

function newCard(sessionID, name) {
  const card = add($('participants'), 'section', {className: 'participant'});
  const title = add(card, 'h2');
  const dot = title.appendChild(document.createElementNS('http://www.w3.org/2000/svg', 'svg'));
  dot.setAttribute('viewBox', '0 0 2 2');
  const circle = dot.appendChild(document.createElementNS(dot.namespaceURI, 'circle'));
  for (const [key, value] of Object.entries({cx: 1, cy: 1, r: 1, fill: css(colour(name))})) circle.setAttribute(key, value);
  add(title, 'span', {textContent: name});
  add(title, 'small');
  return card;
}

function show({mid, sender, track, stream}) {
  const parent = cards.get(sender) ?? $('participants');
  const element = add(parent, track.kind, {autoplay: true, playsInline: true, srcObject: stream});
  element.play().catch((error) => {
    // AbortError: the track went before it began.
    if (error.name !== 'AbortError') status(`playing: ${error.message}`);
  });
  shown.set(mid, {element, ear: track.kind === 'audio' ? new Ear(track) : null});
}

function hide({mid}) {
  const {element, ear} = shown.get(mid) ?? {};
  ear?.close();
  if (element) element.srcObject = null;
  element?.remove();
  shown.delete(mid);
}

// ---- numbers

const nameOf = (sessionID) => call.participants.find((one) => one.sessionID === sessionID)?.name ?? sessionID;

async function measure() {
  const report = await call.pc.getStats();
  const all = [...report.values()];
  const before = new Map(numbers.tracks.map((one) => [one.id, one]));
  const tracks = all.filter(({type}) => type === 'inbound-rtp' || type === 'outbound-rtp').map((one) => {
    const inbound = one.type === 'inbound-rtp';
    const bytes = inbound ? one.bytesReceived : one.bytesSent;
    const last = before.get(one.id);
    const remote = inbound ? call.remote.get(one.mid) : null;
    const back = inbound ? null : all.find((other) => other.type === 'remote-inbound-rtp' && other.localId === one.id);
    return {
      id: one.id,
      mid: one.mid,
      inbound,
      sender: inbound ? remote?.sender ?? '' : call.sessionID,
      type: inbound ? remote?.type ?? 'ended' : `sent ${one.kind}${one.rid ? ` ${one.rid}` : ''}`,
      codec: report.get(one.codecId)?.mimeType ?? '',
      width: one.frameWidth ?? 0,
      height: one.frameHeight ?? 0,
      fps: one.framesPerSecond ?? 0,
      frames: one.framesDecoded ?? one.framesEncoded ?? 0,
      bytes,
      at: one.timestamp,
      kbps: last ? Math.max(0, (bytes - last.bytes) * 8 / (one.timestamp - last.at)) : 0,
      loss: inbound
        ? Math.max(0, one.packetsLost) / Math.max(1, one.packetsReceived + one.packetsLost)
        : back?.fractionLost ?? 0,
      jitter: one.jitter ?? back?.jitter ?? 0,
      energy: one.totalAudioEnergy ?? 0,
      // Whether the sender's clock is known, and when by it what is played now was taken.
      clock: all.some((other) => other.type === 'remote-outbound-rtp' && other.localId === one.id),
      playout: one.estimatedPlayoutTimestamp ?? null,
    };
  });
  numbers = {
    tracks: tracks.filter((one) => !one.inbound || call.remote.has(one.mid)),
    received: Object.fromEntries(tracks.filter(({inbound}) => inbound).map(({mid, bytes}) => [mid, bytes])),
    transport: transport(report, all),
  };
  const sent = tracks.filter(({inbound}) => !inbound);
  call.report({
    lossRate: Math.max(0, ...sent.map(({loss}) => loss)),
    roundTripTime: numbers.transport?.roundTripTime ?? 0,
    jitter: Math.max(0, ...sent.map(({jitter}) => jitter)),
  });
  renderNumbers();
}

function transport(report, all) {
  const chosen = all.find((one) => one.type === 'transport')?.selectedCandidatePairId;
  const pair = report.get(chosen) ?? all.find((one) => one.type === 'candidate-pair' && one.nominated && one.state === 'succeeded');
  if (!pair) return null;
  const remote = report.get(pair.remoteCandidateId);
  return {
    protocol: remote?.protocol ?? report.get(pair.localCandidateId)?.protocol ?? '',
    candidates: [report.get(pair.localCandidateId)?.candidateType ?? '', remote?.candidateType ?? ''],
    address: `${remote?.address ?? remote?.ip ?? ''}:${remote?.port ?? ''}`,
    roundTripTime: pair.currentRoundTripTime ?? 0,
    availableKbps: (pair.availableOutgoingBitrate ?? 0) / 1000,
  };
}

function renderNumbers() {
  // Sections that something is received in have a sender, too, that never sends.
  const rows = numbers.tracks.filter((one) => one.inbound || one.bytes > 0);
  $('tracks').replaceChildren(...rows.map((one) => {
    const row = document.createElement('tr');
    const size = one.width ? `${one.width} × ${one.height}` : '';
    const codec = one.codec.split('/').pop();
    const cells = [nameOf(one.sender), one.type, codec, size, one.kbps.toFixed(0), `${(one.loss * 100).toFixed(1)} %`];
    for (const textContent of cells) add(row, 'td', {textContent});
    return row;
  }));
  const path = numbers.transport;
  $('path').textContent = path
    ? `${path.protocol.toUpperCase()} to ${path.address}, round trip ${(path.roundTripTime * 1000).toFixed(0)} ms`
    : '';
}

// ---- wiring

$('join').addEventListener('submit', (event) => {
  event.preventDefault();
  join({name: $('name').value, callName: $('call').value, voice: $('voice').value, video: $('video').value})
    .catch((error) => status(error.message));
});
$('mute').addEventListener('click', () => mute($('mute').getAttribute('aria-pressed') !== 'true'));
$('share').addEventListener('click', () => share('screen'));
$('share-test').addEventListener('click', () => share('test-screen'));
$('unshare').addEventListener('click', () => unpublish('screen'));
$('leave').addEventListener('click', () => call.leave());
$('share').disabled = !navigator.mediaDevices?.getDisplayMedia;
addEventListener('pagehide', () => call?.leave());

$('name').value = query.get('name') ?? '';
$('call').value = query.get('call') ?? 'demo';
if (query.has('tone')) $('voice').value = 'tone';
if (query.has('picture')) $('video').value = 'picture';
if (query.has('silent')) $('voice').value = 'none';
if (query.has('auto')) $('join').requestSubmit();

/** What a test wants to know, as plain values. */
function state() {
  return {
    sessionID: call?.sessionID ?? '',
    connection: call?.pc?.connectionState ?? 'none',
    ended: call?.ended ?? false,
    status: $('status').textContent,
    colour: rgb,
    participants: call?.participants ?? [],
    speaking: [...cards].filter(([, card]) => card.classList.contains('speaking')).map(([id]) => id),
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
  for (let at = 0; at < sections; at += 1) call.pc.addTransceiver('video', {direction: 'sendrecv'});
}

/** All that the browser counts, as it counts it. */
const statistics = async () => [...(await call.pc.getStats()).values()];

window.demo = {state, statistics, crowd, mute, share, unpublish, publish, leave: () => call.leave(), described: () => call.described, signal: (type, data) => call.signal(type, data)};
