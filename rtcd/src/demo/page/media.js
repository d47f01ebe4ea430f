// What we send: sources are opened, published, muted, exchanged and closed here.
import {open} from './sources.js';
import {explain, notice} from './notices.js';
import {here, ownColour, participant, query} from './state.js';

/** Told whenever something of it has changed. */
export const media = new EventTarget();
const changed = () => media.dispatchEvent(new Event('change'));

/** Our mouth in the test picture: what the tone does, while it is heard. */
function loudness() {
  const voice = here.sources.get('voice');
  return voice?.loudness && !here.call?.muted ? Math.min(1, voice.loudness()) : 0;
}

const make = async (source) => ({
  source,
  ...await open(source, {
    rgb: ownColour(), seat: here.call.seat, name: here.call.name, loudness,
    hertz: Number(query.get('tone')) || 440, screenHertz: Number(query.get('screentone')) || 1500,
  }),
});

/** Sends a source as `voice`, `video` or `screen`; what goes wrong becomes a message. */
export async function publish(kind, source) {
  if (source === 'none') return;
  const call = here.call;
  if (!call || call.ended) return;
  try {
    const made = await make(source);
    // It may have taken a person some time to allow it.
    if (call.ended || here.sources.has(kind)) return made.stop();
    here.sources.set(kind, made);
    if (kind in here.chosen) here.chosen[kind] = source;
    changed();
    await call.publish(kind, made.tracks);
    watch(kind, made);
  } catch (error) {
    stop(kind);
    if (!call.ended) notice(error.refused ? refusal() : explain(source, error));
  }
  changed();
}

/** A device may be unplugged, and a screen be taken back in the browser's own bar. */
function watch(kind, made) {
  made.tracks[0].addEventListener('ended', () => {
    if (here.sources.get(kind) !== made) return;
    unpublish(kind);
    if (kind !== 'screen') notice(`The ${kind === 'voice' ? 'microphone' : 'camera'} has gone. Choose another under Devices.`);
  });
}

function refusal() {
  const sharer = here.call.participants.find(({screen}) => screen);
  return `${sharer ? sharer.name : 'Somebody'} shares a screen already: one at a time.`;
}

function stop(kind) {
  here.sources.get(kind)?.stop();
  here.sources.delete(kind);
}

/** Ends it, for us and for the others. */
export function unpublish(kind) {
  here.call?.unpublish(kind);
  stop(kind);
  changed();
}

/** Ends all of it: the call is over. */
export function stopAll() {
  for (const kind of [...here.sources.keys()]) stop(kind);
  changed();
}

export async function share(source) {
  if (!here.sources.has('screen')) await publish('screen', source);
}

export function mute(on) {
  here.call.mute(on);
  changed();
}

/** Whether our voice is sent and heard. */
export const isHeard = () => here.sources.has('voice') && !here.call?.muted && !participant(here.call?.sessionID)?.muted;

/** The microphone button: the first time it opens what is chosen. */
export function toggleVoice() {
  if (here.sources.has('voice')) mute(isHeard());
  else publish('voice', here.chosen.voice);
}

export function toggleVideo() {
  if (here.sources.has('video')) unpublish('video');
  else publish('video', here.chosen.video);
}

/** Another source for voice or video: at once if it is being sent, else when it is switched on. */
export async function choose(kind, source) {
  const before = here.sources.get(kind);
  here.chosen[kind] = source;
  if (before) {
    try {
      const made = await make(source);
      if (here.call.ended || here.sources.get(kind) !== before) return made.stop();
      await here.call.replace(kind, made.tracks);
      here.sources.set(kind, made);
      before.stop();
      watch(kind, made);
    } catch (error) {
      here.chosen[kind] = before.source;
      notice(explain(source, error));
    }
  }
  changed();
}

/** Where sound is played; an empty id is the system's choice. */
export async function playAt(id) {
  here.chosen.speaker = id;
  for (const {element} of here.shown.values()) await route(element);
}

/** Sends the sound of an element there. */
export async function route(element) {
  if (!element.setSinkId || (element.sinkId ?? '') === here.chosen.speaker) return;
  try {
    await element.setSinkId(here.chosen.speaker);
  } catch (error) {
    notice(`The speaker cannot be used: ${error.message}.`);
  }
}
