//! Credentials for a TURN server.
use crate::config::{IceServer, Secret, TurnStaticAuth};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rtcd_media::turn::Account;
use std::time::{Duration, SystemTime};

/// Whose relay it is, in time-limited usernames: all sessions share it.
const NAME: &str = "rtcd";

/// How an account is made when one is needed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Credentials {
    /// As the entry of the server says.
    Static {
        /// `username`
        username: String,
        /// `credential`
        password: Secret,
    },
    /// By the secret that is shared with the server.
    Limited(TurnStaticAuth),
}

impl Credentials {
    /// Those of the entry go first; `None`: there are none.
    pub fn of(server: &IceServer, shared: Option<&TurnStaticAuth>) -> Option<Self> {
        match (&server.credential, shared) {
            (Some(password), _) => Some(Self::Static { username: server.username.clone(), password: password.clone() }),
            (None, Some(shared)) => Some(Self::Limited(shared.clone())),
            (None, None) => None,
        }
    }

    /// For an allocation that is made now (contract, section 5: `<expiry unix>:<id>`, HMAC-SHA1 in Base64).
    pub fn account(&self, now: SystemTime) -> Account {
        match self {
            Self::Static { username, password } => {
                Account { username: username.clone(), password: password.expose().to_owned() }
            }
            Self::Limited(shared) => {
                let unix = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
                let username = format!("{}:{NAME}", (unix + shared.expiration).as_secs());
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, shared.secret.expose().as_bytes());
                let password = STANDARD.encode(hmac::sign(&key, username.as_bytes()));
                Account { username, password }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_limited_credentials_are_those_that_a_server_with_the_secret_computes() {
        let shared = TurnStaticAuth { secret: Secret::new("north"), expiration: Duration::from_secs(600) };
        let account = Credentials::Limited(shared).account(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        assert_eq!(account.username, "1700000600:rtcd");
        // printf 1700000600:rtcd | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(account.password, "rPz4gYLuqq6WSzi+JfnUB/oYcNQ=");
    }
}
