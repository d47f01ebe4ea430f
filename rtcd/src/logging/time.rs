//! The time as the reference writes it.
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// `2026-01-31 12:00:00.000 Z`
pub(super) fn now() -> String {
    // `2026-01-31T12:00:00.000000Z`
    let mut text = String::new();
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    let (date, time) = text.split_once('T').unwrap_or((&text, "00:00:00.000"));
    format!("{date} {} Z", time.get(..12).unwrap_or(time))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_time_has_milliseconds_and_a_zone() {
        let now = super::now();
        let like = "0000-00-00 00:00:00.000 Z";
        let digits: String = now.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(digits, like);
    }
}
