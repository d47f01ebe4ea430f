// What the parts of the page share.
import {colour} from './colours.js';

export const query = new URLSearchParams(location.search);

export const here = {
  /** The call that we are in, or were in last. */
  call: null,
  /** What was asked for when it was joined: {name, callName, voice, video}. */
  asked: null,
  /** kind (`voice`, `video`, `screen`) -> {source, tracks, stop} of what we send. */
  sources: new Map(),
  /** What is opened when voice or video is switched on, and where sound is played. */
  chosen: {voice: 'microphone', video: 'camera', speaker: ''},
  /** mid -> {element, ear} of a remote track */
  shown: new Map(),
  /** Sessions whose voice the daemon hears. */
  speaking: new Set(),
  /** Whether we know who was there before us: others have come since. */
  settled: false,
  numbers: {tracks: [], received: {}, transport: null},
};

/** Our colour; black before we have a seat. */
export const ownColour = () => (here.call?.seat === undefined ? [0, 0, 0] : colour(here.call.seat));

/** The participant of a session. */
export const participant = (sessionID) => here.call?.participants.find((one) => one.sessionID === sessionID);

/** Its name, or the session itself where it came by another server than the page's. */
export const nameOf = (sessionID) => participant(sessionID)?.name ?? sessionID;
