// One run: a WebSocket to the server, over which each session says what it has to say, as Mattermost would pass it on.

const CONNECT_MS = 12_000, FIRST_CANDIDATE_MS = 300;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Refused extends Error {}

export class Run {
  /** Resolves to a run that has begun: `told`, `iceServers`, .. as the server says them. */
  static async begin() {
    const run = new Run();
    run.sessions = new Map();
    run.next = 1;
    const asked = Date.now();
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    run.socket = new WebSocket(`${scheme}://${location.host}${location.pathname.replace(/\/$/, '')}/run`);
    const begun = await new Promise((resolve, reject) => {
      run.socket.onmessage = ({data}) => {
        const said = JSON.parse(data);
        if (said.type === 'begin') resolve(said.data);
        else if (said.type === 'refused') reject(new Refused(said.data));
      };
      run.socket.onclose = () => reject(new Error('closed'));
      setTimeout(() => reject(new Error('silent')), CONNECT_MS);
    });
    Object.assign(run, begun);
    // The answer has taken half of the way there and back.
    run.skewMs = Math.round(begun.now - (asked + Date.now()) / 2);
    run.socket.onmessage = ({data}) => {
      const said = JSON.parse(data);
      run.sessions.get(said.id)?.heard(said);
    };
    run.socket.onclose = () => run.sessions.forEach((session) => session.heard({type: 'close'}));
    return run;
  }

  say(type, id, data) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({type, id, data}));
  }

  /** A session that knows no other candidates of the server than those that `accept` takes. */
  session(accept, options = {}) {
    const session = new Session(this, this.next++, accept, options);
    this.sessions.set(session.id, session);
    return session;
  }

  end() {
    this.sessions.forEach((session) => session.leave());
    setTimeout(() => this.socket.close(), 200);
  }
}

/** What is said of a candidate (RFC 8839, section 5.1). */
export function parse(candidate) {
  const [, , protocol, , address, port, , type] = candidate.replace(/^a=/, '').split(' ');
  return {protocol: protocol?.toLowerCase(), address, port, type, isV6: address?.includes(':')};
}

export class Session extends EventTarget {
  constructor(run, id, accept, {iceServers = [], relayOnly = false, tracks = []}) {
    super();
    Object.assign(this, {run, id, accept, known: 0, reached: false, early: []});
    const pc = this.pc = new RTCPeerConnection({
      iceServers, iceTransportPolicy: relayOnly ? 'relay' : 'all', bundlePolicy: 'max-bundle',
    });
    this.channel = pc.createDataChannel('calls-dc', {ordered: true});
    const stream = new MediaStream(tracks);
    for (const track of tracks) pc.addTrack(track, stream);
    pc.onicecandidate = ({candidate}) => {
      // Ours of a kind that is not tried could be reached from there.
      if (!candidate?.candidate || !this.accepts(candidate.candidate, true)) return;
      this.run.say('ice', this.id, candidate.toJSON());
      this.dispatchEvent(new Event('candidate'));
    };
    pc.oniceconnectionstatechange = () => {
      if (['connected', 'completed'].includes(pc.iceConnectionState)) this.reached = true;
    };
    pc.ontrack = (event) => this.dispatchEvent(Object.assign(new Event('track'), {track: event.track}));
  }

  accepts(candidate, ours) {
    return this.accept(parse(candidate), ours);
  }

  filtered(sdp) {
    const keep = (line) => {
      if (!line.startsWith('a=candidate:')) return true;
      const accepted = this.accepts(line, false);
      if (accepted) this.known += 1;
      return accepted;
    };
    return sdp.split('\r\n').filter(keep).join('\r\n');
  }

  /** Resolves to `{state, ms, why}`; `ok` is an open data channel: ICE, DTLS and SCTP have got through. */
  async connect() {
    const begun = performance.now();
    const opened = new Promise((resolve) => { this.channel.onopen = () => resolve('ok'); });
    const closed = new Promise((resolve) => this.addEventListener('closed', () => resolve('closed'), {once: true}));
    const failed = new Promise((resolve) => this.pc.addEventListener('connectionstatechange', () => {
      if (this.pc.connectionState === 'failed') resolve('failed');
    }));
    this.run.say('join', this.id);
    this.offer();
    const end = await Promise.race([opened, closed, failed, sleep(CONNECT_MS).then(() => 'silent')]);
    const ms = Math.round(performance.now() - begun);
    if (end === 'ok') return {state: 'ok', ms};
    if (!this.known) return {state: 'untried', ms, why: 'the server tells no such address'};
    if (this.reached) return {state: 'failed', ms, why: 'dtls'};
    return {state: 'failed', ms, why: 'no answer'};
  }

  async offer() {
    const candidate = new Promise((resolve) => this.addEventListener('candidate', resolve, {once: true}));
    await this.pc.setLocalDescription();
    await Promise.race([candidate, sleep(FIRST_CANDIDATE_MS)]);
    this.say();
  }

  say() {
    const {type, sdp} = this.pc.localDescription;
    const keep = (line) => !line.startsWith('a=candidate:') || this.accepts(line, true);
    this.run.say('sdp', this.id, {type, sdp: sdp.split('\r\n').filter(keep).join('\r\n')});
  }

  /** One thing after the other. */
  heard(said) {
    this.queue = (this.queue ?? Promise.resolve()).then(() => this.handle(said)).catch((error) => console.warn(error));
  }

  async handle({type, data}) {
    if (type === 'close') return this.dispatchEvent(new Event('closed'));
    if (type === 'ice') {
      const candidate = data?.candidate;
      if (!candidate?.candidate || !this.accepts(candidate.candidate, false)) return;
      this.known += 1;
      if (this.pc.remoteDescription) await this.pc.addIceCandidate(candidate);
      else this.early.push(candidate);
      return;
    }
    await this.pc.setRemoteDescription({type: data.type, sdp: this.filtered(data.sdp)});
    for (const candidate of this.early.splice(0)) await this.pc.addIceCandidate(candidate);
    if (data.type === 'offer') {
      await this.pc.setLocalDescription();
      this.say();
    }
  }

  leave() {
    if (!this.run.sessions.delete(this.id)) return;
    this.run.say('leave', this.id);
    this.pc.close();
  }
}
