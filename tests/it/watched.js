// Before the page's own scripts: what becomes of its peer connection while the daemon is exchanged. `watch.report()` tells.
(() => {
  const watch = window.watch = {states: [], pings: 0, pongs: 0, wrong: 0, gaps: new Map()};
  const Original = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Original {
    constructor(...args) {
      super(...args);
      watch.pc = this;
      for (const kind of ['iceconnectionstate', 'connectionstate', 'signalingstate']) {
        const name = {iceconnectionstate: 'iceConnectionState', connectionstate: 'connectionState', signalingstate: 'signalingState'}[kind];
        this.addEventListener(`${kind}change`, () => watch.states.push(`${kind} ${this[name]}`));
      }
    }
    createDataChannel(...args) {
      const channel = super.createDataChannel(...args);
      watch.channel = channel;
      channel.addEventListener('message', ({data}) => {
        if (typeof data === 'string') watch.pongs += 1;
      });
      return channel;
    }
  };
  // How long each stream has brought nothing, at the worst.
  const look = async () => {
    const stats = watch.pc ? [...(await watch.pc.getStats()).values()] : [];
    const now = performance.now();
    for (const {type, ssrc, kind, packetsReceived} of stats) {
      if (type !== 'inbound-rtp') continue;
      const known = watch.gaps.get(ssrc);
      if (!known) {
        watch.gaps.set(ssrc, {kind, packets: packetsReceived, at: now, longest: 0});
      } else {
        known.longest = Math.max(known.longest, now - known.at);
        if (packetsReceived > known.packets) Object.assign(known, {packets: packetsReceived, at: now});
      }
    }
    setTimeout(look, 20);
  };
  look();
  setInterval(() => {
    if (!watch.asking || watch.channel?.readyState !== 'open') return;
    watch.channel.send('ping');
    watch.pings += 1;
  }, 50);
  watch.begin = () => {
    watch.states.length = 0;
    watch.asking = true;
    watch.lap();
  };
  // How long each stream has paused at the worst since the last lap, in ms.
  watch.lap = () => {
    const gaps = [...watch.gaps.values()].map(({kind, longest}) => ({kind, longest}));
    for (const known of watch.gaps.values()) Object.assign(known, {longest: 0, at: performance.now()});
    return JSON.stringify(gaps);
  };
  watch.end = () => { watch.asking = false; };
  watch.report = () => JSON.stringify({
    states: watch.states, pings: watch.pings, pongs: watch.pongs, channel: watch.channel?.readyState,
  });
})();
