//! Retransmissions in streams of their own (RFC 4588), and what else the plane needs to number packets.
use super::*;

/// A session with RTX, whatever [`ACCEPT_RTX`] says.
fn with_rtx() -> Negotiation {
    let mut negotiation = connected();
    negotiation.rtx = RtxSupport::new(true);
    negotiation
}

/// The same with a peer that has described pictures without it.
fn without_rtx() -> Negotiation {
    let mut negotiation = connected();
    negotiation.rtx = RtxSupport::shown_none();
    negotiation
}

/// A camera of the peer's with RTX.
fn camera_with_rtx(payload_type: u8, rtx: u8) -> String {
    camera("1", payload_type, "VP8", "")
        .replace(&format!("SAVPF {payload_type}"), &format!("SAVPF {payload_type} {rtx}"))
        + &format!(
            "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={payload_type}\r\n\
             a=ssrc-group:FID 21 22\r\na=ssrc:21 cname:x\r\na=ssrc:22 cname:x\r\n"
        )
}

/// Applies an offer and answers it.
fn offered(negotiation: &mut Negotiation, media: &str) -> String {
    negotiation.apply_offer(with_transport(&format!("{FIRST}{media}"), "actpass")).expect("an offer");
    negotiation.answer(fingerprint(), &[])
}

fn section_of<'a>(description: &'a str, mid: &str) -> &'a str {
    description.split("m=").find(|section| section.contains(&format!("a=mid:{mid}\r\n"))).expect("it is there")
}

/// A section of ours as the peer would describe it in an offer.
fn turned(description: &str, mid: &str) -> String {
    let section = format!("m={}", section_of(description, mid)).replace("a=sendonly", "a=recvonly");
    let transport = ["a=ice", "a=candidate", "a=end-of", "a=finger", "a=setup", "a=msid", "a=ssrc"];
    let lines = section.lines().filter(|line| !transport.iter().any(|prefix| line.starts_with(prefix)));
    lines.flat_map(|line| [line, "\r\n"]).collect()
}

#[test]
fn a_peer_that_offers_rtx_gets_it_in_its_sections_and_in_ours_under_its_numbers() {
    let mut negotiation = with_rtx();
    let answer = offered(&mut negotiation, &camera_with_rtx(96, 99));
    assert!(answer.contains("SAVPF 96 99\r\n") && answer.contains("a=rtpmap:99 rtx/90000\r\na=fmtp:99 apt=96\r\n"));
    negotiation.add_sending(MediaKind::Video, picture(5));
    let offer = negotiation.offer(false, fingerprint(), &[]);
    let ours = section_of(&offer, "s0");
    assert!(ours.contains("SAVPF 96 99\r\n") && ours.contains("a=fmtp:99 apt=96\r\n"), "{offer}");
    assert!(ours.contains("a=ssrc-group:FID 5 1005\r\na=ssrc:5 cname:ann\r\n"), "{offer}");
    assert!(ours.contains("a=ssrc:1005 cname:ann\r\na=ssrc:1005 msid:ann video_ann_5\r\n"), "{offer}");
    assert_eq!(negotiation.numbers(5), None, "unanswered");
    negotiation.apply_answer(answer_to(&offer)).expect("answered");
    let rtx = Some(Rtx { payload_type: 99, ssrc: 1005 });
    let agreed = negotiation.numbers(5).expect("agreed");
    assert_eq!((agreed.payload_type, agreed.rtx, agreed.transport_cc_id), (96, rtx, 3));
    // Whoever offers next, and whatever else comes: nothing changes.
    let again = negotiation.offer(false, fingerprint(), &[]);
    assert_eq!(section_of(&again, "s0").lines().next(), ours.lines().next());
    negotiation.apply_answer(answer_to(&again)).expect("answered");
    offered(&mut negotiation, &format!("{}{}", camera_with_rtx(96, 99), turned(&again, "s0")));
    assert_eq!(negotiation.numbers(5), Some(agreed));
}

#[test]
fn a_peer_without_rtx_is_offered_none() {
    let mut negotiation = with_rtx();
    let answer = offered(&mut negotiation, &camera("1", 96, "VP8", ""));
    negotiation.add_sending(MediaKind::Video, picture(5));
    let offer = negotiation.offer(true, fingerprint(), &[]);
    for description in [&answer, &offer] {
        assert!(!description.contains("rtx") && !description.contains("FID"), "{description}");
    }
    negotiation.apply_answer(answer_to(&offer)).expect("answered");
    assert_eq!(negotiation.numbers(5).map(|numbers| numbers.rtx), Some(None));
}

#[test]
fn rtx_is_of_one_payload_type_whatever_the_codec() {
    // Firefox knows VP8 as 120 in its sections and as 96 in ours, and 97 as something else.
    let mut negotiation = without_rtx();
    negotiation.add_sending(MediaKind::Video, picture(5));
    let offer = negotiation.offer(false, fingerprint(), &[]);
    assert!(!offer.contains("rtx"), "it is known to have none: {offer}");
    negotiation.apply_answer(answer_to(&offer)).expect("answered");
    let theirs = camera_with_rtx(120, 124).replace("120 124\r\n", "120 124 97\r\n") + "a=rtpmap:97 H264/90000\r\n";
    let answer = offered(&mut negotiation, &format!("{}{theirs}", turned(&offer, "s0")));
    assert!(section_of(&answer, "1").contains("a=fmtp:124 apt=120\r\n"), "{answer}");
    negotiation.add_sending(MediaKind::Video, picture(6));
    let offer = negotiation.offer(false, fingerprint(), &[]);
    assert!(!section_of(&offer, "s0").contains("rtx"), "a running stream goes on as it was agreed: {offer}");
    let new = section_of(&offer, "s1");
    assert!(new.contains("SAVPF 96 98\r\n") && new.contains("a=fmtp:98 apt=96\r\n"), "{offer}");
    assert!(new.contains("a=ssrc-group:FID 6 1006\r\n"), "{offer}");
    negotiation.apply_answer(answer_to(&offer)).expect("answered");
    assert_eq!(negotiation.numbers(6).and_then(|numbers| numbers.rtx), Some(Rtx { payload_type: 98, ssrc: 1006 }));
    assert_eq!(negotiation.numbers(5).and_then(|numbers| numbers.rtx), None);
}

#[test]
fn a_running_stream_gets_no_second_stream_that_its_receiver_was_not_told_of() {
    let mut negotiation = without_rtx();
    negotiation.add_sending(MediaKind::Video, picture(5));
    let offer = negotiation.offer(false, fingerprint(), &[]);
    negotiation.apply_answer(answer_to(&offer)).expect("answered");
    // Chromium names all codecs that it knows in each of its offers.
    let all = turned(&offer, "s0").replace("SAVPF 96\r\n", "SAVPF 96 97\r\n")
        + "a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n";
    let answer = offered(&mut negotiation, &all);
    assert!(!answer.contains("FID"), "{answer}");
    assert_eq!(negotiation.numbers(5).map(|numbers| numbers.rtx), Some(None));
}

#[test]
fn an_answer_that_leaves_rtx_or_congestion_feedback_out_is_heeded() {
    let mut negotiation = with_rtx();
    offered(&mut negotiation, &camera_with_rtx(96, 97));
    negotiation.add_sending(MediaKind::Video, picture(5));
    negotiation.add_sending(MediaKind::Audio, sending(6));
    let offer = negotiation.offer(false, fingerprint(), &[]);
    assert!(offer.contains("a=rtcp-fb:111 nack\r\n"), "lost voice is sent again, too: {offer}");
    let mut answer = answer_to(&offer);
    for format in answer.media.iter_mut().flat_map(|media| &mut media.formats) {
        format.rtx = None;
        format.feedback.retain(|feedback| feedback != "transport-cc" || format.codec == Codec::Opus);
    }
    negotiation.apply_answer(answer).expect("answered");
    let picture = negotiation.numbers(5).expect("agreed");
    assert_eq!((picture.rtx, picture.transport_cc_id), (None, 0));
    assert_eq!(negotiation.numbers(6).map(|numbers| numbers.transport_cc_id), Some(3));
}

#[test]
fn rtx_under_a_number_that_means_something_else_is_turned_down_alone() {
    let mut negotiation = with_rtx();
    let voice = VOICE.replace("a=mid:1", "a=mid:v");
    let answer = offered(&mut negotiation, &format!("{voice}{}", camera_with_rtx(96, 111)));
    assert!(section_of(&answer, "1").contains("SAVPF 96\r\n"), "{answer}");
    numbers(&answer);
}

#[test]
fn streams_of_both_sides_have_ssrcs_of_their_own() {
    let mut negotiation = with_rtx();
    offered(&mut negotiation, &camera_with_rtx(96, 97));
    negotiation.add_sending(MediaKind::Video, picture(5));
    let used = [5, 1005, 21, 22];
    assert!(used.iter().all(|ssrc| negotiation.is_ssrc_used(*ssrc)), "waiting");
    negotiation.offer(false, fingerprint(), &[]);
    assert!(used.iter().all(|ssrc| negotiation.is_ssrc_used(*ssrc)), "offered");
    assert!(!negotiation.is_ssrc_used(6));
}

#[test]
fn rtx_is_left_alone_until_the_plane_reads_it() {
    let mut negotiation = connected();
    let answer = offered(&mut negotiation, &camera_with_rtx(96, 97));
    negotiation.add_sending(MediaKind::Video, picture(5));
    let offer = negotiation.offer(false, fingerprint(), &[]);
    assert_eq!((answer.contains("rtx"), offer.contains("rtx")), (ACCEPT_RTX, ACCEPT_RTX));
}

#[test]
fn who_only_watches_is_offered_rtx_and_may_turn_it_down() {
    let mut negotiation = connected();
    negotiation.add_sending(MediaKind::Video, picture(5));
    let offer = negotiation.offer(false, fingerprint(), &[]);
    assert!(offer.contains("rtx/90000") && offer.contains("a=ssrc-group:FID 5 1005"), "{offer}");
}
