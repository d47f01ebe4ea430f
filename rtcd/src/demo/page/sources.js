// Where tracks come from: devices, or tones and pictures that a machine can recognise on the other side.

let context;

/** The page's audio context; make it in answer to a click. */
export function audioContext() {
  context ??= new AudioContext({sampleRate: 48000});
  if (context.state === 'suspended') context.resume();
  return context;
}

/** A tone of so many hertz. */
export function tone(hertz) {
  const oscillator = new OscillatorNode(audioContext(), {frequency: hertz});
  const gain = new GainNode(audioContext(), {gain: 0.3});
  const out = audioContext().createMediaStreamDestination();
  oscillator.connect(gain).connect(out);
  oscillator.start();
  const track = out.stream.getAudioTracks()[0];
  return {track, stop: () => { oscillator.stop(); track.stop(); }};
}

const COLOURS = [[200, 40, 40], [40, 160, 60], [50, 70, 220], [210, 170, 30], [160, 40, 180], [30, 170, 180]];

/** The colour of a participant. */
export function colour(name) {
  let sum = 0;
  for (const char of name) sum = (sum * 43 + char.codePointAt(0)) >>> 0;
  return COLOURS[(sum >>> 3) % COLOURS.length];
}

/** `rgb(..)` of three numbers. */
export const css = ([r, g, b]) => `rgb(${r}, ${g}, ${b})`;

/** Moving blocks on the participant's colour; as a screen, the right half is white. */
export function picture(rgb, {width, height, screen}) {
  const canvas = Object.assign(document.createElement('canvas'), {width, height});
  const pen = canvas.getContext('2d');
  let frame = 0;
  const draw = () => {
    pen.fillStyle = css(rgb);
    pen.fillRect(0, 0, width, height);
    if (screen) {
      pen.fillStyle = '#fff';
      pen.fillRect(width / 2, 0, width / 2, height);
    }
    const block = Math.round(height / 6);
    const x = (frame * 4) % (width - block);
    pen.fillStyle = '#000';
    pen.fillRect(x, (height - block) / 2, block, block);
    frame += 1;
  };
  draw();
  const timer = setInterval(draw, 1000 / 20);
  const track = canvas.captureStream(20).getVideoTracks()[0];
  return {track, stop: () => { clearInterval(timer); track.stop(); }};
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
