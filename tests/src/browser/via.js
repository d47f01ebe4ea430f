// Candidates of the daemon over UDP lead to the entry of a road, those over TCP to a port where nobody is. The page's own lead
// nowhere: the daemon would open the way to them, past the road.
{
  const lead = (text) => text
    .replace(/(candidate:\S+ \d+ udp \d+) \S+ \d+/gi, '$1 ADDRESS PORT')
    .replace(/(candidate:\S+ \d+ tcp \d+) \S+ \d+/gi, '$1 ADDRESS 9');
  const {send} = WebSocket.prototype;
  WebSocket.prototype.send = function(text) {
    return send.call(this, text.replace(/(candidate:\S+ \d+ udp \d+) \S+ \d+/gi, '$1 192.0.2.1 9'));
  };
  const {addIceCandidate, setRemoteDescription} = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.addIceCandidate = function(candidate) {
    return addIceCandidate.call(this, {...candidate, candidate: lead(candidate.candidate)});
  };
  RTCPeerConnection.prototype.setRemoteDescription = function({type, sdp}) {
    return setRemoteDescription.call(this, {type, sdp: lead(sdp)});
  };
}
