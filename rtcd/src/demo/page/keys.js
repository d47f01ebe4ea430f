// Keyboard shortcuts: single keys, which can be switched off (WCAG 2.2, 2.1.4).
import {$, add, openDialog} from './dom.js';
import {toggleVideo, toggleVoice} from './media.js';
import {toggleShare} from './controls.js';
import {toggleDrawer} from './drawer.js';
import {openSettings} from './settings.js';
import {here} from './state.js';

const KEYS = [
  ['M', 'Mute or unmute', toggleVoice],
  ['V', 'Start or stop video', toggleVideo],
  ['S', 'Share a screen, or stop', toggleShare],
  ['D', 'Devices', openSettings],
  ['I', 'Statistics', toggleDrawer],
  ['?', 'This list', () => openDialog('keys')],
  ['Shift+L', 'Leave the call', () => here.call.leave()],
];

for (const [key, meaning] of KEYS) {
  const row = add($('key-list'), 'div');
  add(add(row, 'dt'), 'kbd', {textContent: key});
  add(row, 'dd', {textContent: meaning});
}

addEventListener('keydown', (event) => {
  const typing = event.target.closest?.('input, select, textarea, dialog');
  const inCall = here.call && !here.call.ended && !$('room').hidden;
  if (!inCall || typing || !$('keys-on').checked || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const pressed = event.shiftKey && event.key !== '?' ? `Shift+${event.key.toUpperCase()}` : event.key.toUpperCase();
  const act = KEYS.find(([key]) => key === pressed)?.[2];
  if (!act) return;
  event.preventDefault();
  act();
});
