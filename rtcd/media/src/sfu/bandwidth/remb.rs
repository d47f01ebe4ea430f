//! The bound that a receiver sets itself by REMB, for those that send nothing better.
use super::Bitrate;
use serde::{Deserialize, Serialize};

/// A REMB holds for so many microseconds. Receivers repeat it every second.
const EXPIRES_US: i64 = 10_000_000;
/// A REMB above so many times what is sent says only that its receiver has not been sent more.
const IS_A_GUESS: f64 = 1.2;

/// The bound, if there is one.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct RembBound(Option<(Bitrate, i64)>);

impl RembBound {
    /// The receiver wants no more than `bitrate`, while so much is `sent`.
    pub fn handle(&mut self, now: i64, bitrate: Bitrate, sent: Option<Bitrate>) {
        let is_guess = sent.is_some_and(|sent| bitrate > sent.times(IS_A_GUESS));
        match &mut self.0 {
            _ if !is_guess => self.0 = Some((bitrate, now + EXPIRES_US)),
            // Once it bounds what is sent it goes on to: what it says then follows from what we send.
            Some((bound, expires)) if now < *expires => *bound = bitrate,
            _ => {}
        }
    }

    /// No more than this.
    pub fn bound(&self) -> Option<Bitrate> {
        self.0.map(|(bound, _)| bound)
    }

    /// When it expires.
    pub fn next_timeout(&self) -> Option<i64> {
        self.0.map(|(_, expires)| expires)
    }

    /// The time has come.
    pub fn handle_timeout(&mut self, now: i64) {
        if self.next_timeout().is_some_and(|expires| expires <= now) {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_bounds_from_when_it_is_less_than_what_is_sent_until_it_is_long_ago() {
        let (mut remb, sent) = (RembBound::default(), Some(Bitrate::kbit(500)));
        remb.handle(0, Bitrate::kbit(900), sent);
        assert_eq!(remb.bound(), None, "a guess");
        remb.handle(1, Bitrate::kbit(450), sent);
        remb.handle(2, Bitrate::kbit(900), sent);
        assert_eq!(remb.bound(), Some(Bitrate::kbit(900)));
        remb.handle_timeout(1 + EXPIRES_US);
        assert_eq!((remb.bound(), remb.next_timeout()), (None, None));
        remb.handle(2 + EXPIRES_US, Bitrate::kbit(300), None);
        assert_eq!(remb.bound(), Some(Bitrate::kbit(300)), "nothing is known of what is sent");
    }
}
