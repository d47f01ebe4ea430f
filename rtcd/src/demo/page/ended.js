// The end of a call: why, in a sentence, and the way back in. A call that was lost is tried again by itself.
import {$, say, view} from './dom.js';

const ENDS = {
  left: ['You left the call', 'The others go on without you.'],
  closed: ['The daemon ended the call', 'It closed this session: it was started anew, or it heard nothing of this browser any more.'],
  full: ['The demo is full', 'As many people take part as it takes. Try again when somebody has left.'],
  stopping: ['The demo was stopped', 'Whoever runs it has ended it. It can be joined again once it runs.'],
  server: ['The connection is lost', 'The page does not reach the demo any more: it was ended, or the network is away.'],
  media: ['The media connection is lost', 'Neither voice nor pictures get through to the daemon any more.'],
  failed: ['The call could not be joined', ''],
};
/** Ends that nobody wanted. */
const LOST = ['server', 'media', 'stopping'];
const WAITS_S = [2, 4, 8, 16, 30];

let tries = 0;
let countdown;

/** Shows why it ended; `again` joins anew. */
export function showEnd(why, detail, again) {
  const [title, reason] = ENDS[why] ?? ENDS.failed;
  $('ended-title').textContent = title;
  $('ended-reason').textContent = detail || reason;
  stopRetrying();
  $('again').onclick = () => {
    stopRetrying();
    again();
  };
  view('ended', $('ended-title'));
  say(`${title}. ${detail || reason}`);
  const wait = LOST.includes(why) || (why === 'failed' && tries > 0) ? WAITS_S[tries] : undefined;
  if (wait === undefined) return;
  tries += 1;
  retryIn(wait, again);
}

function retryIn(seconds, again) {
  $('ended-retry').hidden = false;
  $('ended-retry').textContent = `Trying again in ${seconds} s (${tries} of ${WAITS_S.length}).`;
  countdown = setTimeout(() => (seconds > 1 ? retryIn(seconds - 1, again) : again()), 1000);
}

function stopRetrying() {
  clearTimeout(countdown);
  $('ended-retry').hidden = true;
}

/** In the call again: the next loss is the first one. */
export function isIn() {
  stopRetrying();
  tries = 0;
}

$('home').addEventListener('click', () => {
  isIn();
  view('start', $('name'));
});
