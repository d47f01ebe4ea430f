//! Stores that the real bitcask has written (tests/it/bitcask/make.go), and what can happen to them.
use super::super::{Reference, Store, StoreError, place};
use crate::auth::tests::TempDir;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/it/bitcask").join(name)
}

/// A copy of a fixture.
fn copy(name: &str) -> TempDir {
    let dir = TempDir::new();
    for entry in fs::read_dir(fixture(name)).expect("the fixture is there").flatten() {
        fs::copy(entry.path(), dir.path().join(entry.file_name())).expect("copied");
    }
    dir
}

/// The files of the reference, byte for byte.
fn files(dir: &TempDir) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir.path()).expect("readable").flatten().filter(|entry| entry.path().is_file());
    let read = |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    let mut files: Vec<_> = entries.map(read).collect();
    files.sort();
    files
}

async fn knows(store: &Store, client: &str) -> bool {
    let key = format!("the key of {client}, long enough for Go");
    store.get(&client.into()).await.is_ok_and(|hash| bcrypt::verify(key, &hash).expect("a hash of Go is read"))
}

/// Puts an entry at the end of a data file, as the reference would: an empty value removes the client.
fn append(dir: &TempDir, client: &str, value: &str) {
    let file = dir.path().join("000000000.data");
    let mut bytes = fs::read(&file).expect("there");
    bytes.extend((client.len() as u32).to_be_bytes());
    bytes.extend((value.len() as u64).to_be_bytes());
    bytes.extend([client.as_bytes(), value.as_bytes()].concat());
    bytes.extend(crc32fast::hash(value.as_bytes()).to_be_bytes());
    bytes.extend([0; 8]);
    fs::write(file, bytes).expect("written");
}

fn hash(client: &str) -> String {
    bcrypt::hash(format!("the key of {client}, long enough for Go"), 4).expect("hashed")
}

fn refusal(dir: &TempDir) -> String {
    match Store::open(dir.path()) {
        Err(error @ StoreError::Reference { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_last_word_of_the_reference_on_each_client_is_ours_and_its_files_stay() {
    for name in ["several", "files", "merged", "killed"] {
        let dir = copy(name);
        let before = files(&dir);
        let store = Store::open(dir.path()).expect(name);
        for client in ["ann", "bob", "cid"] {
            assert!(knows(&store, client).await, "{client} of {name}");
        }
        assert!(matches!(store.get(&"dan".into()).await, Err(StoreError::NotFound)), "{name}");
        assert_eq!(files(&dir), before, "{name}");
    }
}

#[tokio::test]
async fn an_empty_store_of_the_reference_is_one_without_clients() {
    let dir = copy("empty");
    let before = files(&dir);
    let store = Store::open(dir.path()).expect("opened");
    assert!(matches!(store.get(&"ann".into()).await, Err(StoreError::NotFound)));
    store.add(&"eve".into(), hash("eve")).await.expect("added");
    drop(store);
    assert!(knows(&Store::open(dir.path()).expect("opened again"), "eve").await);
    assert_eq!(files(&dir), before);
}

#[tokio::test]
async fn what_happens_here_stays_and_what_the_reference_changes_later_is_taken_over() {
    let dir = copy("several");
    let store = Store::open(dir.path()).expect("opened");
    store.remove(&"ann".into()).await.expect("removed");
    store.replace(&"bob".into(), "another".into()).await.expect("replaced");
    drop(store);
    let store = Store::open(dir.path()).expect("opened again");
    assert!(matches!(store.get(&"ann".into()).await, Err(StoreError::NotFound)), "it does not come back");
    assert_eq!(store.get(&"bob".into()).await.expect("known"), "another");
    drop(store);
    // Back to the reference for a while: a newcomer, a new key, and one who goes.
    append(&dir, "eve", &hash("eve"));
    append(&dir, "bob", &hash("bob"));
    append(&dir, "cid", "");
    let store = Store::open(dir.path()).expect("opened a third time");
    assert!(knows(&store, "eve").await && knows(&store, "bob").await);
    for client in ["ann", "cid"] {
        assert!(matches!(store.get(&client.into()).await, Err(StoreError::NotFound)), "{client}");
    }
}

#[tokio::test]
async fn a_database_of_ours_in_the_same_directory_stays_where_it_is_and_has_the_last_word_at_first() {
    let dir = TempDir::new();
    Store::open(dir.path()).expect("ours").add(&"ann".into(), "newer".into()).await.expect("added");
    for entry in fs::read_dir(fixture("several")).expect("there").flatten() {
        fs::copy(entry.path(), dir.path().join(entry.file_name())).expect("copied");
    }
    assert_eq!(place(dir.path()), dir.path());
    let store = Store::open(dir.path()).expect("both");
    assert_eq!(store.get(&"ann".into()).await.expect("known"), "newer");
    assert!(knows(&store, "bob").await);
}

#[tokio::test]
async fn clients_are_still_known_when_the_files_of_the_reference_have_gone() {
    let dir = copy("several");
    drop(Store::open(dir.path()).expect("opened"));
    files(&dir).iter().for_each(|(name, _)| fs::remove_file(dir.path().join(name)).expect("removed"));
    assert!(knows(&Store::open(dir.path()).expect("opened again"), "bob").await);
}

#[test]
fn what_cannot_be_read_is_an_error_that_says_what_to_do() {
    let spoil = |name: &str, file: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let dir = copy(name);
        let file = dir.path().join(file);
        let mut bytes = fs::read(&file).expect("there");
        change(&mut bytes);
        fs::write(file, bytes).expect("written");
        let said = refusal(&dir);
        assert!(said.contains("rtcd client add") && said.contains(&dir.path().display().to_string()), "{said}");
        assert!(!dir.path().join("rtcd").exists(), "nothing has been made");
        said
    };
    assert!(spoil("several", "000000000.data", &|bytes| bytes[40] ^= 1).contains("checksum of the entry at byte 0"));
    assert!(spoil("several", "config.json", &|bytes| bytes.truncate(9)).contains("config.json"));
    assert!(spoil("files", "000000001.data", &|bytes| bytes.truncate(100)).contains("000000001.data"));
    assert!(spoil("files", "000000002.data", &Vec::clear).contains("000000002.data is missing"));
    let dir = copy("several");
    append(&dir, "eve", "a value of some other program");
    assert!(refusal(&dir).contains("eve"));
}

#[test]
fn a_reference_that_still_runs_is_told_of() {
    use nix::fcntl::{Flock, FlockArg};
    let dir = copy("several");
    let file = fs::File::open(dir.path().join("lock")).expect("there");
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).expect("free");
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(&error, StoreError::Open { .. }), "{error:?}: a restart cures it");
    assert!(error.to_string().contains("still runs"), "{error}");
    drop(lock);
    let store = Store::open(dir.path()).expect("opened");
    let file = fs::File::open(dir.path().join("lock")).expect("there");
    let (_, refused) = Flock::lock(file, FlockArg::LockExclusiveNonblock).expect_err("ours now");
    assert_eq!(refused, nix::errno::Errno::EWOULDBLOCK);
    drop(store);
}

#[test]
fn an_entry_that_has_expired_is_none() {
    let dir = copy("empty");
    append(&dir, "eve", &hash("eve"));
    let file = dir.path().join("000000000.data");
    let mut bytes = fs::read(&file).expect("there");
    let end = bytes.len();
    bytes[end - 8..].copy_from_slice(&1000u64.to_be_bytes());
    fs::write(file, bytes).expect("written");
    let live = |second| {
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second);
        Reference::open(dir.path(), now).expect("readable").expect("there").live().len()
    };
    assert_eq!((live(999), live(1001)), (1, 0));
}
