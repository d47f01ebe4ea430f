// As many colours as people: the seat in the call gives the colour, and no two have the same seat.

/** Degrees between neighbours: however many there are, they are spread (the golden angle). */
const STEP = 137.508;
const FIRST = 212;
/** After so many the hues come close: the next round is darker, the one after it lighter. */
const ROUND = 8;
const TONES = [{saturation: 0.54, lightness: 0.41}, {saturation: 0.45, lightness: 0.28}, {saturation: 0.55, lightness: 0.58}];

/** The colour of a seat: red, green and blue, 0 to 255. */
export function colour(seat) {
  const hue = (FIRST + seat * STEP) % 360;
  const {saturation, lightness} = TONES[Math.floor(seat / ROUND) % TONES.length];
  const chroma = saturation * Math.min(lightness, 1 - lightness);
  const channel = (n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (lightness - chroma * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

/** `rgb(..)` of three numbers. */
export const css = ([r, g, b]) => `rgb(${r}, ${g}, ${b})`;

/** Towards white (1) or black (-1). */
export const shade = (rgb, by) => rgb.map((one) => Math.round(by > 0 ? one + (255 - one) * by : one * (1 + by)));

/** What can be read on it: white or nearly black (relative luminance, WCAG 2.2). */
export function ink(rgb) {
  const linear = rgb.map((one) => (one / 255 <= 0.04045 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return luminance > 0.2 ? '#10141c' : '#fff';
}

/** One or two letters that stand for a name. */
export function initials(name) {
  const words = name.trim().split(/\s+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)].map((word) => [...word][0]) : [...(words[0] ?? '?')].slice(0, 1);
  return letters.join('').toLocaleUpperCase();
}
