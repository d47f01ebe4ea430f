//! The time as the reference writes it.

/// `2026-01-31 12:00:00.000 Z`
pub(super) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S.%3f Z").to_string()
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
