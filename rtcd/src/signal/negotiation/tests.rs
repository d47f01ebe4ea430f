use super::fixtures::{FIRST, VOICE, camera};
use super::*;
use rtcd_media::codec::Codec;
use rtcd_media::dtls::Identity;

mod rtx;

fn with_transport(sdp: &str, setup: &str) -> Description {
    Description::parse(&fixtures::with_transport(sdp, setup)).expect("a valid description")
}

fn answer_to(offer: &str) -> Description {
    Description::parse(&fixtures::answer_to(offer, "")).expect("a valid description")
}

fn fingerprint() -> Fingerprint {
    Identity::generate().expect("an identity").fingerprint()
}

fn sending(ssrc: Ssrc) -> Sending {
    let (stream_id, track_id) = ("ann".into(), format!("voice_ann_{ssrc}"));
    Sending { ssrc, rtx_ssrc: None, codec: Codec::Opus, stream_id, track_id }
}

fn connected() -> Negotiation {
    let mut negotiation = Negotiation::new();
    assert_eq!(
        negotiation.apply_offer(with_transport(FIRST, "actpass")),
        Ok(TransportChange::Open { role: Role::Server })
    );
    negotiation.answer(fingerprint(), &[]);
    negotiation
}

fn sections(sdp: &str) -> Vec<(String, String)> {
    let value = |section: &str, name: &str| {
        section.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned()
    };
    let direction = |section: &str| {
        let known = ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"];
        section.lines().find(|line| known.contains(line)).unwrap_or_default().to_owned()
    };
    sdp.split("m=").skip(1).map(|section| (value(section, "a=mid:"), direction(section))).collect()
}

fn pair(mid: &str, direction: &str) -> (String, String) {
    (mid.into(), direction.into())
}

#[test]
fn a_stream_flows_once_the_peer_has_answered() {
    let mut negotiation = connected();
    negotiation.add_sending(MediaKind::Audio, sending(5));
    assert_eq!(negotiation.agreement(5), Agreement::Waiting);
    let offer = negotiation.offer(false, fingerprint(), &[]);
    assert_eq!(sections(&offer)[1], pair("s0", "a=sendonly"));
    assert!(offer.contains("a=msid:ann voice_ann_5\r\n"), "{offer}");
    assert_eq!(negotiation.agreement(5), Agreement::Waiting);
    assert_eq!(negotiation.apply_answer(answer_to(&offer)), Ok(TransportChange::None));
    assert_eq!(negotiation.agreement(5), Agreement::Agreed);
}

#[test]
fn an_offer_while_ours_is_pending_is_ignored_and_an_answer_out_of_turn_too() {
    let mut negotiation = connected();
    let offer = negotiation.offer(false, fingerprint(), &[]);
    let theirs = with_transport(&format!("{FIRST}{VOICE}"), "actpass");
    assert_eq!(negotiation.apply_offer(theirs.clone()), Err(NegotiationError::Collision));
    assert_eq!(negotiation.apply_answer(answer_to(&offer)), Ok(TransportChange::None));
    assert_eq!(negotiation.apply_answer(answer_to(&offer)), Err(NegotiationError::UnexpectedAnswer));
    assert_eq!(negotiation.apply_offer(theirs), Ok(TransportChange::None));
    assert_eq!(negotiation.offered_tracks().count(), 1);
}

#[test]
fn a_section_is_used_again_only_after_the_peer_heard_that_it_fell_silent() {
    let mut negotiation = connected();
    negotiation.add_sending(MediaKind::Audio, sending(5));
    let offer = negotiation.offer(false, fingerprint(), &[]);
    negotiation.apply_answer(answer_to(&offer)).expect("answered");
    negotiation.remove_sending(5);
    negotiation.add_sending(MediaKind::Audio, sending(6));
    let offer = negotiation.offer(false, fingerprint(), &[]);
    assert_eq!(sections(&offer)[1..], [pair("s0", "a=inactive"), pair("s1", "a=sendonly")]);
    negotiation.apply_answer(answer_to(&offer)).expect("answered");
    negotiation.add_sending(MediaKind::Audio, sending(7));
    let offer = negotiation.offer(false, fingerprint(), &[]);
    assert_eq!(sections(&offer)[1..], [pair("s0", "a=sendonly"), pair("s1", "a=sendonly")]);
}

#[test]
fn a_section_that_the_peer_made_to_send_is_never_sent_in() {
    let mut negotiation = connected();
    negotiation.apply_offer(with_transport(&format!("{FIRST}{VOICE}"), "actpass")).expect("an offer");
    negotiation.answer(fingerprint(), &[]);
    let silent = VOICE.replace("a=sendonly", "a=inactive");
    negotiation.apply_offer(with_transport(&format!("{FIRST}{silent}"), "actpass")).expect("an offer");
    negotiation.answer(fingerprint(), &[]);
    negotiation.add_sending(MediaKind::Audio, sending(5));
    let offer = negotiation.offer(false, fingerprint(), &[]);
    assert_eq!(sections(&offer)[1..], [pair("1", "a=inactive"), pair("s0", "a=sendonly")]);
}

#[test]
fn the_peer_may_offer_before_our_waiting_streams_do() {
    let mut negotiation = connected();
    negotiation.add_sending(MediaKind::Audio, sending(5));
    let theirs = with_transport(&format!("{FIRST}{VOICE}"), "actpass");
    assert_eq!(negotiation.apply_offer(theirs), Ok(TransportChange::None));
    let answer = negotiation.answer(fingerprint(), &[]);
    assert_eq!(sections(&answer).len(), 2, "an answer has the sections of its offer: {answer}");
    assert_eq!(negotiation.agreement(5), Agreement::Waiting);
}

#[test]
fn an_offer_without_an_answer_is_taken_back_and_made_again() {
    let mut negotiation = connected();
    negotiation.add_sending(MediaKind::Audio, sending(5));
    let lost = negotiation.offer(false, fingerprint(), &[]);
    negotiation.give_up_offer();
    assert_eq!(negotiation.agreement(5), Agreement::Waiting);
    let again = negotiation.offer(false, fingerprint(), &[]);
    assert_eq!(sections(&lost), sections(&again));
    negotiation.apply_answer(answer_to(&again)).expect("answered");
    assert_eq!(negotiation.agreement(5), Agreement::Agreed);
}

#[test]
fn what_the_peer_refuses_is_not_sent() {
    let mut negotiation = connected();
    negotiation.add_sending(MediaKind::Audio, sending(5));
    let offer = negotiation.offer(false, fingerprint(), &[]);
    let refusing = offer.replace("a=sendonly", "a=inactive");
    negotiation.apply_answer(answer_to(&refusing)).expect("answered");
    assert_eq!(negotiation.agreement(5), Agreement::Refused);
    assert_eq!(negotiation.sendings().count(), 0);
}

#[test]
fn a_certificate_or_an_order_that_changes_is_refused() {
    let mut negotiation = connected();
    let mut other = with_transport(FIRST, "actpass");
    other.fingerprint = fingerprint();
    assert_eq!(negotiation.apply_offer(other), Err(NegotiationError::FingerprintChanged));
    let renamed = with_transport(&FIRST.replace("a=mid:0", "a=mid:9").replace("BUNDLE 0", "BUNDLE 9"), "actpass");
    assert!(matches!(negotiation.apply_offer(renamed), Err(NegotiationError::SectionMismatch { index: 0, .. })));
}

#[test]
fn new_credentials_restart_ice_with_new_ones_of_ours() {
    let mut negotiation = connected();
    let before = negotiation.local().ufrag.clone();
    let mut again = with_transport(FIRST, "actpass");
    again.ufrag = "efgh".into();
    assert_eq!(negotiation.apply_offer(again), Ok(TransportChange::Restart));
    assert_ne!(negotiation.local().ufrag, before);
    assert_eq!(negotiation.remote_ufrag(), Some("efgh"));
}

fn picture(ssrc: Ssrc) -> Sending {
    let (stream_id, track_id) = ("ann".into(), format!("video_ann_{ssrc}"));
    Sending { ssrc, rtx_ssrc: Some(ssrc + 1000), codec: Codec::Vp8, stream_id, track_id }
}

/// All `a=rtpmap` and `a=extmap` of a description; panics when a number has two meanings.
fn numbers(sdp: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for (prefix, line) in ["a=rtpmap:", "a=extmap:"].iter().flat_map(|p| sdp.lines().map(move |line| (p, line))) {
        let Some((number, meaning)) = line.strip_prefix(prefix).and_then(|rest| rest.split_once(' ')) else { continue };
        let number = format!("{prefix}{number}");
        let known = all.iter().find(|(other, _)| *other == number);
        assert!(known.is_none_or(|(_, other)| other == meaning), "{number} means two things:\n{sdp}");
        all.push((number, meaning.to_owned()));
    }
    all
}

#[test]
fn a_running_section_keeps_the_number_that_it_was_agreed_with() {
    let mut negotiation = connected();
    negotiation.add_sending(MediaKind::Video, picture(5));
    let offer = negotiation.offer(false, fingerprint(), &[]);
    negotiation.apply_answer(answer_to(&offer)).expect("answered");
    assert_eq!(negotiation.numbers(5).map(|numbers| numbers.payload_type), Some(96));
    // Firefox: 120 in its own section, 96 in ours.
    let ours = offer.split("m=video").nth(1).expect("our section").replace("a=sendonly", "a=recvonly");
    let ours = ours.lines().filter(|line| !line.starts_with("a=ice") && !line.starts_with("a=candidate"));
    let ours: String = ours
        .filter(|line| !["a=finger", "a=setup", "a=msid", "a=ssrc"].iter().any(|p| line.starts_with(p)))
        .flat_map(|line| [line, "\r\n"])
        .collect();
    let theirs = format!("{FIRST}m=video{ours}{}", camera("1", 120, "VP8", ""));
    negotiation.apply_offer(with_transport(&theirs, "actpass")).expect("an offer");
    let answer = negotiation.answer(fingerprint(), &[]);
    assert!(answer.contains("a=rtpmap:96 VP8/90000") && answer.contains("a=rtpmap:120 VP8/90000"), "{answer}");
    negotiation.add_sending(MediaKind::Video, picture(6));
    let offer = negotiation.offer(false, fingerprint(), &[]);
    let running = offer.split("m=video").find(|section| section.contains("a=mid:s0")).expect("it is there");
    assert!(running.contains("a=rtpmap:96 VP8/90000"), "{offer}");
    numbers(&offer);
    negotiation.apply_answer(answer_to(&offer)).expect("answered");
    assert_eq!(negotiation.numbers(5).map(|numbers| numbers.payload_type), Some(96));
    assert_eq!(negotiation.agreement(6), Agreement::Agreed);
}

#[test]
fn a_number_of_the_peers_never_means_something_else_in_ours() {
    // Opus is 96, and 45 is a codec that we do not speak; both are our usual numbers for something else.
    let voice = VOICE.replace("111", "96").replace("SAVPF 96", "SAVPF 96 45") + "a=rtpmap:45 telephone-event/8000\r\n";
    let mut negotiation = Negotiation::new();
    negotiation.apply_offer(with_transport(&format!("{FIRST}{voice}"), "actpass")).expect("an offer");
    negotiation.answer(fingerprint(), &[]);
    negotiation.add_sending(MediaKind::Video, picture(5));
    negotiation.add_sending(MediaKind::Audio, sending(6));
    let offer = negotiation.offer(true, fingerprint(), &[]);
    let meanings = numbers(&offer);
    assert!(meanings.contains(&("a=rtpmap:96".into(), "opus/48000/2".into())), "{offer}");
    assert!(!meanings.iter().any(|(number, _)| number == "a=rtpmap:45"), "{offer}");
    negotiation.apply_answer(answer_to(&offer)).expect("answered");
    assert_ne!(negotiation.numbers(5).map(|numbers| numbers.payload_type), Some(96));
    assert_eq!(negotiation.numbers(6).map(|numbers| numbers.payload_type), Some(96));
}

#[test]
fn what_gives_a_number_a_second_meaning_is_turned_down() {
    let theirs = format!("{FIRST}{}{}", VOICE.replace("111", "96"), camera("2", 96, "VP8", ""));
    let mut negotiation = Negotiation::new();
    negotiation.apply_offer(with_transport(&theirs, "actpass")).expect("an offer");
    let answer = negotiation.answer(fingerprint(), &[]);
    numbers(&answer);
    assert!(answer.contains("m=video 0 "), "{answer}");
}

#[test]
fn our_defaults_of_extension_ids_give_way_to_what_was_learned() {
    let mid_on_3 = "a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:4 urn:3gpp:video-orientation\r\n\
        a=extmap:1 urn:ietf:params:rtp-hdrext:toffset\r\n";
    let mut negotiation = Negotiation::new();
    let theirs = format!("{FIRST}{}", camera("1", 96, "VP8", mid_on_3));
    negotiation.apply_offer(with_transport(&theirs, "actpass")).expect("an offer");
    numbers(&negotiation.answer(fingerprint(), &[]));
    negotiation.add_sending(MediaKind::Video, picture(5));
    negotiation.add_sending(MediaKind::Audio, sending(6));
    let offer = negotiation.offer(false, fingerprint(), &[]);
    let meanings = numbers(&offer);
    assert!(meanings.contains(&("a=extmap:3".into(), "urn:ietf:params:rtp-hdrext:sdes:mid".into())), "{offer}");
    assert!(!meanings.iter().any(|(number, _)| number == "a=extmap:4" || number == "a=extmap:1"), "{offer}");
    assert!(meanings.iter().any(|(_, uri)| uri.contains("transport-wide-cc")), "{offer}");
    assert!(meanings.iter().any(|(_, uri)| uri.contains("audio-level")), "{offer}");
}

#[test]
fn a_section_is_used_again_though_the_peer_calls_it_sendrecv() {
    let mut negotiation = connected();
    for round in 0..5 {
        negotiation.add_sending(MediaKind::Video, picture(round));
        let offer = negotiation.offer(false, fingerprint(), &[]);
        assert_eq!(sections(&offer).len(), 2, "{offer}");
        let mut answer = answer_to(&offer);
        // Mattermost's web client does that to all that it receives.
        answer.media[1].direction = rtcd_media::sdp::Direction::SendRecv;
        negotiation.apply_answer(answer).expect("answered");
        let mids: Vec<Mid> = negotiation.offered_tracks().map(|media| media.mid.clone()).collect();
        mids.iter().for_each(|mid| negotiation.accept(mid));
        assert_eq!(negotiation.agreement(round), Agreement::Agreed);
        negotiation.remove_sending(round);
        let offer = negotiation.offer(false, fingerprint(), &[]);
        negotiation.apply_answer(answer_to(&offer)).expect("answered");
    }
}

#[test]
fn a_codec_that_the_peer_takes_out_of_a_running_section_is_not_sent_in_it() {
    let mut negotiation = connected();
    negotiation.add_sending(MediaKind::Video, picture(5));
    let offer = negotiation.offer(true, fingerprint(), &[]);
    negotiation.apply_answer(answer_to(&offer)).expect("answered");
    let mut again = answer_to(&offer);
    again.media[1].formats.retain(|format| format.codec == Codec::Av1);
    assert_eq!(negotiation.apply_offer(again), Ok(TransportChange::None));
    negotiation.answer(fingerprint(), &[]);
    assert_ne!(negotiation.agreement(5), Agreement::Agreed);
}

/// Chromium's `addTrack` between our offer and its answer takes over our section, and nothing more is ever said.
#[test]
fn a_track_that_the_peer_could_only_hold_back_is_invited_by_the_next_offer() {
    let mut negotiation = connected();
    negotiation.add_sending(MediaKind::Audio, sending(5));
    let offer = negotiation.offer(false, fingerprint(), &[]);
    let own = |direction: &str, stream: &str| {
        let section = VOICE.replace("a=mid:1", "a=mid:s0").replace("a=sendonly", &format!("a={direction}"));
        section.replace("a=msid:stream", &format!("a=msid:{stream}"))
    };
    let answer = |offer: &str, own: &str| Description::parse(&fixtures::answer_to(offer, own)).expect("an answer");
    negotiation.apply_answer(answer(&offer, &own("recvonly", "-"))).expect("answered");
    assert!(!negotiation.is_held_back(), "a section that is only called sendrecv has no stream");
    let offer = negotiation.offer(false, fingerprint(), &[]);
    negotiation.apply_answer(answer(&offer, &own("recvonly", "stream"))).expect("answered");
    assert!(negotiation.is_held_back() && negotiation.agreement(5) == Agreement::Agreed);
    let offer = negotiation.offer(false, fingerprint(), &[]);
    assert!(sections(&offer).contains(&pair("s0", "a=sendrecv")), "{offer}");
    // Who does not want to after all is not asked again and again.
    negotiation.apply_answer(answer(&offer, &own("recvonly", "stream"))).expect("answered");
    assert!(!negotiation.is_held_back());
    let offer = negotiation.offer(false, fingerprint(), &[]);
    negotiation.apply_answer(answer(&offer, &own("sendrecv", "stream"))).expect("answered");
    let tracks: Vec<&Mid> = negotiation.offered_tracks().map(|media| &media.mid).collect();
    assert_eq!(tracks, [&Mid("s0".into())]);
}
