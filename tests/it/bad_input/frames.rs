//! Frames that no plugin must send, each with a word on what is wrong with it.
use super::MIB;
use rmpv::Value;

pub(super) fn map(fields: &[(&str, Value)]) -> Value {
    Value::Map(fields.iter().map(|(name, value)| ((*name).into(), value.clone())).collect())
}

pub(super) fn frame(kind: &str, data: &Value) -> Vec<u8> {
    let mut frame = Vec::new();
    rmpv::encode::write_value(&mut frame, &kind.into()).expect("memory takes it");
    rmpv::encode::write_value(&mut frame, data).expect("memory takes it");
    frame
}

/// `kind`, then bytes that are no value.
fn broken(kind: &str, rest: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    rmpv::encode::write_value(&mut frame, &kind.into()).expect("memory takes it");
    frame.extend(rest);
    frame
}

/// Each field of a message in turn with each type that it must not have.
fn wrong_types(kind: &str, fields: &[(&str, Value)]) -> Vec<(String, Vec<u8>)> {
    let wrong = [
        Value::from(7),
        Value::from(7.5),
        Value::from("text"),
        Value::from(true),
        Value::Array(vec![]),
        Value::Map(vec![]),
        Value::Ext(1, vec![2]),
        Value::Binary(vec![0xff, 0xfe]),
    ];
    let mut all = Vec::new();
    for at in 0..fields.len() {
        for value in &wrong {
            let (name, good) = &fields[at];
            let text_like = |value: &Value| value.is_str() || value.is_bin();
            // Bytes that are no UTF-8 are no text, but they are `data`.
            let fits = match good {
                Value::String(_) => value.is_str(),
                Value::Binary(_) => text_like(value),
                Value::Boolean(_) => value.is_bool(),
                _ => value.is_u64(),
            };
            if !fits {
                let mut fields = fields.to_vec();
                fields[at].1 = value.clone();
                all.push((format!("{kind} whose {name} is {value}"), frame(kind, &map(&fields))));
            }
        }
    }
    all
}

pub(super) fn bad_frames() -> Vec<(String, Vec<u8>)> {
    let join = [
        ("callID", Value::from("call")),
        ("userID", "user".into()),
        ("sessionID", "bad".into()),
        ("channelID", "channel".into()),
        ("av1Support", true.into()),
        ("dcSignaling", true.into()),
    ];
    let rtc = [
        ("group_id", Value::from("mattermost")),
        ("user_id", "user".into()),
        ("session_id", "ann".into()),
        ("call_id", "call".into()),
        ("type", 3.into()),
        ("data", Value::Binary(vec![])),
    ];
    let session = [("sessionID", Value::from("ann"))];
    let mut all = Vec::new();
    all.extend(wrong_types("join", &join));
    all.extend(wrong_types("rtc", &rtc));
    for kind in ["leave", "reconnect"] {
        all.extend(wrong_types(kind, &session));
        all.push((format!("{kind} without a session"), frame(kind, &map(&[]))));
        all.push((format!("{kind} with an empty session"), frame(kind, &map(&[("sessionID", "".into())]))));
        all.push((format!("{kind} of nobody"), frame(kind, &map(&[("sessionID", "nobody".into())]))));
    }
    for missing in 0..3 {
        let mut fields = join.to_vec();
        let (name, _) = fields.remove(missing);
        all.push((format!("join without {name}"), frame("join", &map(&fields))));
        let mut fields = join.to_vec();
        fields[missing].1 = "x".repeat(257).into();
        all.push((format!("join with an endless {name}"), frame("join", &map(&fields))));
    }
    for (name, missing) in [("session_id", 2), ("type", 4)] {
        let mut fields = rtc.to_vec();
        fields.remove(missing);
        all.push((format!("rtc without {name}"), frame("rtc", &map(&fields))));
    }
    for number in [Value::from(0), Value::from(11), Value::from(-1), Value::from(u64::MAX), Value::from(i64::MIN)] {
        let mut fields = rtc.to_vec();
        fields[4].1 = number.clone();
        all.push((format!("rtc of type {number}"), frame("rtc", &map(&fields))));
    }
    let mut fields = rtc.to_vec();
    fields[2].1 = "nobody".into();
    all.push(("rtc of nobody".into(), frame("rtc", &map(&fields))));
    for kind in ["hello", "vad", "close", "nonsense", "", "JOIN"] {
        all.push((format!("a message of type {kind:?}"), frame(kind, &map(&session))));
    }
    for data in [Value::Nil, Value::from(1), Value::from("text"), Value::Array(vec![Value::Nil; 3])] {
        all.push((format!("join with {data} for its map"), frame("join", &data)));
    }
    let deep = [&[0x81, 0xa1, b'x'][..], &[0x91; 100_000], &[0xc0]].concat();
    let raw: [(&str, Vec<u8>); 16] = [
        ("an empty frame", vec![]),
        ("a reserved byte", vec![0xc1]),
        ("a type that is a number", vec![7, 0x80]),
        ("a type alone", broken("join", &[])),
        ("a type that is longer than the frame", vec![0xdb, 0xff, 0xff, 0xff, 0xff]),
        ("a map of 4 G entries", broken("join", &[0xdf, 0xff, 0xff, 0xff, 0xff])),
        ("a map of 64 K entries", broken("rtc", &[0xde, 0xff, 0xff, 0xa4])),
        ("a map that ends early", broken("leave", &[0x82, 0xa1, b'x', 1])),
        ("data of 4 GB", broken("rtc", &[&[0x81, 0xa4][..], b"data", &[0xc6, 0xff, 0xff, 0xff, 0xff, 1]].concat())),
        ("text of 4 GB", broken("leave", &[&[0x81, 0xa9][..], b"sessionID", &[0xdb, 0xff, 0xff, 0xff, 0xff]].concat())),
        ("an array of 4 G", broken("join", &[0x81, 0xa1, b'x', 0xdd, 0xff, 0xff, 0xff, 0xff])),
        ("an extension of 4 GB", broken("join", &[0x81, 0xa1, b'x', 0xc9, 0xff, 0xff, 0xff, 0xff, 1])),
        ("a key that is a number", broken("join", &[0x81, 7, 7])),
        ("a nest of 100,000", broken("join", &deep)),
        ("more behind the message", [frame("leave", &map(&session)), vec![0xc0]].concat()),
        ("a megabyte of zeros", vec![0; MIB]),
    ];
    all.extend(raw.into_iter().map(|(name, frame)| (name.to_owned(), frame)));
    all
}
