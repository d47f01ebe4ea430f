//! Descriptions as a browser makes them, for tests.

/// The head of an offer, and its data channel.
pub(crate) const FIRST: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sctp-port:5000\r\n";
/// A microphone.
pub(crate) const VOICE: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendonly\r\n\
    a=msid:stream track\r\na=rtpmap:111 opus/48000/2\r\na=ssrc:7 cname:x\r\n";

/// A section for pictures that the peer sends, in the peer's numbers.
pub(crate) fn camera(mid: &str, payload_type: u8, codec: &str, extmap: &str) -> String {
    format!(
        "m=video 9 UDP/TLS/RTP/SAVPF {payload_type}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=sendrecv\r\n\
         a=msid:camera track\r\na=rtpmap:{payload_type} {codec}/90000\r\n{extmap}"
    )
}

/// Puts the transport's attributes into each section, as a browser does.
pub(crate) fn with_transport(sdp: &str, setup: &str) -> String {
    let fingerprint = vec!["AB"; 32].join(":");
    let transport = format!(
        "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:{setup}\r\n"
    );
    sdp.replace("c=IN IP4 0.0.0.0\r\n", &format!("c=IN IP4 0.0.0.0\r\n{transport}"))
}

/// What a browser answers to `offer` that sends in the sections `own`: it receives whatever is sent to it.
pub(crate) fn answer_to(offer: &str, own: &str) -> String {
    let own = sections(own);
    let turned = offer
        .replace("a=sendonly", "a=was-sendonly")
        .replace("a=recvonly", "a=inactive")
        .replace("a=was-sendonly", "a=recvonly")
        .replace("a=ice-lite\r\n", "");
    let strip = |line: &&str| {
        !["a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup", "a=candidate", "a=msid:", "a=ssrc"]
            .iter()
            .any(|attribute| line.starts_with(attribute))
    };
    let sdp: String = turned.lines().filter(strip).flat_map(|line| [line, "\r\n"]).collect();
    let head = sdp.split("m=").next().unwrap_or_default().to_owned();
    let answered = sections(&sdp).into_iter().map(|(mid, section)| {
        let section = own.iter().find(|(known, _)| *known == mid).map_or(section, |(_, own)| own);
        format!("m={section}")
    });
    with_transport(&(head + &answered.collect::<String>()), "active")
}

/// The sections of a description by mid, each without its `m=`.
fn sections(sdp: &str) -> Vec<(&str, &str)> {
    let mid = |section| str::lines(section).find_map(|line| line.strip_prefix("a=mid:")).unwrap_or_default();
    sdp.split("m=").skip(1).map(|section| (mid(section), section)).collect()
}
