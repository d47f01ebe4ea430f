//! Numbers as people read them. A number and its unit stay on one line.
/// `3 d 4 h`, `12 min`, `40 s`.
pub fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}\u{a0}s"),
        (0, 0, minutes) => format!("{minutes}\u{a0}min"),
        (0, hours, minutes) => format!("{hours}\u{a0}h {minutes}\u{a0}min"),
        (days, hours, _) => format!("{days}\u{a0}d {hours}\u{a0}h"),
    }
}

/// `1.6 Mbit/s`, `48 kbit/s`.
pub fn bitrate(bits: u64) -> String {
    match bits {
        0..=999 => format!("{bits}\u{a0}bit/s"),
        1000..=999_999 => format!("{}\u{a0}kbit/s", bits / 1000),
        _ => format!("{:.1}\u{a0}Mbit/s", bits as f64 / 1e6),
    }
}

/// `21 MB`.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..=999_999_999 => format!("{}\u{a0}MB", bytes / 1_000_000),
        _ => format!("{:.1}\u{a0}GB", bytes as f64 / 1e9),
    }
}

/// `0.4 %`.
pub fn share(share: f64) -> String {
    match share * 100.0 {
        percent if percent < 9.95 => format!("{percent:.1}\u{a0}%"),
        percent => format!("{percent:.0}\u{a0}%"),
    }
}

/// `23 ms`.
pub fn milliseconds(time: f64) -> String {
    match time {
        time if time < 9.95 => format!("{time:.1}\u{a0}ms"),
        time => format!("{time:.0}\u{a0}ms"),
    }
}

/// `1 call`, `2 calls`.
pub fn count(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        let plain = |text: String| text.replace('\u{a0}', " ");
        let durations = [(40, "40 s"), (720, "12 min"), (3660, "1 h 1 min"), (273_600, "3 d 4 h")];
        durations.into_iter().for_each(|(seconds, text)| assert_eq!(plain(duration(seconds)), text));
        assert_eq!(
            [bitrate(900), bitrate(48_700), bitrate(1_640_000)].map(plain),
            ["900 bit/s", "48 kbit/s", "1.6 Mbit/s"]
        );
        assert_eq!([bytes(21_500_000), bytes(2_150_000_000)].map(plain), ["21 MB", "2.1 GB"]);
        assert_eq!([share(0.004), share(0.5)].map(plain), ["0.4 %", "50 %"]);
        assert_eq!([milliseconds(0.25), milliseconds(23.4)].map(plain), ["0.2 ms", "23 ms"]);
        assert_eq!([count(1, "call"), count(0, "call")], ["1 call", "0 calls"]);
    }
}
