//! What a page says has come of a run. It is somebody's word: it is bounded, and called what it is.
use serde::Deserialize;
use serde_json::Value;
use std::fmt;

/// Longest sentence that is logged, in characters.
const MAX_SENTENCE: usize = 300;

/// What came of trying one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    Ok,
    Failed,
    #[default]
    #[serde(other)]
    Untried,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Untried => "not tried",
        })
    }
}

/// What came of all of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Said {
    udp: Way,
    tcp: Way,
    ipv6: Way,
    relay: Way,
    server_relay: Way,
    echo: Way,
    /// How far the daemon's clock is ahead, in milliseconds.
    skew_ms: Option<i64>,
    sentence: String,
}

impl Said {
    /// `None`: it is nothing that our page says.
    pub fn read(data: Value) -> Option<Self> {
        data.is_object().then(|| serde_json::from_value(data).ok()).flatten()
    }

    /// One line in the log. `link` is its number.
    pub fn log(&self, link: u64) {
        let Self { udp, tcp, ipv6, relay, server_relay, echo, skew_ms, sentence } = self;
        let sentence: String =
            sentence.chars().take(MAX_SENTENCE).map(|c| if c.is_control() { ' ' } else { c }).collect();
        tracing::info!(
            link, %udp, %tcp, %ipv6, %relay, %server_relay, %echo, skew_ms, said = sentence, "check page: result"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_page_says_is_taken_for_no_more_than_it_is() {
        let said = Said::read(json!({"udp": "ok", "tcp": "failed", "echo": "whatever", "skewMs": -20, "more": [1]}));
        let said = said.expect("read");
        assert_eq!((said.udp, said.tcp, said.echo, said.relay), (Way::Ok, Way::Failed, Way::Untried, Way::Untried));
        assert_eq!(said.skew_ms, Some(-20));
        for wrong in [json!({"udp": 1}), json!({"sentence": 7}), json!([]), json!("x")] {
            assert!(Said::read(wrong.clone()).is_none(), "{wrong}");
        }
    }
}
