// The control bar: what one does in a call, a button each.
import {$, add, icon, openDialog, turn} from './dom.js';
import {isHeard, media, share, toggleVideo, toggleVoice, unpublish} from './media.js';
import {openSettings} from './settings.js';
import {here} from './state.js';
import {toggleDrawer} from './drawer.js';

/** Phones have no screens to share. */
const canChoose = Boolean(navigator.mediaDevices?.getDisplayMedia);
const BUTTONS = [
  {id: 'mute', icon: 'mic', act: toggleVoice},
  {id: 'camera', icon: 'camera', act: toggleVideo},
  {id: 'share', icon: 'screen', act: shareClicked},
  {id: 'devices', icon: 'devices', label: 'Devices', act: openSettings},
  {id: 'stats', icon: 'stats', label: 'Statistics', act: toggleDrawer},
  {id: 'show-keys', icon: 'keys', label: 'Keyboard', act: () => openDialog('keys')},
  {id: 'leave', icon: 'leave', label: 'Leave', act: () => here.call.leave()},
];

for (const {id, icon: name, label = '', act} of BUTTONS) {
  const button = add($('bar'), 'button', {id, onclick: act});
  icon(button, name);
  add(button, 'span', {textContent: label});
}

/** Label and icon say what a click does; colour says how things are. */
function set(id, {label, name, on}) {
  const button = $(id);
  button.querySelector('span').textContent = label;
  turn(button.querySelector('svg'), name);
  button.classList.toggle('off', !on);
}

export function renderControls() {
  const heard = isHeard(), seen = here.sources.has('video'), shares = here.sources.has('screen');
  set('mute', {label: heard ? 'Mute' : 'Unmute', name: heard ? 'mic' : 'mic-off', on: heard});
  set('camera', {label: seen ? 'Stop video' : 'Start video', name: seen ? 'camera' : 'camera-off', on: seen});
  set('share', {label: shares ? 'Stop sharing' : 'Share', name: shares ? 'screen-off' : 'screen', on: true});
  $('share').classList.toggle('active', shares);
  // The browser itself opens the menu, and closes it at the second click.
  $('share').popoverTargetElement = shares || !canChoose ? null : $('share-menu');
}

function shareClicked() {
  if (here.sources.has('screen')) unpublish('screen');
  else if (!canChoose) share('test-screen');
}

/** What the key does. */
export function toggleShare() {
  if (canChoose && !here.sources.has('screen')) $('share-menu').togglePopover();
  else shareClicked();
}

for (const [id, source] of [['share-screen', 'screen'], ['share-test', 'test-screen']]) {
  $(id).addEventListener('click', () => {
    $('share-menu').hidePopover();
    share(source);
  });
}
media.addEventListener('change', renderControls);
