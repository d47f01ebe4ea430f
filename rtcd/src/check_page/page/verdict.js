// What it all means: one sentence, with what the admin must do, and the text for a ticket.

/** More loss than this is heard. */
const LOSS_PERCENT = 5;
/** More than this, and time-limited passwords of TURN servers and certificates may seem out of date. */
export const SKEW_MS = 30_000;

export const NAMES = {
  udp: 'UDP', tcp: 'TCP', ipv6: 'IPv6', relay: 'TURN server, from this device', serverRelay: 'TURN server, of the call server',
};

const ok = (way) => way?.state === 'ok';
const failed = (way) => way?.state === 'failed';

function at(told, protocol) {
  const all = told.filter((one) => one.protocol === protocol);
  const one = all.find(({address}) => !address.includes(':')) ?? all[0];
  return one && {...one, place: `${protocol.toUpperCase()} ${one.port} to ${one.address}`};
}

/** How both clocks compare. */
export function clock(skewMs) {
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  return seconds < 1 ? "this device's and the server's agree" : `this device's is ${seconds} s ${skewMs > 0 ? 'behind' : 'ahead of'} the server's`;
}

/** `{good, sentence, notes}` */
export function verdict(facts) {
  const {ways, echo, run, page} = facts;
  const [udp, tcp] = [at(run.told, 'udp'), at(run.told, 'tcp')];
  const notes = [];
  const open = (place) => `Open ${place} in the firewall and the cloud rules of the server, and in the firewall of this network.`;
  if (failed(ways.ipv6) && (ok(ways.udp) || ok(ways.tcp))) {
    notes.push('The server also tells an IPv6 address, and that is not reached from here; IPv4 is used in its place.');
  }
  if (Math.abs(run.skewMs) > SKEW_MS) {
    notes.push(`Of the clocks ${clock(run.skewMs)}: passwords of TURN servers and certificates depend on it. Set it.`);
  }
  if (echo?.noMicrophone) notes.push(`A test tone was sent, as ${echo.noMicrophone}.`);
  if (echo?.isDeaf) notes.push('This browser has no sound output, so that what came back was counted, and not listened to.');
  if (run.withheldRelay) {
    notes.push('A TURN server was not tried from here: its password does not expire, and is not given out by a link.');
  }
  const result = (good, sentence) => ({good, sentence, notes});

  if (![ways.udp, ways.tcp, ways.ipv6, ways.relay, ways.serverRelay].some(ok)) {
    const dtls = failed(ways.udp) && ways.udp.why === 'dtls' ? udp : failed(ways.tcp) && ways.tcp.why === 'dtls' ? tcp : null;
    if (dtls) {
      return result(false, `${dtls.place} gets through from here, but the encryption over it (DTLS) does not: a firewall that `
        + `looks into the traffic cuts calls. Let ${dtls.place} through as it is.`);
    }
    const told = [...new Set(run.told.map(({address}) => address))];
    if (!told.length) {
      return result(false, 'The server tells participants no address at all: set rtc.ice_address_udp or rtc.ice_host_override there.');
    }
    if (page.fromMediaPort && !told.includes(page.hostname)) {
      return result(false, `Participants are told ${told.join(', ')}, which is not reached from here, though the server itself is, `
        + `by ${page.hostname}: set rtc.ice_host_override on the server to the address that is reached.`);
    }
    const places = [udp, tcp].filter(Boolean).map(({place}) => place).join(' and ');
    return result(false, `No call can connect from here: ${places} ${udp && tcp ? 'are' : 'is'} blocked between this device and the `
      + `server. ${open(places)}`);
  }
  if (!ok(ways.udp) && !ok(ways.tcp) && !ok(ways.ipv6)) {
    const places = [udp, tcp].filter(Boolean).map(({place}) => place).join(' and ');
    return result(false, `${places} ${udp && tcp ? 'are' : 'is'} blocked from here: calls go by way of a TURN server alone, with more delay. `
      + open(places));
  }
  if (failed(ways.udp) && !ok(ways.ipv6)) {
    const why = ways.udp.why === 'dtls'
      ? `${udp.place} gets through from here, but not the encryption over it (DTLS)` : `${udp.place} is blocked from here`;
    return result(false, `${why}: calls go over TCP, with more delay. ${open(udp.place)}`);
  }
  if (echo && failed(echo)) {
    if (echo.why === 'silent microphone') {
      return result(false, 'Calls connect from here, but your microphone gives no sound: is it muted, or another one chosen in the '
        + 'settings of this device? There is nothing to open.');
    }
    return result(false, `Calls connect from here, but of what was sent ${echo.why === 'no connection' ? 'nothing got there' : 'nothing came back'}: `
      + "look into the server's log for this check. There is nothing to open.");
  }
  if (echo && echo.lossPercent > LOSS_PERCENT) {
    return result(false, `Calls connect from here, but ${echo.lossPercent} % of the voice was lost on the way: the network of this `
      + 'device is overloaded or its radio is weak. There is nothing to open.');
  }
  if (failed(ways.tcp)) {
    notes.push(`${tcp.place} is blocked from here. That matters only where UDP is blocked, too; to have both, open it.`);
  }
  const voice = echo ? `, and ${echo.isTone || echo.noMicrophone ? 'the tone' : 'your voice'} came back` : '';
  return result(true, `All is well from here: calls go over ${echo?.over ?? 'UDP'}${voice}. There is nothing to open.`);
}

/** Nothing in it is secret. */
export function ticket({ways, echo, run, page, when, agent}, {sentence, notes}) {
  const shown = ({state, ms, why}) => {
    if (state === 'ok') return `ok, connected in ${ms} ms`;
    if (state === 'failed') return `failed after ${ms} ms (${why === 'dtls' ? 'reached, but no encryption' : why})`;
    return `not tried (${why})`;
  };
  const told = run.told.map(({protocol, address, port}) => `${protocol} ${address} ${port}`).join(', ');
  const number = (text, value, unit) => (value === undefined ? '' : `, ${text} ${value} ${unit}`);
  const lines = [
    `Check of calls, ${when}`, sentence, ...notes, '',
    ...Object.entries(ways).map(([name, way]) => `${NAMES[name]}: ${shown(way)}`),
  ];
  if (echo) {
    lines.push(`Voice: ${echo.state === 'ok' ? `came back, over ${echo.over}` : `failed (${echo.why})`}`
      + number('lost', echo.lossPercent, '%') + number('round trip', echo.roundTripMs, 'ms') + number('jitter', echo.jitterMs, 'ms'));
  }
  lines.push(`Clock: ${clock(run.skewMs)}`);
  lines.push(`Participants are told: ${told || 'nothing'}`);
  lines.push(`Page from: ${page.host}; server: rtcd ${run.version}`);
  if (run.seenAs) lines.push(`The server sees this device as: ${run.seenAs}`);
  lines.push(`Browser: ${agent}`);
  return lines.join('\n');
}
