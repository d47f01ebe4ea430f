// The page: one button, what it tries, what came of it.
import {echo, source} from './echo.js';
import {Refused, Run} from './run.js';
import {NAMES, SKEW_MS, clock, ticket, verdict} from './verdict.js';

const $ = (id) => document.getElementById(id);
const REFUSED = {
  expired: 'This link has expired. Ask whoever sent it for a new one.',
  'used up': 'This link has been used up. Ask whoever sent it for a new one.',
  unknown: 'This link is not known any more: the server was restarted. Ask whoever sent it for a new one.',
  busy: 'The server tests for too many others at the moment: try again in two minutes.',
};

function row(name) {
  let item = document.querySelector(`#ways [data-way=${name}]`);
  if (!item) {
    item = document.createElement('li');
    item.dataset.way = name;
    for (const part of ['name', 'state', 'detail']) {
      const span = document.createElement('span');
      span.className = part;
      item.append(span);
    }
    $('ways').append(item);
  }
  return item;
}

function show(name, title, state, detail = '') {
  const item = row(name);
  item.dataset.state = state;
  const text = {ok: 'ok', failed: 'failed', untried: 'not tried', trying: 'trying …'};
  item.querySelector('.name').textContent = title;
  item.querySelector('.state').textContent = text[state];
  item.querySelector('.detail').textContent = detail;
}

/** The ways there are, each by the candidates of the server and of ours that it may use. */
function ways(run) {
  const hasV4 = run.told.some(({address}) => !address.includes(':'));
  const family = (one) => !hasV4 || !one.isV6;
  const direct = (protocol) => (one, ours) =>
    one.protocol === protocol && one.type !== 'relay' && (ours || family(one));
  const all = {
    udp: {accept: direct('udp')},
    tcp: {accept: direct('tcp')},
  };
  if (hasV4 && run.told.some(({address}) => address.includes(':'))) {
    all.ipv6 = {accept: (one, ours) => one.type !== 'relay' && (ours || one.isV6)};
  }
  if (run.iceServers.length) {
    all.relay = {accept: (one, ours) => ours || one.type !== 'relay', options: {iceServers: run.iceServers, relayOnly: true}};
  }
  if (run.told.some(({protocol}) => protocol === 'relay')) {
    all.serverRelay = {accept: (one, ours) => ours || one.type === 'relay'};
  }
  return all;
}

function places(run, name) {
  const protocol = {serverRelay: 'relay'}[name] ?? name;
  const wanted = run.told.filter((one) => (name === 'ipv6' ? one.address.includes(':') : one.protocol === protocol));
  return wanted.map(({address, port}) => `${address}, port ${port}`).join('; ');
}

async function tryWay(run, name, {accept, options}) {
  show(name, NAMES[name], 'trying', places(run, name));
  const session = run.session(accept, options);
  const found = await session.connect();
  session.leave();
  const why = found.why === 'dtls' ? 'reached, but the encryption does not get through' : found.why;
  const detail = found.state === 'ok' ? `connected in ${found.ms} ms` : why;
  show(name, NAMES[name], found.state, [places(run, name), detail].filter(Boolean).join(': '));
  return found;
}

async function voice(run, context, stream) {
  $('voice').hidden = false;
  show('voice', 'Voice, there and back', 'trying');
  const levels = ({sent, received}, left) => {
    $('sent').value = Math.min(1, sent * 4);
    $('received').value = Math.min(1, received * 4);
    $('voice-says').textContent = `Say something: you should hear yourself. ${left} s left.`;
  };
  const found = await echo(run, context, stream, $('playback'), levels);
  const numbers = found.packets ? `, ${found.lossPercent} % lost` : '';
  const detail = found.state === 'ok' ? `came back over ${found.over}${numbers}` : found.why + numbers;
  show('voice', 'Voice, there and back', found.state, detail);
  $('voice').hidden = true;
  return found;
}

async function test() {
  const context = new AudioContext();
  context.resume();
  const asked = source(context, $('tone').checked);
  let run;
  try {
    run = await Run.begin();
    const found = await Promise.all(Object.entries(ways(run)).slice(0, 4).map(async ([name, way]) => [name, await tryWay(run, name, way)]));
    const rest = Object.entries(ways(run)).slice(4);
    for (const [name, way] of rest) found.push([name, await tryWay(run, name, way)]);
    const facts = {
      ways: Object.fromEntries(found), run,
      page: {host: location.host, hostname: location.hostname.replace(/^\[|\]$/g, ''), fromMediaPort: Boolean(run.seenAs)},
      when: new Date().toISOString(), agent: navigator.userAgent,
    };
    const stream = await asked;
    if (found.some(([, {state}]) => state === 'ok')) facts.echo = await voice(run, context, stream);
    show('clock', 'Clock', Math.abs(run.skewMs) > SKEW_MS ? 'failed' : 'ok', clock(run.skewMs));
    return facts;
  } finally {
    asked.then(({stream}) => stream.getTracks().forEach((track) => track.stop()));
    context.close();
    setTimeout(() => run?.end(), 500);
  }
}

function conclude(facts) {
  const found = verdict(facts);
  $('sentence').textContent = found.sentence;
  $('sentence').dataset.good = found.good ? 'yes' : 'no';
  $('notes').replaceChildren(...found.notes.map((note) => Object.assign(document.createElement('li'), {textContent: note})));
  $('ticket').value = ticket(facts, found);
  const states = Object.fromEntries(Object.entries(facts.ways).map(([name, {state}]) => [name, state]));
  facts.run.say('result', 0, {...states, echo: facts.echo?.state ?? 'untried', skewMs: facts.run.skewMs, sentence: found.sentence});
}

function trouble(error) {
  const text = error instanceof Refused ? REFUSED[error.message] ?? error.message
    : 'This page came from the server, but it cannot talk to it (WebSocket): a proxy in between does not pass that on, or the '
      + 'browser does not trust the certificate for it. Have the admin give the server a certificate that browsers know.';
  $('sentence').textContent = text;
  $('sentence').dataset.good = 'no';
  $('notes').replaceChildren();
  $('ticket').value = `Check of calls, ${new Date().toISOString()}\n${text}\nPage from: ${location.host}\nBrowser: ${navigator.userAgent}`;
}

$('start').addEventListener('submit', async (event) => {
  event.preventDefault();
  $('go').disabled = true;
  $('go').textContent = 'Testing …';
  $('outcome').hidden = true;
  $('ways').replaceChildren();
  $('tried').hidden = false;
  try {
    conclude(await test());
  } catch (error) {
    console.warn(error);
    trouble(error);
  }
  $('voice').hidden = true;
  $('go').textContent = 'Start the test';
  $('go').disabled = false;
  $('outcome').hidden = false;
  $('outcome-title').focus();
});

$('again').addEventListener('click', () => $('start').requestSubmit());

$('copy').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText($('ticket').value);
    $('copied').textContent = 'Copied.';
  } catch {
    $('ticket').select();
    $('copied').textContent = document.execCommand('copy') ? 'Copied.' : 'Selected: copy it with the keyboard.';
  }
});
