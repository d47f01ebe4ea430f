// What the browser counts, as numbers for each track, and how they were in the last minute.
import {here} from './state.js';

export const STATS_MS = 1000;
/** Values kept of each track. */
export const KEPT = 60;

/** track id -> its values: [{kbps, fps, jitter, loss}] */
export const history = new Map();

/** Looks once, and tells the daemon what it asks clients for. */
export async function measure() {
  const {call} = here;
  const report = await call.pc.getStats();
  const all = [...report.values()];
  const before = new Map(here.numbers.tracks.map((one) => [one.id, one]));
  const counted = all.filter(({type}) => type === 'inbound-rtp' || type === 'outbound-rtp');
  const tracks = counted.map((one) => numbersOf(one, before.get(one.id), report, all));
  here.numbers = {
    tracks: tracks.filter((one) => !one.inbound || call.remote.has(one.mid)),
    received: Object.fromEntries(tracks.filter(({inbound}) => inbound).map(({mid, bytes}) => [mid, bytes])),
    transport: transport(report, all),
  };
  const sent = tracks.filter(({inbound}) => !inbound);
  call.report({
    lossRate: Math.max(0, ...sent.map(({loss}) => loss)),
    roundTripTime: here.numbers.transport?.roundTripTime ?? 0,
    jitter: Math.max(0, ...sent.map(({jitter}) => jitter)),
  });
  remember();
}

function numbersOf(one, last, report, all) {
  const {call} = here;
  const inbound = one.type === 'inbound-rtp';
  const bytes = inbound ? one.bytesReceived : one.bytesSent;
  const remote = inbound ? call.remote.get(one.mid) : null;
  const back = inbound ? null : all.find((other) => other.type === 'remote-inbound-rtp' && other.localId === one.id);
  return {
    id: one.id,
    mid: one.mid,
    inbound,
    kind: one.kind,
    rid: one.rid ?? '',
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

function remember() {
  const live = new Set(here.numbers.tracks.map(({id}) => id));
  for (const id of history.keys()) if (!live.has(id)) history.delete(id);
  for (const {id, kbps, fps, jitter, loss} of here.numbers.tracks) {
    if (!history.has(id)) history.set(id, []);
    const values = history.get(id);
    values.push({kbps, fps, jitter: jitter * 1000, loss: loss * 100});
    if (values.length > KEPT) values.shift();
  }
}
