// One participant of one call, doing what Mattermost's clients do, also where that is rude: received pictures are called
// `sendrecv` and offered, what is still to be said after an Unlock is offered without the lock, a camera is switched off by
// taking its track out of the sender and on again by putting another one in.
import {decode, encode} from './msgpack.js';
import {RSA, SCREEN_ENCODINGS, deflate, inflate, isUdp, preferVp8, sleep, withoutUdp} from './formats.js';

const PING = 1, PONG = 2, SDP = 3, LOSS_RATE = 4, ROUND_TRIP_TIME = 5, JITTER = 6, LOCK = 7, UNLOCK = 8, MEDIA_MAP = 9;
const LOCK_RETRY_MS = 200, LOCK_PATIENCE_MS = 5000, ANSWER_PATIENCE_MS = 10000, PING_MS = 1000;
const CANDIDATE_PATIENCE_MS = 300;

/**
 * Events: `joined`, `participants` (detail: list), `speaking` ({sessionID, on}), `track` (remote track added),
 * `untrack` (removed), `state` (connection state), `daemon` (whether the page's server reaches it), `closed` (why: `left`,
 * `closed` by the daemon, `full`, `stopping`, `server` lost, `media` lost).
 */
export class Call extends EventTarget {
  constructor({name, call, dcSignaling = true, tcpOnly = false, av1 = false, simulcast = true, rsa = false,
    iceServers = [], relayOnly = false, seat = null}) {
    super();
    Object.assign(this, {name, call, dcSignaling, tcpOnly, av1, simulcast, rsa, iceServers, relayOnly});
    /** The seat that we had, or would like; then the one that we have. */
    this.wish = seat;
    this.muted = false;
    this.sessionID = '';
    this.participants = [];
    this.mediaMap = {};
    /** mid -> {mid, sender, type, track, stream} */
    this.remote = new Map();
    /** kind -> {transceivers, stream} of what we send */
    this.local = new Map();
    this.early = [];
    this.lockReplies = [];
    this.answered = null;
    /** Descriptions that we have sent. */
    this.described = 0;
    this.log = [];
  }

  /** Resolves when the data channel is open. */
  async join() {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    this.socket = new WebSocket(`${scheme}://${location.host}/signal`);
    this.socket.onmessage = ({data}) => {
      const said = JSON.parse(data);
      // The end may come ahead of what is still being worked on.
      if (said.type === 'full' || said.type === 'stopping') this.close(said.type);
      else this.inOrder(() => this.heard(said));
    };
    this.socket.onclose = () => this.close('server');
    const closed = new Promise((resolve, reject) => {
      this.addEventListener('closed', () => reject(new Error('the call was closed')), {once: true});
    });
    closed.catch(() => {});
    this.socket.onerror = () => this.close('server');
    await Promise.race([new Promise((resolve) => { this.socket.onopen = resolve; }), closed]);
    const joined = new Promise((resolve) => this.addEventListener('joined', resolve, {once: true}));
    this.signal('join', {
      name: this.name, call: this.call, dcSignaling: this.dcSignaling, av1Support: this.av1, seat: this.wish,
    });
    await Promise.race([joined, closed]);
    this.connect(this.rsa ? [await RTCPeerConnection.generateCertificate(RSA)] : []);
    await Promise.race([new Promise((resolve) => { this.channel.onopen = resolve; }), closed]);
    this.pings = setInterval(() => this.tell(PING), PING_MS);
  }

  connect(certificates) {
    const pc = this.pc = new RTCPeerConnection({
      iceServers: this.iceServers, iceTransportPolicy: this.relayOnly ? 'relay' : 'all', bundlePolicy: 'max-bundle', certificates,
    });
    this.channel = pc.createDataChannel('calls-dc', {ordered: true});
    this.channel.binaryType = 'arraybuffer';
    this.channel.onmessage = ({data}) => this.onChannelMessage(data);
    pc.onicecandidate = ({candidate}) => {
      if (!candidate?.candidate || (this.tcpOnly && isUdp(candidate.candidate))) return;
      this.signal('ice', candidate.toJSON());
      this.emit('candidate');
    };
    pc.onnegotiationneeded = () => this.negotiate();
    pc.onconnectionstatechange = () => {
      this.emit('state', pc.connectionState);
      if (pc.connectionState === 'failed') this.close('media');
    };
    pc.ontrack = (event) => this.onTrack(event);
  }

  // ---- what we send

  /** Sends tracks as one kind of stream: `voice`, `video` or `screen`. */
  async publish(kind, tracks) {
    const stream = new MediaStream(tracks);
    const paused = this.local.get(kind);
    if (paused?.paused) {
      await Promise.all(paused.transceivers.map(({sender}, at) => sender.replaceTrack(tracks[at])));
      Object.assign(paused, {stream, paused: false});
      return this.announce('video_on', {videoStreamID: stream.id});
    }
    if (kind === 'screen') await this.announce('screen_on', {screenStreamID: stream.id});
    const transceivers = tracks.map((track) => {
      if (kind !== 'screen') {
        // May well take over a section that something is received in.
        const sender = this.pc.addTrack(track, stream);
        return this.pc.getTransceivers().find((one) => one.sender === sender);
      }
      const options = {direction: 'sendonly', streams: [stream]};
      const layered = this.simulcast && track.kind === 'video';
      if (layered) options.sendEncodings = SCREEN_ENCODINGS;
      const transceiver = this.pc.addTransceiver(track, options);
      if (layered) preferVp8(transceiver);
      return transceiver;
    });
    this.local.set(kind, {stream, transceivers});
    if (kind === 'voice') this.mute(false);
    if (kind === 'video') {
      // Only then: the daemon hears of the stream first, and what it is afterwards.
      await this.until(() => transceivers.every((one) => /send/.test(one.currentDirection)));
      await this.announce('video_on', {videoStreamID: stream.id});
    }
  }

  /** Stops sending them. A camera is paused: nothing is negotiated. */
  unpublish(kind) {
    const sent = this.local.get(kind);
    if (!sent || sent.paused) return;
    if (kind === 'video') {
      sent.paused = true;
      for (const {sender} of sent.transceivers) sender.replaceTrack(null);
      return this.signal('video_off');
    }
    this.local.delete(kind);
    if (kind === 'screen') this.signal('screen_off');
    for (const transceiver of sent.transceivers) this.pc.removeTrack(transceiver.sender);
  }

  /** Sends other tracks in the place of these: nothing is negotiated. */
  async replace(kind, tracks) {
    const sent = this.local.get(kind);
    await Promise.all(sent.transceivers.map(({sender}, at) => sender.replaceTrack(tracks[at] ?? null)));
    sent.stream = new MediaStream(tracks);
    if (kind === 'voice') for (const track of tracks) track.enabled = !this.muted;
  }

  mute(on) {
    this.muted = on;
    for (const track of this.local.get('voice')?.stream.getTracks() ?? []) track.enabled = !on;
    this.signal(on ? 'mute' : 'unmute');
  }

  leave() {
    this.signal('leave');
    this.close('left');
  }

  close(why) {
    if (this.ended) return;
    this.ended = true;
    clearInterval(this.pings);
    this.pc?.close();
    this.socket?.close();
    for (const mid of [...this.remote.keys()]) this.forget(mid);
    this.emit('closed', why);
  }

  /** Says it over the WebSocket and waits until the server has passed it on: it must be ahead of the offer. */
  async announce(type, data) {
    const passed = new Promise((resolve, reject) => {
      this.addEventListener(`passed ${type}`, resolve, {once: true});
      this.addEventListener(`refused ${type}`, () => reject(Object.assign(new Error('refused'), {refused: true})), {once: true});
    });
    this.signal(type, data);
    await passed;
  }

  signal(type, data) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({type, data}));
  }

  tell(type, payload) {
    if (this.channel?.readyState === 'open') this.channel.send(encode(type, payload));
  }

  // ---- negotiation: we are the polite peer

  /** Our offer, under the lock once there is a data channel. What is wanted meanwhile is offered behind it, without. */
  async negotiate() {
    this.wanted = true;
    if (this.negotiating) return;
    this.negotiating = true;
    try {
      let locked = !this.pc.remoteDescription;
      while (this.wanted && !this.ended) {
        this.wanted = false;
        if (!locked) await this.lock();
        await this.offer(!locked);
        locked = true;
      }
    } catch (error) {
      if (!this.ended) this.note('negotiation failed', error);
    } finally {
      this.negotiating = false;
    }
  }

  async offer(unlock) {
    const first = !this.pc.remoteDescription;
    try {
      const answered = new Promise((resolve, reject) => {
        this.answered = resolve;
        setTimeout(() => reject(new Error('no answer came')), ANSWER_PATIENCE_MS);
      });
      answered.catch(() => {});
      const candidate = new Promise((resolve) => this.addEventListener('candidate', resolve, {once: true}));
      // Not while an offer of theirs is being answered.
      await this.inOrder(() => this.pc.setLocalDescription());
      // Candidates are known at once and travel ahead.
      if (first) await Promise.race([candidate, sleep(CANDIDATE_PATIENCE_MS)]);
      await this.sendDescription(!first && this.dcSignaling);
      await answered;
    } finally {
      this.answered = null;
      if (unlock) this.tell(UNLOCK);
    }
  }

  async lock() {
    const until = Date.now() + LOCK_PATIENCE_MS;
    while (Date.now() < until && !this.ended) {
      const reply = new Promise((resolve) => this.lockReplies.push(resolve));
      this.tell(LOCK);
      if (await Promise.race([reply, sleep(LOCK_PATIENCE_MS)])) return;
      await sleep(LOCK_RETRY_MS);
    }
    throw new Error('the signalling lock was not to be had');
  }

  async sendDescription(overChannel) {
    const {type, sdp} = this.pc.localDescription;
    const description = {type, sdp: this.tcpOnly ? withoutUdp(sdp) : sdp};
    this.described += 1;
    if (overChannel) this.tell(SDP, await deflate(JSON.stringify(description)));
    else this.signal('sdp', description);
  }

  async onDescription(description, overChannel) {
    if (this.tcpOnly) description = {...description, sdp: withoutUdp(description.sdp)};
    const rolledBack = description.type === 'offer' && this.pc.signalingState === 'have-local-offer';
    await this.pc.setRemoteDescription(description);
    for (const candidate of this.early.splice(0)) await this.pc.addIceCandidate(candidate);
    if (description.type === 'offer') {
      await this.pc.setLocalDescription();
      await this.sendDescription(overChannel);
      // We are the polite peer: ours is taken back, and the browser asks for it again.
      if (rolledBack) this.answered?.();
    } else {
      this.answered?.();
    }
    this.sweep();
  }

  async onCandidate(candidate) {
    if (!candidate?.candidate || (this.tcpOnly && isUdp(candidate.candidate))) return;
    if (this.pc.remoteDescription) await this.pc.addIceCandidate(candidate);
    else this.early.push(candidate);
  }

  // ---- what we hear

  /** One thing after the other, in the order of arrival. */
  inOrder(work) {
    const done = (this.queue ?? Promise.resolve()).then(work);
    this.queue = done.catch((error) => this.note('failed', error));
    return done;
  }

  async heard({type, data}) {
    switch (type) {
      case 'joined': Object.assign(this, data); return this.emit('joined');
      case 'participants': this.participants = data; this.sweep(); return this.emit('participants', data);
      case 'passed': return this.emit(`passed ${data}`);
      case 'refused': return this.emit(`refused ${data}`);
      case 'sdp': return this.onDescription(data, false);
      case 'ice': return this.onCandidate(data.candidate);
      case 'voice_on': return this.emit('speaking', {sessionID: data.sessionID, on: true});
      case 'voice_off': return this.emit('speaking', {sessionID: data.sessionID, on: false});
      case 'daemon': return this.emit('daemon', data.reached);
      case 'close': return this.close('closed');
    }
  }

  onChannelMessage(data) {
    if (typeof data === 'string') return;
    const [type, payload] = decode(data);
    switch (type) {
      case PING: return this.tell(PONG);
      case PONG: this.pongs = (this.pongs ?? 0) + 1; return;
      case LOCK: return this.lockReplies.shift()?.(payload);
      case MEDIA_MAP: return this.inOrder(() => { this.mediaMap = payload; this.sweep(); });
      case SDP: return this.inOrder(async () => this.onDescription(JSON.parse(await inflate(payload)), true));
    }
  }

  /** Feeds the daemon's client histograms. */
  report({lossRate, roundTripTime, jitter}) {
    this.tell(LOSS_RATE, lossRate);
    this.tell(ROUND_TRIP_TIME, roundTripTime);
    this.tell(JITTER, jitter);
  }

  // ---- their tracks

  onTrack({track, transceiver, streams}) {
    const {mid} = transceiver;
    // The browser then wants to tell the daemon.
    if (track.kind === 'video') transceiver.direction = 'sendrecv';
    this.forget(mid);
    // The map says whose it is; failing that, the stream's id is the sender's session, the track's begins with its type.
    const said = this.mediaMap[mid];
    if (!said) this.note('no media map for', mid);
    this.add(mid, track, said ?? {type: track.id.split('_')[0], sender_id: streams[0]?.id ?? ''});
    track.onended = () => this.forget(mid, track);
    if (streams[0]) streams[0].onremovetrack = () => this.sweep();
  }

  add(mid, track, {type, sender_id: sender}) {
    const entry = {mid, sender, type, track, stream: new MediaStream([track])};
    this.remote.set(mid, entry);
    this.emit('track', entry);
  }

  /** Drops tracks that no longer come, and takes up those whose m-line has passed to another sender. */
  sweep() {
    const comes = ({type, sender_id: sender}) => {
      const who = this.participants.find((one) => one.sessionID === sender);
      return who && (who.screen || !type.startsWith('screen'));
    };
    const receiving = (this.pc?.getTransceivers() ?? []).filter((one) => /recv/.test(one.currentDirection));
    const mids = new Set(receiving.map((one) => one.mid));
    for (const [mid, {sender, type}] of this.remote) {
      const said = this.mediaMap[mid] ?? {type, sender_id: sender};
      const same = said.sender_id === sender && said.type === type;
      if (!same || !comes(said) || (this.pc.signalingState === 'stable' && !mids.has(mid))) this.forget(mid);
    }
    for (const {mid, receiver} of receiving) {
      const said = this.mediaMap[mid];
      if (said && !this.remote.has(mid) && comes(said)) this.add(mid, receiver.track, said);
    }
  }

  forget(mid, track) {
    const entry = this.remote.get(mid);
    if (!entry || (track && entry.track !== track)) return;
    this.remote.delete(mid);
    this.emit('untrack', entry);
  }

  async until(condition) {
    for (const deadline = Date.now() + ANSWER_PATIENCE_MS; !condition() && !this.ended; await sleep(10)) {
      if (Date.now() > deadline) throw new Error('it was not agreed to');
    }
  }

  note(what, detail) {
    this.log.push(`${what}: ${detail?.message ?? JSON.stringify(detail)}`);
    console.warn(what, detail);
  }

  emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, {detail}));
  }
}
