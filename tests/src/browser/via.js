// Candidates of the daemon over UDP lead to the entry of a road, those over TCP to a port where nobody is.
{
  const lead = (text) => text
    .replace(/(candidate:\S+ \d+ udp \d+) \S+ \d+/gi, '$1 ADDRESS PORT')
    .replace(/(candidate:\S+ \d+ tcp \d+) \S+ \d+/gi, '$1 ADDRESS 9');
  const {addIceCandidate, setRemoteDescription} = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.addIceCandidate = function(candidate) {
    return addIceCandidate.call(this, {...candidate, candidate: lead(candidate.candidate)});
  };
  RTCPeerConnection.prototype.setRemoteDescription = function({type, sdp}) {
    return setRemoteDescription.call(this, {type, sdp: lead(sdp)});
  };
}
