//! Everything that eats network bytes, or files of others, fed with mutated real input; see tests/fuzz/README.md.
use provision::fuzzing as provisioning;
use rtcd::fuzzing as control;
use rtcd::ids::{CallId, ClientId, SessionId, UserId};
use rtcd::signal::data_channel;
use rtcd::signal::message::{ClientMessage, Join, RtcMessage, RtcType};
use rtcd_media::fuzzing as media;
use rtcd_tests::fuzz::{Layout, corpus, run};
use rtcd_tests::in_repository;

#[test]
fn stun_and_ice_survive_any_request() {
    run("stun_and_ice_survive", Layout::Steps(0), &corpus::stun(), media::stun);
}

#[test]
fn a_turn_server_may_say_anything() {
    run("a_turn_server", Layout::Steps(0), &corpus::turn(), media::turn);
}

#[test]
fn rtp_survives_any_packet_from_parser_to_rewriter() {
    run("rtp_survives", Layout::Steps(0), &corpus::rtp(), media::rtp);
}

#[test]
fn rtcp_survives_any_compound_packet() {
    run("rtcp_survives", Layout::Flat, &corpus::rtcp(), media::rtcp);
}

#[test]
fn srtp_opens_what_is_valid_once_and_nothing_else() {
    run("srtp_opens", Layout::Steps(1), &corpus::srtp(), media::srtp);
}

#[test]
fn dtls_survives_any_datagram_in_any_phase() {
    run("dtls_survives", Layout::Steps(1), &corpus::dtls(), media::dtls);
}

#[test]
fn sctp_survives_any_chunk_in_any_order() {
    run("sctp_survives", Layout::Steps(0), &corpus::sctp(), media::sctp);
}

#[test]
fn any_description_that_is_read_is_answered_readably() {
    run("any_description", Layout::Flat, &corpus::offers(), media::sdp);
}

#[test]
fn negotiation_survives_any_sequence_of_descriptions() {
    run("negotiation_survives", Layout::Steps(0), &corpus::negotiations(), control::negotiation);
}

#[test]
fn any_client_message_that_is_read_can_be_written() {
    let (call, user, session): (CallId, UserId, SessionId) = ("call".into(), "user".into(), "session".into());
    let rtc = RtcMessage {
        group: ClientId::from("group"),
        call: call.clone(),
        user: user.clone(),
        session: session.clone(),
        kind: RtcType::Sdp,
        data: corpus::CHROMIUM.into(),
    };
    let join = Join {
        call,
        user,
        session: session.clone(),
        channel_id: "channel".into(),
        av1_support: true,
        dc_signaling: false,
    };
    let messages =
        [ClientMessage::Join(join), ClientMessage::Leave { session }, ClientMessage::Rtc(rtc)].map(|m| m.encode());
    run("any_client_message", Layout::Flat, &messages, control::client_message);
}

#[test]
fn any_data_channel_message_is_read_or_refused() {
    let loss = [&[4, 0xcb][..], &0.25f64.to_be_bytes()].concat();
    let sdp = data_channel::sdp(format!("{{\"type\":\"offer\",\"sdp\":{:?}}}", corpus::CHROMIUM).as_bytes());
    let bomb = data_channel::sdp(&vec![b' '; 2 << 20]);
    let messages = [vec![1], vec![0xcc, 7], vec![0xd3, 0, 0, 0, 0, 0, 0, 0, 8], vec![5, 1], loss, sdp, bomb];
    run("any_data_channel", Layout::Flat, &messages, control::data_channel_message);
}

#[test]
fn tcp_frames_come_out_whole_however_the_bytes_come_in() {
    run("tcp_frames", Layout::Steps(0), &corpus::tcp(), control::tcp_framing);
}

#[test]
fn any_data_file_of_the_reference_is_read_or_refused() {
    let files =
        ["several/000000000.data", "files/000000001.data", "killed/000000000.data", "files/index", "files/config.json"];
    let corpus =
        files.map(|name| std::fs::read(in_repository("tests/it/bitcask").join(name)).expect("the fixture is there"));
    run("any_data_file", Layout::Flat, &corpus, control::bitcask);
}

#[test]
fn any_user_data_is_refused_in_one_line_a_mistake_or_accepted() {
    run("any_user_data", Layout::Flat, &corpus::user_data(), |bytes| {
        provisioning::user_data(bytes);
        provisioning::cloud_config(bytes);
        provisioning::yaml(bytes);
    });
}

#[test]
fn accepted_user_data_renders_what_rtcd_takes() {
    run("accepted_user_data", Layout::Flat, &corpus::user_data(), provisioning::draft);
}

#[test]
fn any_volume_is_read_or_refused() {
    run("any_volume", Layout::Flat, &corpus::volumes(), provisioning::volume);
}

#[test]
fn any_metadata_is_read_or_refused() {
    run("any_metadata", Layout::Flat, &corpus::metadata(), provisioning::metadata);
}

#[test]
fn any_firmware_names_a_source_or_none() {
    let words =
        ["ds=nocloud;s=http://a/;h=b;i=c", "ds=nocloud-net;seedfrom=file:///x/", "Amazon EC2", "quiet ds=ec2 x"];
    run("any_firmware", Layout::Flat, &words.map(|word| word.into()), provisioning::firmware);
}
