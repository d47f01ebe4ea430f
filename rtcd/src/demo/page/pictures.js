// Test pictures that people like to look at and machines recognise: the participant's colour is in the corners.
import {css, ink, shade} from './colours.js';

const FRAMES_PER_SECOND = 20;
const SKIN = ['#f6d0b1', '#e0a878', '#b97a4b', '#8a5a36', '#ffdfc4', '#c98f62'];
const HAIR = ['#2b2320', '#6b4226', '#a6552b', '#d9a441', '#3b3b47', '#8d8d97'];

/** Calls `paint` with a pen and the seconds since the beginning, for each frame of a track. */
function moving({width, height}, paint) {
  const canvas = Object.assign(document.createElement('canvas'), {width, height});
  const pen = canvas.getContext('2d');
  const begun = performance.now();
  const draw = () => paint(pen, (performance.now() - begun) / 1000);
  draw();
  const timer = setInterval(draw, 1000 / FRAMES_PER_SECOND);
  const track = canvas.captureStream(FRAMES_PER_SECOND).getVideoTracks()[0];
  return {track, stop: () => { clearInterval(timer); track.stop(); }};
}

function disc(pen, x, y, rx, ry, fill) {
  pen.fillStyle = fill;
  pen.beginPath();
  pen.ellipse(x, y, rx, ry, 0, 0, 2 * Math.PI);
  pen.fill();
}

/** A person of a seat who looks about, blinks, and opens the mouth as loud as `loudness()` (0 to 1) says. */
export function person(rgb, seat, loudness) {
  const size = {width: 640, height: 360};
  const unit = size.height;
  const skin = SKIN[seat % SKIN.length];
  const hair = HAIR[Math.floor(seat * 2.7) % HAIR.length];
  return moving(size, (pen, time) => {
    pen.fillStyle = css(rgb);
    pen.fillRect(0, 0, size.width, size.height);
    const middle = size.width / 2;
    disc(pen, middle, unit * 0.52, unit * 0.46, unit * 0.46, css(shade(rgb, 0.22)));
    pen.save();
    pen.beginPath();
    pen.rect(unit * 0.3, 0, size.width - unit * 0.6, unit);
    pen.clip();
    const x = middle + Math.sin(time * 0.7 + seat) * unit * 0.025;
    const y = unit * 0.42 + Math.sin(time * 1.3) * unit * 0.008;
    if (seat % 2) disc(pen, x, y + unit * 0.05, unit * 0.2, unit * 0.24, hair);
    disc(pen, middle, unit * 1.08, unit * 0.36, unit * 0.4, css(shade(rgb, -0.45)));
    pen.fillStyle = skin;
    pen.fillRect(x - unit * 0.055, y + unit * 0.12, unit * 0.11, unit * 0.16);
    disc(pen, x, y + unit * 0.28, unit * 0.055, unit * 0.03, skin);
    disc(pen, x, y - unit * 0.03, unit * 0.18, unit * 0.19, hair);
    disc(pen, x, y, unit * 0.15, unit * 0.18, skin);
    // The fringe.
    pen.save();
    pen.beginPath();
    pen.rect(x - unit * 0.2, y - unit * 0.24, unit * 0.4, unit * 0.14);
    pen.clip();
    disc(pen, x, y - unit * 0.04, unit * 0.165, unit * 0.16, hair);
    pen.restore();
    const look = Math.sin(time * 0.45 + seat * 2) * unit * 0.012;
    const open = (time + seat * 0.9) % 3.7 < 0.14 ? 0.1 : 1;
    for (const side of [-1, 1]) disc(pen, x + side * unit * 0.055 + look, y + unit * 0.005, unit * 0.016, unit * 0.02 * open, '#22262e');
    const mouth = loudness();
    disc(pen, x + look * 0.6, y + unit * 0.088, unit * (0.045 - 0.012 * mouth), unit * (0.008 + 0.03 * mouth), '#7c2f2f');
    pen.restore();
  });
}

/** A slide: the colour at the top with a title, a chart that moves on white. */
export function slide(rgb, name) {
  const size = {width: 1280, height: 720};
  const BARS = 12;
  return moving(size, (pen, time) => {
    pen.fillStyle = '#fff';
    pen.fillRect(0, 0, size.width, size.height);
    pen.fillStyle = css(rgb);
    pen.fillRect(0, 0, size.width, 150);
    pen.fillStyle = ink(rgb);
    pen.font = '600 52px system-ui, sans-serif';
    pen.textBaseline = 'middle';
    pen.fillText('How the call is doing', 210, 78);
    pen.fillStyle = '#5a6472';
    pen.font = '28px system-ui, sans-serif';
    pen.fillText(`A test screen, shared by ${name}`, 210, 196);
    pen.textAlign = 'right';
    pen.font = '600 34px ui-monospace, monospace';
    pen.fillText(new Date().toLocaleTimeString('en-GB'), 1200, 196);
    pen.textAlign = 'left';
    pen.fillStyle = '#e4e8ee';
    for (let line = 0; line < 4; line += 1) pen.fillRect(210, 280 + line * 100, 780, 2);
    for (let bar = 0; bar < BARS; bar += 1) {
      const share = 0.5 + 0.28 * Math.sin(time * 0.8 + bar * 0.55) + 0.18 * Math.sin(time * 1.7 + bar * 1.9);
      pen.fillStyle = css(shade(rgb, bar % 2 ? 0.35 : 0.1));
      pen.fillRect(226 + bar * 64, 640 - share * 340, 44, share * 340);
    }
    pen.fillStyle = '#5a6472';
    pen.fillRect(210, 640, 780, 3);
  });
}
