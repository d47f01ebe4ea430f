//! What a participant checks and changes in descriptions.
use std::collections::HashMap;

/// Sending sections that no MediaMap has announced, with the kind that their track id says.
pub(super) fn unannounced(sdp: &str, map: &HashMap<String, (String, String)>) -> u64 {
    let mut count = 0;
    for section in sdp.split("\r\nm=").skip(1) {
        let value = |name: &str| section.lines().find_map(|line| line.strip_prefix(name));
        let sends = section.lines().any(|line| line == "a=sendonly" || line == "a=sendrecv");
        let (Some(mid), Some(msid), true) = (value("a=mid:"), value("a=msid:"), sends) else { continue };
        let announced = map.get(mid).is_some_and(|(kind, sender)| {
            let (stream, track) = msid.split_once(' ').unwrap_or_default();
            stream == sender && track.starts_with(&format!("{kind}_{sender}_"))
        });
        count += u64::from(!announced);
    }
    count
}

/// The offer with nothing but its codec in each section that is named in `codecs` by its mid.
pub(super) fn only_codecs(sdp: &str, codecs: &HashMap<String, &'static str>) -> String {
    let mut parts = sdp.split("\r\nm=");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for section in parts {
        let mid = section.lines().find_map(|line| line.strip_prefix("a=mid:")).unwrap_or_default();
        out.push_str("\r\nm=");
        match codecs.get(mid) {
            Some(codec) => out.push_str(&only_codec(section, codec)),
            None => out.push_str(section),
        }
    }
    out
}

fn only_codec(section: &str, codec: &str) -> String {
    let of_codec = |line: &str| {
        let (payload_type, name) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
        name.split_once('/')?.0.eq_ignore_ascii_case(codec).then(|| payload_type.to_owned())
    };
    let keep: Vec<String> = section.split("\r\n").filter_map(of_codec).collect();
    let mut out = String::new();
    for (at, line) in section.split("\r\n").enumerate() {
        let about = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"].iter().find_map(|name| line.strip_prefix(name));
        if about.is_some_and(|rest| !keep.iter().any(|kept| rest.split(' ').next() == Some(kept))) {
            continue;
        }
        if at == 0 {
            let head: Vec<&str> = line.split(' ').take(3).collect();
            out.push_str(&format!("{} {}", head.join(" "), keep.join(" ")));
        } else {
            out.push_str("\r\n");
            out.push_str(line);
        }
    }
    out
}
