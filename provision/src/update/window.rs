//! A time of the day in which the machine may restart: `02:00-04:00`.
use jiff::civil::Time;
use jiff::{SignedDuration, Zoned};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// From one time of the day to another, by the machine's own time zone; past midnight when the end is the earlier one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    from: Time,
    to: Time,
}

impl Default for Window {
    fn default() -> Self {
        Self { from: Time::constant(2, 0, 0, 0), to: Time::constant(4, 0, 0, 0) }
    }
}

impl Window {
    /// How long it is still open; `None` when it is not.
    pub fn left(&self, now: &Zoned) -> Option<Duration> {
        let now = now.time();
        let inside = match self.from < self.to {
            true => self.from <= now && now < self.to,
            false => self.from <= now || now < self.to,
        };
        let left = now.duration_until(self.to);
        let left = if left.is_negative() { left + DAY } else { left };
        inside.then(|| left.unsigned_abs())
    }
}

impl FromStr for Window {
    type Err = (&'static str, &'static str);

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = ("is no time of the day", "write it as \"02:00-04:00\"");
        let (from, to) = text.split_once('-').ok_or(wrong)?;
        let time = |text: &str| -> Option<Time> {
            let (hour, minute) = text.trim().split_once(':')?;
            let digits = |part: &str, most| part.len() <= most && part.bytes().all(|c| c.is_ascii_digit());
            if !digits(hour, 2) || !digits(minute, 2) || minute.len() != 2 {
                return None;
            }
            Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
        };
        let (from, to) = time(from).zip(time(to)).ok_or(wrong)?;
        if from == to {
            return Err(("is empty", "let it end later than it begins; 00:00-23:59 is nearly always"));
        }
        Ok(Self { from, to })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from.hour(), from.minute(), to.hour(), to.minute())
    }
}

impl TryFrom<String> for Window {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map_err(|(what, _)| what)
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use jiff::tz::TimeZone;

    fn left(window: &str, hour: i8, minute: i8) -> Option<u64> {
        let window: Window = window.parse().expect("a window");
        let now = date(2026, 3, 1).at(hour, minute, 0, 0).to_zoned(TimeZone::UTC).expect("a time");
        window.left(&now).map(|left| left.as_secs() / 60)
    }

    #[test]
    fn a_window_is_open_from_its_beginning_until_its_end() {
        assert_eq!(left("02:00-04:00", 1, 59), None);
        assert_eq!(left("02:00-04:00", 2, 0), Some(120));
        assert_eq!(left("02:00-04:00", 3, 59), Some(1));
        assert_eq!(left("02:00-04:00", 4, 0), None);
    }

    #[test]
    fn a_window_may_go_past_midnight() {
        assert_eq!(left("23:00-01:30", 22, 59), None);
        assert_eq!(left("23:00-01:30", 23, 0), Some(150));
        assert_eq!(left("23:00-01:30", 0, 0), Some(90));
        assert_eq!(left("23:00-01:30", 1, 30), None);
        assert_eq!(left("00:00-23:59", 12, 0), Some(719));
    }

    #[test]
    fn only_two_times_are_a_window() {
        let read = |text: &str| text.parse::<Window>().map(|window| window.to_string()).map_err(|(what, _)| what);
        assert_eq!(read("2:00 - 4:30"), Ok("02:00-04:30".into()));
        assert_eq!(read("02:00-02:00"), Err("is empty"));
        for text in ["", "02:00", "2-4", "24:00-01:00", "02:00-04:60", "+2:00-04:00", "02:00-04:00-06:00", "2:0-4:0"] {
            assert_eq!(read(text), Err("is no time of the day"), "{text}");
        }
    }
}
