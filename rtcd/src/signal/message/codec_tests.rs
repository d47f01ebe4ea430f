use super::*;

fn rtc_message(kind: RtcType, data: &[u8]) -> RtcMessage {
    RtcMessage { group: "g".into(), call: "c".into(), user: "u".into(), session: "s".into(), kind, data: data.to_vec() }
}

/// Concatenates literal bytes of the golden frames.
fn frame(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn hello_has_these_bytes() {
    let hello = ServerMessage::Hello { client: "cl".into(), conn: "co".into() };
    let golden = frame(&[b"\xa5hello\x82\xa8clientID\xa2cl\xa6connID\xa2co"]);
    assert_eq!(hello.encode(), golden);
    assert_eq!(ServerMessage::decode(&golden), Ok(hello));
}

#[test]
fn rtc_has_these_bytes() {
    let message = ServerMessage::Rtc(rtc_message(RtcType::Sdp, b"{}"));
    let golden = frame(&[
        b"\xa3rtc\x86\xa8group_id\xa1g\xa7user_id\xa1u\xaasession_id\xa1s\xa7call_id\xa1c\xa4type\x02\xa4data\xc4\x02{}",
    ]);
    assert_eq!(message.encode(), golden);
    assert_eq!(ServerMessage::decode(&golden), Ok(message));
}

#[test]
fn vad_carries_no_data() {
    let message = ServerMessage::Vad(rtc_message(RtcType::VoiceOn, b""));
    let golden =
        frame(&[b"\xa3vad\x85\xa8group_id\xa1g\xa7user_id\xa1u\xaasession_id\xa1s\xa7call_id\xa1c\xa4type\x07"]);
    assert_eq!(message.encode(), golden);
    assert_eq!(ServerMessage::decode(&golden), Ok(message));
}

#[test]
fn close_has_these_bytes() {
    let close = ServerMessage::Close { session: "s".into() };
    assert_eq!(close.encode(), b"\xa5close\x81\xa9sessionID\xa1s");
}

#[test]
fn join_is_read_with_unknown_keys_around_it() {
    let golden = frame(&[
        b"\xa4join\x88\xa5later\x82\xa1a\x93\x01\xc0\xcb\0\0\0\0\0\0\0\0\xa1b\xc7\x01\x05\xff\xa6callID\xa1c\xa6userID\xa1u",
        b"\xa9sessionID\xa1s\xa9channelID\xa2ch\xaaav1Support\xc3\xabdcSignaling\xc2\xa7groupID\xa5other",
    ]);
    let join = Join {
        call: "c".into(),
        user: "u".into(),
        session: "s".into(),
        channel_id: "ch".into(),
        av1_support: true,
        dc_signaling: false,
    };
    assert_eq!(ClientMessage::decode(&golden), Ok(ClientMessage::Join(join)));
}

#[test]
fn what_a_client_writes_is_read_back() {
    let join = Join {
        call: "call".into(),
        user: "user".into(),
        session: "session".into(),
        channel_id: String::new(),
        av1_support: false,
        dc_signaling: true,
    };
    for message in [
        ClientMessage::Join(join),
        ClientMessage::Leave { session: "s".into() },
        ClientMessage::Reconnect { session: "s".into() },
        ClientMessage::Rtc(rtc_message(RtcType::Ice, &[0xff; 70_000])),
    ] {
        assert_eq!(ClientMessage::decode(&message.encode()), Ok(message));
    }
}

#[test]
fn every_integer_width_is_read() {
    let widths: [&[u8]; 9] = [
        b"\x02",
        b"\xcc\x02",
        b"\xcd\0\x02",
        b"\xce\0\0\0\x02",
        b"\xcf\0\0\0\0\0\0\0\x02",
        b"\xd0\x02",
        b"\xd1\0\x02",
        b"\xd2\0\0\0\x02",
        b"\xd3\0\0\0\0\0\0\0\x02",
    ];
    for width in widths {
        let frame = frame(&[b"\xa3rtc\x82\xaasession_id\xa1s\xa4type", width]);
        let Ok(ClientMessage::Rtc(message)) = ClientMessage::decode(&frame) else { panic!("{width:x?}") };
        assert_eq!(message.kind, RtcType::Sdp);
    }
}

#[test]
fn bytes_may_come_as_a_string_or_as_nil() {
    for (bytes, expected) in
        [(&b"\xa2{}"[..], &b"{}"[..]), (b"\xd9\x02{}", b"{}"), (b"\xc5\0\x02{}", b"{}"), (b"\xc0", b"")]
    {
        let frame = frame(&[b"\xa3rtc\x83\xaasession_id\xa1s\xa4type\x01\xa4data", bytes]);
        let Ok(ClientMessage::Rtc(message)) = ClientMessage::decode(&frame) else { panic!("{bytes:x?}") };
        assert_eq!(message.data, expected);
    }
}

#[test]
fn each_mistake_is_named() {
    use MessageError::*;
    let long = frame(&[b"\xa5leave\x81\xa9sessionID\xda\x01\x01", &[b'a'; 257]]);
    let deep = frame(&[b"\xa5leave\x81\xa1x", &[0x91; 100], b"\xc0"]);
    let cases: [(&[u8], MessageError); 22] = [
        (b"", Truncated("the message type")),
        (b"\x01", WrongType { field: "the message type", expected: "a string" }),
        (b"\xa4join", Truncated("join")),
        (b"\xa4join\xa1x", WrongType { field: "join", expected: "a map" }),
        (b"\xa4join\x80", MissingField("callID")),
        (b"\xa4join\x81\xa6callID\xa1c", MissingField("userID")),
        (b"\xa4join\x82\xa6callID\xa1c\xa6userID\xa1u", MissingField("sessionID")),
        (b"\xa4join\x81\xa6callID\x01", WrongType { field: "callID", expected: "a string" }),
        (b"\xa4join\x81\xaaav1Support\xa4true", WrongType { field: "av1Support", expected: "a boolean" }),
        (b"\xa4join\x81\xa6callID\xa1\xff", WrongType { field: "callID", expected: "a string" }),
        (b"\xa4join\x81\x01\x01", Malformed("a map key is no string")),
        (b"\xa5leave\x81\xa9sessionID\xa0", MissingField("sessionID")),
        (&long, TooLong("sessionID")),
        (&deep, TooDeep),
        (b"\xa5leave\xdf\xff\xff\xff\xff", Truncated("the message")),
        (b"\xa5leave\x81\xa1x\xdd\xff\xff\xff\xff", Truncated("an array")),
        (b"\xa3rtc\x81\xa4data\xc6\xff\xff\xff\xff", Truncated("data")),
        (b"\xa3rtc\x81\xaasession_id\xa1s", MissingField("type")),
        (b"\xa3rtc\x82\xaasession_id\xa1s\xa4type\x0b", UnknownRtcType(11)),
        (b"\xa3rtc\x82\xaasession_id\xa1s\xa4type\xff", UnknownRtcType(-1)),
        (b"\xa5hello\x80", UnknownType("hello".into())),
        (b"\xa5leave\x81\xa9sessionID\xa1s\xc0", TrailingBytes(1)),
    ];
    for (frame, expected) in cases {
        assert_eq!(ClientMessage::decode(frame), Err(expected), "{frame:x?}");
    }
}

#[test]
fn no_cut_and_no_flipped_bit_panics() {
    let whole = ClientMessage::Rtc(rtc_message(RtcType::Sdp, b"data")).encode();
    for len in 0..whole.len() {
        assert!(ClientMessage::decode(&whole[..len]).is_err());
        for byte in 0..=255 {
            let mut changed = whole.clone();
            changed[len] = byte;
            let _ = ClientMessage::decode(&changed);
        }
    }
}
