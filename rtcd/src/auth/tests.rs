use super::*;
use std::path::{Path, PathBuf};

/// A directory that goes with the test.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("rtcd-unit-{}-{:016x}", std::process::id(), rand::random::<u64>()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) const KEY: &str = "0123456789abcdef0123456789abcdef";

fn auth(dir: &TempDir, admin: Option<&str>) -> Auth {
    Auth::new(Store::open(dir.path()).unwrap(), admin.map(Secret::from), Duration::from_secs(3600))
}

fn basic(client: &str, key: &str) -> Credentials {
    Credentials::Basic { client: client.into(), key: key.into() }
}

#[tokio::test]
async fn a_registered_client_is_known_by_its_key_and_by_nothing_else() {
    let dir = TempDir::new();
    let auth = auth(&dir, None);
    auth.register(&"a".into(), &KEY.into(), Source::default(), Claim::Unknown).await.unwrap();
    assert_eq!(auth.identify(&basic("a", KEY), Source::default()).await.unwrap(), Identity::Client("a".into()));
    assert!(matches!(auth.identify(&basic("a", "wrong"), Source::default()).await, Err(AuthError::Denied(_))));
    assert!(matches!(auth.identify(&basic("b", KEY), Source::default()).await, Err(AuthError::Denied(_))));
    assert!(matches!(auth.identify(&basic("", ""), Source::default()).await, Err(AuthError::Denied(_))));
}

#[tokio::test]
async fn a_client_that_is_known_needs_no_turn_whatever_others_do() {
    let dir = TempDir::new();
    let auth = auth(&dir, None);
    auth.register(&"a".into(), &KEY.into(), Source::default(), Claim::Unknown).await.unwrap();
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let auth = auth.clone();
        flood.spawn(async move { auth.login(&"a".into(), &"wrong".into(), Source::default()).await.is_ok() });
    }
    tokio::task::yield_now().await;
    let asked = Instant::now();
    for _ in 0..100 {
        auth.login(&"a".into(), &KEY.into(), Source::default()).await.unwrap();
    }
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    flood.abort_all();
}

#[tokio::test]
async fn keys_have_bounds_and_the_longest_one_counts_to_its_last_byte() {
    let dir = TempDir::new();
    let auth = auth(&dir, None);
    let longest = "k".repeat(MAX_KEY_LEN);
    assert!(matches!(
        auth.register(&"a".into(), &KEY[1..].into(), Source::default(), Claim::Unknown).await,
        Err(AuthError::KeyTooShort)
    ));
    assert!(matches!(
        auth.register(&"a".into(), &format!("{longest}k").into(), Source::default(), Claim::Unknown).await,
        Err(AuthError::KeyTooLong)
    ));
    auth.register(&"a".into(), &longest.as_str().into(), Source::default(), Claim::Unknown).await.unwrap();
    assert!(auth.identify(&basic("a", &longest), Source::default()).await.is_ok());
    assert!(auth.identify(&basic("a", &longest[1..]), Source::default()).await.is_err());
}

#[tokio::test]
async fn the_admin_is_anybody_with_the_secret_while_there_is_one() {
    let dir = TempDir::new();
    let auth = auth(&dir, Some("secret"));
    assert_eq!(auth.identify(&basic("whoever", "secret"), Source::default()).await.unwrap(), Identity::Admin);
    assert!(auth.identify_client(&basic("whoever", "secret"), Source::default()).await.is_err());
    assert!(auth.identify(&basic("whoever", "secre"), Source::default()).await.is_err());
}

#[tokio::test]
async fn an_empty_secret_makes_nobody_the_admin() {
    let dir = TempDir::new();
    let auth = auth(&dir, Some(""));
    assert!(!auth.admin_enabled());
    assert!(auth.identify(&basic("whoever", ""), Source::default()).await.is_err());
}

#[tokio::test]
async fn a_new_login_replaces_the_token_and_unregistering_drops_it() {
    let dir = TempDir::new();
    let auth = auth(&dir, None);
    let client = ClientId::from("a");
    auth.register(&client, &KEY.into(), Source::default(), Claim::Unknown).await.unwrap();
    let first = auth.login(&client, &KEY.into(), Source::default()).await.unwrap();
    let second = auth.login(&client, &KEY.into(), Source::default()).await.unwrap();
    assert_eq!(second.expose().len(), 32);
    assert!(auth.identify(&Credentials::Bearer(first), Source::default()).await.is_err());
    assert!(auth.identify(&Credentials::Bearer(second.clone()), Source::default()).await.is_ok());
    auth.unregister(&client).await.unwrap();
    assert!(auth.identify(&Credentials::Bearer(second), Source::default()).await.is_err());
}

#[test]
fn a_token_expires() {
    let sessions = Sessions::new(Duration::from_secs(60));
    let start = Instant::now();
    let token = sessions.open(&"a".into(), start);
    assert_eq!(sessions.client(&token, start + Duration::from_secs(59)), Some("a".into()));
    assert_eq!(sessions.client(&token, start + Duration::from_secs(60)), None);
    assert_eq!(sessions.client(&token, start), None, "it is forgotten for good");
}

#[test]
fn credentials_never_show_in_debug_output() {
    let shown = format!("{:?} {:?}", basic("a", KEY), Credentials::Bearer(BearerToken::from_wire("t0ken")));
    assert!(!shown.contains(KEY) && !shown.contains("t0ken"), "{shown}");
}

#[test]
fn an_authorization_header_is_read_in_both_schemes_and_any_case() {
    let read = |header| {
        Credentials::parse(header).map(|credentials| match credentials {
            Credentials::Basic { client, key } => format!("{client}|{}", key.expose()),
            Credentials::Bearer(token) => token.expose().to_owned(),
        })
    };
    assert_eq!(read("Basic YTpiOmM=").as_deref(), Some("a|b:c"));
    assert_eq!(read("bearer xyz").as_deref(), Some("xyz"));
    for bad in ["", "Basic", "Basic !!", "Basic YQ==", "Basic /zov", "Digest a"] {
        assert_eq!(read(bad), None, "{bad}");
    }
}
