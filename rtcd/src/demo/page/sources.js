// Where tracks come from: devices, or tones and pictures that a machine can recognise on the other side.
import {person, slide} from './pictures.js';

let context;

/** The page's audio context; make it in answer to a click. */
export function audioContext() {
  context ??= new AudioContext({sampleRate: 48000});
  if (context.state === 'suspended') context.resume();
  return context;
}

// A steady tone is noise to whoever listens for voices: speech is loud and quiet in turn. So does the tone speak in
// syllables and words, and pause, with a hum in which its frequency is still to be found.
const LOUD = 0.3, GAP = 0.002, HUM = 0.02;
const SPEECH_S = 9, TALK_S = 5.5, SYLLABLE_S = 0.24, VOICED = 0.62, WORD = 6, EDGE_S = 0.015;

/** How loud it is so many seconds after its beginning. */
function speech(time) {
  const at = time % SPEECH_S;
  if (at > TALK_S) return HUM;
  const syllable = Math.floor(at / SYLLABLE_S);
  if (syllable % WORD === WORD - 1) return GAP;
  const into = at % SYLLABLE_S;
  const edge = Math.min(into, SYLLABLE_S * VOICED - into) / EDGE_S;
  return GAP + (LOUD - GAP) * Math.max(0, Math.min(1, edge));
}

/** What modulates a tone: one round of speech as a buffer that loops. */
function envelope() {
  const rate = 8000;
  const buffer = new AudioBuffer({length: SPEECH_S * rate, sampleRate: rate});
  const samples = buffer.getChannelData(0);
  for (let at = 0; at < samples.length; at += 1) samples[at] = speech(at / rate);
  const source = new AudioBufferSourceNode(audioContext(), {buffer, loop: true});
  source.start();
  return source;
}

/** A tone of so many hertz: one that speaks, or a steady one. `loudness()` is 0 to 1. */
function tone(hertz, speaks) {
  const oscillator = new OscillatorNode(audioContext(), {frequency: hertz});
  const gain = new GainNode(audioContext(), {gain: speaks ? 0 : 0.1});
  const begun = audioContext().currentTime;
  const voice = speaks ? envelope() : null;
  voice?.connect(gain.gain);
  const out = audioContext().createMediaStreamDestination();
  oscillator.connect(gain).connect(out);
  oscillator.start();
  const track = out.stream.getAudioTracks()[0];
  return {
    track,
    loudness: () => (speaks ? speech(audioContext().currentTime - begun) / LOUD : 1),
    stop: () => { oscillator.stop(); voice?.stop(); track.stop(); },
  };
}

const device = (stream) => ({tracks: stream.getTracks(), stop: () => stream.getTracks().forEach((track) => track.stop())});
const test = (...made) => ({
  tracks: made.map(({track}) => track), loudness: made[0].loudness, stop: () => made.forEach((one) => one.stop()),
});
const exact = (deviceId) => (deviceId ? {deviceId: {exact: deviceId}} : {});

function devices() {
  if (navigator.mediaDevices) return navigator.mediaDevices;
  throw Object.assign(new Error('no secure page'), {name: 'InsecureError'});
}

const SOURCES = {
  microphone: async ({id}) => device(await devices().getUserMedia({audio: id ? exact(id) : true})),
  camera: async ({id}) => device(await devices().getUserMedia({video: {width: 1280, height: 720, ...exact(id)}})),
  screen: async () => device(await devices().getDisplayMedia({video: {frameRate: 20}, audio: true})),
  tone: async ({hertz}) => test(tone(hertz, true)),
  picture: async ({rgb, seat, loudness}) => test(person(rgb, seat, loudness)),
  'test-screen': async ({rgb, name, screenHertz}) => test(slide(rgb, name), tone(screenHertz, false)),
};

/** Opens a source: `microphone`, `camera` (with `:ID` one certain device), `screen`, `tone`, `picture`, `test-screen`. */
export function open(source, options) {
  const at = source.indexOf(':');
  const kind = at < 0 ? source : source.slice(0, at);
  return SOURCES[kind]({...options, id: at < 0 ? '' : source.slice(at + 1)});
}

/** The frequency that is loudest in a track, and how loud it is; `null` before anything was measured. */
export class Ear {
  constructor(track) {
    this.source = audioContext().createMediaStreamSource(new MediaStream([track]));
    this.analyser = new AnalyserNode(audioContext(), {fftSize: 4096, smoothingTimeConstant: 0});
    this.source.connect(this.analyser);
    this.bins = new Float32Array(this.analyser.frequencyBinCount);
  }
  peak() {
    this.analyser.getFloatFrequencyData(this.bins);
    let best = 0;
    this.bins.forEach((db, bin) => { if (db > this.bins[best]) best = bin; });
    const db = this.bins[best];
    return Number.isFinite(db) ? {hz: best * audioContext().sampleRate / this.analyser.fftSize, db} : {hz: 0, db: -200};
  }
  close() {
    this.source.disconnect();
  }
}

const probe = Object.assign(document.createElement('canvas'), {width: 64, height: 36});

/** The colours near the top left and the bottom right corner of a video. */
export function corners(video) {
  if (!video.videoWidth) return null;
  const pen = probe.getContext('2d', {willReadFrequently: true});
  pen.drawImage(video, 0, 0, probe.width, probe.height);
  const at = (x, y) => [...pen.getImageData(x, y, 1, 1).data.slice(0, 3)];
  return {topLeft: at(6, 4), bottomRight: at(57, 31)};
}
