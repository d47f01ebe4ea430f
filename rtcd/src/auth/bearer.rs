//! Bearer tokens: one for each client, forgotten when they expire, when the client goes, or with the process.
use super::Secret;
use crate::ids::ClientId;
use base64::Engine as _;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// 24 random bytes are 32 characters of URL-safe base64.
const TOKEN_BYTES: usize = 24;

/// What a login hands out. `Debug` hides it.
#[derive(Debug, Clone)]
pub struct BearerToken(Secret);

impl BearerToken {
    /// A new token from the system's generator.
    pub fn random() -> Self {
        let bytes: [u8; TOKEN_BYTES] = rand::random();
        Self(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes).into())
    }
    /// A token as a client sent it.
    pub fn from_wire(text: &str) -> Self {
        Self(text.into())
    }
    /// The token as it travels; never to be logged.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// A token as another process goes on with it.
#[derive(Serialize, Deserialize)]
pub struct SessionRecord {
    token: String,
    client: ClientId,
    left: Duration,
}

/// All bearer tokens in force: never more than there are registered clients.
#[derive(Debug)]
pub struct Sessions {
    lifetime: Duration,
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    by_token: HashMap<Box<str>, (ClientId, Instant)>,
    by_client: HashMap<ClientId, Box<str>>,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tokens", self.by_token.len())
    }
}

impl Tables {
    fn forget(&mut self, client: &ClientId) {
        if let Some(token) = self.by_client.remove(client) {
            self.by_token.remove(&token);
        }
    }
}

impl Sessions {
    /// Tokens that live this long.
    pub fn new(lifetime: Duration) -> Self {
        Self { lifetime, tables: Mutex::default() }
    }

    /// Hands out a token in place of the client's last one.
    pub fn open(&self, client: &ClientId, now: Instant) -> BearerToken {
        let token = BearerToken::random();
        let mut tables = self.tables();
        tables.forget(client);
        tables.by_token.insert(token.expose().into(), (client.clone(), now + self.lifetime));
        tables.by_client.insert(client.clone(), token.expose().into());
        token
    }

    /// Whose token this is, unless it has expired.
    pub fn client(&self, token: &BearerToken, now: Instant) -> Option<ClientId> {
        let mut tables = self.tables();
        let (client, until) = tables.by_token.get(token.expose())?.clone();
        if now < until {
            return Some(client);
        }
        tables.forget(&client);
        None
    }

    /// All tokens in force, for another process.
    pub fn write(&self, now: Instant) -> Vec<SessionRecord> {
        let tables = self.tables();
        let mut records = Vec::new();
        for (token, (client, until)) in &tables.by_token {
            let left = until.saturating_duration_since(now);
            records.push(SessionRecord { token: token.to_string(), client: client.clone(), left });
        }
        records
    }

    /// Tokens that another process has handed out stay good.
    pub fn start(&self, records: Vec<SessionRecord>, now: Instant) {
        let mut tables = self.tables();
        for SessionRecord { token, client, left } in records {
            tables.by_token.insert(token.as_str().into(), (client.clone(), now + left.min(self.lifetime)));
            tables.by_client.insert(client, token.into());
        }
    }

    /// Drops a client's token.
    pub fn forget(&self, client: &ClientId) {
        self.tables().forget(client);
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
