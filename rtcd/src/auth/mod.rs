//! Who may do what: clients by key or bearer token, the admin by one secret (contract, section 1).
mod bearer;
mod limiter;
mod verified;

pub use crate::config::Secret;
pub use crate::source::Source;
pub use bearer::{BearerToken, SessionRecord, Sessions};
pub use limiter::{Busy, Claim, Limiter};

use crate::ids::ClientId;
/// Why credentials are refused; a stranger is not told.
pub use crate::metrics::AuthRefusal as Denial;
use crate::store::{Store, StoreError};
use base64::Engine as _;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;
use thiserror::Error;
use tokio::sync::OwnedSemaphorePermit;
use verified::Verified;

/// Shortest key that may be registered, in bytes.
pub const MIN_KEY_LEN: usize = 32;

/// Longest key that may be registered: bcrypt looks at no more than 72 bytes, and the reference refuses the rest.
pub const MAX_KEY_LEN: usize = 72;

/// The reference's cost. One check takes some 50 ms.
const BCRYPT_COST: u32 = 10;

/// Longest client id that may be registered.
const MAX_CLIENT_ID_LEN: usize = crate::signal::message::MAX_ID_LEN;

/// Why somebody was turned away. `Display` is what the client reads.
#[derive(Debug, Error)]
pub enum AuthError {
    /// No credentials, or wrong ones. Which is for the log alone.
    #[error("authentication failed")]
    Denied(Denial),
    /// A key shorter than [`MIN_KEY_LEN`].
    #[error("key not long enough")]
    KeyTooShort,
    /// A key longer than [`MAX_KEY_LEN`].
    #[error("bcrypt: password length exceeds {MAX_KEY_LEN} bytes")]
    KeyTooLong,
    /// A client id longer than any that signalling takes.
    #[error("client id too long")]
    IdTooLong,
    /// Too many checks are waiting.
    #[error("too many authentication attempts, try again later")]
    Busy(#[from] Busy),
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The hash could not be made: no randomness, or the process is stopping.
    #[error("error: hashing failed")]
    Hash,
}

/// What an `Authorization` header carried.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// A client and its key, or anybody and the admin's secret.
    Basic {
        /// The user part of Basic: a client id, or anything for the admin.
        client: ClientId,
        /// The password part of Basic: a client's key or the admin's.
        key: Secret,
    },
    /// A token from a login.
    Bearer(BearerToken),
}

impl Credentials {
    /// Who it claims to be; a token does not say.
    pub fn client(&self) -> Option<&str> {
        match self {
            Self::Basic { client, .. } => Some(client.as_str()),
            Self::Bearer(_) => None,
        }
    }

    /// Reads the value of an `Authorization` header; the scheme's case does not matter (RFC 9110, 11.1).
    pub fn parse(header: &str) -> Option<Self> {
        let (scheme, value) = header.split_once(' ')?;
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self::Bearer(BearerToken::from_wire(value)));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(value).ok()?).ok()?;
        let (client, key) = pair.split_once(':')?;
        Some(Self::Basic { client: client.into(), key: key.into() })
    }
}

/// Whose credentials they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Whoever has the admin's key.
    Admin,
    /// A registered client, by its key or its bearer token.
    Client(ClientId),
}

/// A cheap handle on the registrations and logins.
#[derive(Debug, Clone)]
pub struct Auth {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    sessions: Sessions,
    limiter: Arc<Limiter>,
    verified: Verified,
    admin: RwLock<Option<Secret>>,
    /// Checked in place of the hash of an unknown client, so that the time does not tell which ids exist.
    stand_in: String,
}

impl Auth {
    /// `admin` is `None` while the admin is off; bearer tokens live for `session_expiration`.
    pub fn new(store: Store, admin: Option<Secret>, session_expiration: Duration) -> Self {
        // A valid hash of an unknown key; only its cost matters.
        let stand_in = bcrypt::hash(BearerToken::random().expose(), BCRYPT_COST).unwrap_or_default();
        let admin = RwLock::new(usable(admin));
        let sessions = Sessions::new(session_expiration);
        let (limiter, verified) = (Limiter::for_this_machine(), Verified::new());
        Self { inner: Arc::new(Inner { store, sessions, limiter, verified, admin, stand_in }) }
    }

    /// All bearer tokens in force, for another process.
    pub fn bearers(&self, now: Instant) -> Vec<SessionRecord> {
        self.inner.sessions.write(now)
    }

    /// Bearer tokens that another process has handed out stay good.
    pub fn start_bearers(&self, records: Vec<SessionRecord>, now: Instant) {
        self.inner.sessions.start(records, now);
    }

    /// Whether there is an admin at all.
    pub fn admin_enabled(&self) -> bool {
        self.admin().is_some()
    }

    /// The admin has this key from now on, or there is none.
    pub fn set_admin(&self, admin: Option<Secret>) {
        *self.inner.admin.write().unwrap_or_else(PoisonError::into_inner) = usable(admin);
    }

    fn admin(&self) -> RwLockReadGuard<'_, Option<Secret>> {
        self.inner.admin.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose credentials these are. `source` has its share of the checks.
    pub async fn identify(&self, credentials: &Credentials, source: Source) -> Result<Identity, AuthError> {
        if let Credentials::Basic { key, .. } = credentials
            && self.is_admin(key)
        {
            return Ok(Identity::Admin);
        }
        self.identify_client(credentials, source).await.map(Identity::Client)
    }

    /// The registered client that these credentials belong to; the admin is none.
    pub async fn identify_client(&self, credentials: &Credentials, source: Source) -> Result<ClientId, AuthError> {
        match credentials {
            Credentials::Bearer(token) => {
                self.inner.sessions.client(token, Instant::now()).ok_or(AuthError::Denied(Denial::UnknownToken))
            }
            Credentials::Basic { client, key } => {
                self.check_key(client, key, source).await?;
                Ok(client.clone())
            }
        }
    }

    /// Whether a client is registered at this moment.
    pub async fn is_registered(&self, client: &ClientId) -> bool {
        !matches!(self.inner.store.get(client).await, Err(StoreError::NotFound))
    }

    /// Registers a client. It takes a turn before anything is looked up: `claim` says whose.
    pub async fn register(
        &self,
        client: &ClientId,
        key: &Secret,
        source: Source,
        claim: Claim,
    ) -> Result<(), AuthError> {
        if key.expose().len() < MIN_KEY_LEN {
            return Err(AuthError::KeyTooShort);
        }
        let turn = self.inner.limiter.wait(source, claim).await?;
        match self.inner.store.get(client).await {
            Ok(_) => return Err(StoreError::AlreadyThere.into()),
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
        if key.expose().len() > MAX_KEY_LEN {
            return Err(AuthError::KeyTooLong);
        }
        if client.as_str().len() > MAX_CLIENT_ID_LEN {
            return Err(AuthError::IdTooLong);
        }
        let hash = hash(key.clone(), turn).await?;
        self.inner.store.add(client, hash.clone()).await?;
        self.inner.verified.remember(client, &hash, key, Instant::now());
        Ok(())
    }

    /// Removes a client and its bearer token.
    pub async fn unregister(&self, client: &ClientId) -> Result<(), AuthError> {
        self.inner.store.remove(client).await?;
        self.inner.sessions.forget(client);
        self.inner.verified.forget(client);
        Ok(())
    }

    /// Gives a registered client another key, and drops its bearer token. Its sessions go on.
    pub async fn rotate(&self, client: &ClientId, key: &Secret, source: Source) -> Result<(), AuthError> {
        match key.expose().len() {
            0..MIN_KEY_LEN => return Err(AuthError::KeyTooShort),
            MIN_KEY_LEN..=MAX_KEY_LEN => {}
            _ => return Err(AuthError::KeyTooLong),
        }
        let turn = self.inner.limiter.wait(source, Claim::Registered).await?;
        let hash = hash(key.clone(), turn).await?;
        self.inner.store.replace(client, hash).await?;
        self.inner.sessions.forget(client);
        self.inner.verified.forget(client);
        Ok(())
    }

    /// All registered clients, in the order of their ids.
    pub async fn clients(&self) -> Result<Vec<ClientId>, AuthError> {
        Ok(self.inner.store.clients().await?)
    }

    /// A new bearer token in place of the client's last one.
    pub async fn login(&self, client: &ClientId, key: &Secret, source: Source) -> Result<BearerToken, AuthError> {
        let hash = self.check_key(client, key, source).await?;
        let token = self.inner.sessions.open(client, Instant::now());
        // A key that was replaced while it was checked opens nothing.
        if self.inner.store.get(client).await.ok() != Some(hash) {
            self.inner.sessions.forget(client);
            return Err(AuthError::Denied(Denial::WrongKey));
        }
        Ok(token)
    }

    fn is_admin(&self, key: &Secret) -> bool {
        self.admin().as_ref().is_some_and(|admin| admin.expose().as_bytes().ct_eq(key.expose().as_bytes()).into())
    }

    /// The hash that the key was found to fit.
    async fn check_key(&self, client: &ClientId, key: &Secret, source: Source) -> Result<String, AuthError> {
        let found = match self.inner.store.get(client).await {
            Ok(hash) => Some(hash),
            Err(StoreError::NotFound | StoreError::EmptyId) => None,
            Err(error) => return Err(error.into()),
        };
        let claim = if found.is_some() { Claim::Registered } else { Claim::Unknown };
        if let Some(hash) = &found
            && self.inner.verified.knows(client, hash, key, Instant::now())
        {
            return Ok(hash.clone());
        }
        let turn = self.inner.limiter.wait(source, claim).await?;
        let hash = found.clone().unwrap_or_else(|| self.inner.stand_in.clone());
        let right = compare(key.clone(), hash, turn).await?;
        match found {
            Some(hash) if right => {
                self.inner.verified.remember(client, &hash, key, Instant::now());
                Ok(hash)
            }
            Some(_) => Err(AuthError::Denied(Denial::WrongKey)),
            None => Err(AuthError::Denied(Denial::UnknownClient)),
        }
    }
}

/// An empty key would let everybody in.
fn usable(admin: Option<Secret>) -> Option<Secret> {
    admin.filter(|secret| !secret.expose().is_empty())
}

/// The hash of a key, in a thread of its own and for the length of a turn.
async fn hash(key: Secret, turn: OwnedSemaphorePermit) -> Result<String, AuthError> {
    let hash = tokio::task::spawn_blocking(move || (bcrypt::hash(key.expose(), BCRYPT_COST), turn).0);
    hash.await.map_err(|_| AuthError::Hash)?.map_err(|_| AuthError::Hash)
}

/// Whether the hash is of the key, in a thread of its own and for the length of a turn.
async fn compare(key: Secret, hash: String, turn: OwnedSemaphorePermit) -> Result<bool, AuthError> {
    let right = tokio::task::spawn_blocking(move || (bcrypt::verify(key.expose(), &hash), turn).0);
    Ok(right.await.map_err(|_| AuthError::Hash)?.unwrap_or(false))
}

#[cfg(test)]
pub(crate) mod tests;
