// Ten seconds of a voice through the server's media port and back: one session sends it, another one of the same call
// receives it.

const ECHO_MS = 10_000, FIRST_SOUND_MS = 8_000, STEP_MS = 100, MICROPHONE_MS = 30_000;
/** A level that is heard; a quiet room stays below. */
export const HEARD = 0.01;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The microphone, or a tone and why it is one. */
export async function source(context, toneWanted) {
  if (!toneWanted) {
    try {
      if (!navigator.mediaDevices) throw new Error('the page did not come over HTTPS');
      const asked = navigator.mediaDevices.getUserMedia({audio: true});
      const late = sleep(MICROPHONE_MS).then(() => { throw new Error('nobody answered the question for it'); });
      return {stream: await Promise.race([asked, late])};
    } catch (error) {
      return {stream: tone(context), noMicrophone: microphoneTrouble(error)};
    }
  }
  return {stream: tone(context), isTone: true};
}

function microphoneTrouble(error) {
  if (error.name === 'NotAllowedError') return 'the browser was not allowed to use the microphone';
  if (error.name === 'NotFoundError') return 'this device has no microphone';
  if (error.name === 'NotReadableError') return 'the microphone is in use by another program';
  return error.message || 'the microphone cannot be used';
}

function tone(context) {
  const [oscillator, gain, out] = [context.createOscillator(), context.createGain(), context.createMediaStreamDestination()];
  oscillator.frequency.value = 440;
  gain.gain.value = 0.2;
  oscillator.connect(gain).connect(out);
  oscillator.start();
  return out.stream;
}

/** Tells how loud a stream is now, from 0 to 1. */
function ear(context, stream) {
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  return () => {
    analyser.getFloatTimeDomainData(samples);
    return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
  };
}

/** Sends, listens, plays what comes back. `show` is told both levels, now and then. */
export async function echo(run, context, {stream, isTone, noMicrophone}, playback, show) {
  const all = () => true;
  const options = {iceServers: run.iceServers};
  const listener = run.session(all, options);
  const back = new Promise((resolve) => listener.addEventListener('track', ({track}) => resolve(track)));
  const sender = run.session(all, {...options, tracks: stream.getAudioTracks()});
  const fail = (why) => ({state: 'failed', why, isTone, noMicrophone});
  try {
    const [sends, listens] = await Promise.all([sender.connect(), listener.connect()]);
    if (sends.state !== 'ok' || listens.state !== 'ok') return fail('no connection');
    run.say('unmute', sender.id);
    const track = await Promise.race([back, sleep(FIRST_SOUND_MS)]);
    if (!track) return fail('nothing came back');
    playback.srcObject = new MediaStream([track]);
    await playback.play().catch(() => {});
    const [said, heard] = [ear(context, stream), ear(context, playback.srcObject)];
    const peak = {sent: 0, received: 0};
    for (let at = 0; at < ECHO_MS; at += STEP_MS) {
      await sleep(STEP_MS);
      const levels = {sent: said(), received: heard()};
      for (const name of ['sent', 'received']) peak[name] = Math.max(peak[name], levels[name]);
      show(levels, Math.ceil((ECHO_MS - at) / 1000));
    }
    const found = await figures(sender, listener);
    // Without a sound card some browsers tell no levels; packets there are all the same.
    const isDeaf = context.state !== 'running';
    const judgement = isDeaf ? byPackets(found) : judged(peak);
    return {...found, ...judgement, ...peak, isDeaf, isTone, noMicrophone};
  } finally {
    playback.srcObject = null;
    sender.leave();
    listener.leave();
  }
}

function judged({sent, received}) {
  if (sent < HEARD) return {state: 'failed', why: 'silent microphone'};
  if (received < HEARD) return {state: 'failed', why: 'nothing came back'};
  return {state: 'ok'};
}

/** A voice has 50 packets a second. */
function byPackets({packets}) {
  return packets > 100 ? {state: 'ok'} : {state: 'failed', why: 'nothing came back'};
}

async function figures(sender, listener) {
  const [sent, received] = (await Promise.all([sender.pc.getStats(), listener.pc.getStats()])).map((one) => [...one.values()]);
  const inbound = received.find((one) => one.type === 'inbound-rtp' && one.kind === 'audio') ?? {};
  const pair = sent.find((one) => one.type === 'candidate-pair' && one.nominated && one.state === 'succeeded');
  const ours = sent.find((one) => one.id === pair?.localCandidateId);
  const {packetsReceived = 0, packetsLost = 0, jitter} = inbound;
  return {
    packets: packetsReceived,
    lossPercent: Math.round(1000 * Math.max(packetsLost, 0) / Math.max(packetsReceived + packetsLost, 1)) / 10,
    jitterMs: jitter === undefined ? undefined : Math.round(jitter * 1000),
    roundTripMs: pair?.currentRoundTripTime === undefined ? undefined : Math.round(pair.currentRoundTripTime * 1000),
    over: ours?.candidateType === 'relay' ? 'a TURN server' : ours?.protocol?.toUpperCase(),
  };
}
