// The choice of devices, also during the call.
import {$, add, openDialog} from './dom.js';
import {choose, playAt} from './media.js';
import {notice} from './notices.js';
import {here} from './state.js';

const KINDS = {
  voice: {device: 'audioinput', source: 'microphone', standard: 'The system’s microphone', test: ['tone', 'Test tone']},
  video: {device: 'videoinput', source: 'camera', standard: 'The system’s camera', test: ['picture', 'Test picture']},
};
const hasSpeakers = 'setSinkId' in HTMLMediaElement.prototype;

async function render() {
  const devices = await navigator.mediaDevices?.enumerateDevices?.() ?? [];
  // Without a permission they have neither ids nor names.
  const named = (kind) => devices.filter(({kind: of, deviceId}) => of === kind && deviceId && deviceId !== 'default');
  for (const [kind, {device, source, standard, test}] of Object.entries(KINDS)) {
    const select = $(`choose-${kind}`);
    const all = named(device).map(({deviceId, label}, at) => [`${source}:${deviceId}`, label || `${source} ${at + 1}`]);
    fill(select, [[source, standard], ...all, test], here.chosen[kind]);
  }
  const speakers = named('audiooutput').map(({deviceId, label}, at) => [deviceId, label || `speaker ${at + 1}`]);
  fill($('choose-speaker'), [['', 'The system’s speaker'], ...speakers], here.chosen.speaker);
  $('speaker-label').hidden = !hasSpeakers;
  $('settings-hint').textContent = navigator.mediaDevices
    ? 'A change counts at once, also while you speak.'
    : 'The browser gives microphone and camera to pages over HTTPS alone: here are the test tone and the test picture.';
}

function fill(select, options, chosen) {
  select.replaceChildren();
  for (const [value, textContent] of options) add(select, 'option', {value, textContent});
  select.value = chosen;
  // A device that has gone.
  if (select.selectedIndex < 0) select.selectedIndex = 0;
}

export function openSettings() {
  render().catch((error) => notice(`The devices cannot be listed: ${error.message}.`));
  openDialog('settings');
}

for (const kind of Object.keys(KINDS)) {
  $(`choose-${kind}`).addEventListener('change', async ({target}) => {
    await choose(kind, target.value);
    // As it is now: names are known after the first permission, and what failed is not chosen.
    await render();
  });
}
$('choose-speaker').addEventListener('change', ({target}) => playAt(target.value));
navigator.mediaDevices?.addEventListener?.('devicechange', () => { if ($('settings').open) render(); });
