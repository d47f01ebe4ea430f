use super::memory::{self, Clients as _, Memory};
use super::{Inner, State, Store, StoreError, count};
use crate::auth::tests::TempDir;
use crate::logging::Once;
use std::fs;
use std::sync::{Arc, Mutex, RwLock};

mod import;

#[tokio::test]
async fn a_client_outlives_the_process_that_added_it() {
    let dir = TempDir::new();
    Store::open(dir.path()).unwrap().add(&"mattermost".into(), "hash".into()).await.unwrap();
    let again = Store::open(dir.path()).unwrap();
    assert_eq!(again.get(&"mattermost".into()).await.unwrap(), "hash");
}

#[tokio::test]
async fn a_second_registration_leaves_the_first_key_in_place() {
    let dir = TempDir::new();
    let store = Store::open(dir.path()).unwrap();
    store.add(&"a".into(), "one".into()).await.unwrap();
    assert!(matches!(store.add(&"a".into(), "two".into()).await, Err(StoreError::AlreadyThere)));
    assert_eq!(store.get(&"a".into()).await.unwrap(), "one");
}

#[tokio::test]
async fn a_removed_client_is_not_found() {
    let dir = TempDir::new();
    let store = Store::open(dir.path()).unwrap();
    store.add(&"a".into(), "one".into()).await.unwrap();
    store.remove(&"a".into()).await.unwrap();
    assert_eq!(store.get(&"a".into()).await.unwrap_err().to_string(), "error: not found");
    assert_eq!(store.remove(&"a".into()).await.unwrap_err().to_string(), "error: not found");
}

#[tokio::test]
async fn an_empty_id_is_named() {
    let dir = TempDir::new();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.get(&"".into()).await.unwrap_err().to_string(), "error: empty key");
    assert!(matches!(store.add(&"".into(), "x".into()).await, Err(StoreError::EmptyId)));
}

#[test]
fn a_store_in_use_is_an_error_that_names_its_directory() {
    let dir = TempDir::new();
    let _first = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains(&dir.path().display().to_string()), "{error}");
}

/// Everything in the store that is not the database in use.
fn kept(dir: &TempDir) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir.path()).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        if entry.file_name().to_string_lossy().starts_with("damaged-") {
            names.extend(fs::read_dir(entry.path()).unwrap().flatten().map(|e| e.file_name().into_string().unwrap()));
        }
    }
    names
}

#[tokio::test]
async fn a_damaged_store_is_set_aside_and_kept() {
    let dir = TempDir::new();
    Store::open(dir.path()).unwrap().add(&"a".into(), "one".into()).await.unwrap();
    let len = fs::metadata(dir.path().join("db")).unwrap().len() as usize;
    fs::write(dir.path().join("db"), "rubbish ".repeat(len / 8)).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(matches!(store.get(&"a".into()).await, Err(StoreError::NotFound)));
    store.add(&"a".into(), "two".into()).await.unwrap();
    assert!(kept(&dir).contains(&"db".into()), "{:?}", kept(&dir));
    drop(store);
    assert_eq!(Store::open(dir.path()).unwrap().get(&"a".into()).await.unwrap(), "two");
}

#[tokio::test]
async fn nothing_is_lost_with_a_damaged_snapshot() {
    let dir = TempDir::new();
    Store::open(dir.path()).unwrap().add(&"a".into(), "one".into()).await.unwrap();
    drop(Store::open(dir.path()).unwrap());
    let snapshots = || {
        let names = fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.path());
        names.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap.")).collect::<Vec<_>>()
    };
    assert!(!snapshots().is_empty());
    for rubbish in [&b"rubbish"[..], &[0; 100], &[255; 4096], b""] {
        snapshots().iter().for_each(|path| fs::write(path, rubbish).unwrap());
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.get(&"a".into()).await.unwrap(), "one", "{rubbish:?}");
    }
}

#[tokio::test]
async fn a_directory_that_is_deleted_is_made_again_with_all_clients() {
    let dir = TempDir::new();
    let path = dir.path().join("db");
    let store = Store::open(&path).unwrap();
    store.add(&"a".into(), "one".into()).await.unwrap();
    fs::remove_dir_all(&path).unwrap();
    store.add(&"b".into(), "two".into()).await.unwrap();
    drop(store);
    let again = Store::open(&path).unwrap();
    assert_eq!(again.get(&"a".into()).await.unwrap(), "one");
    assert_eq!(again.get(&"b".into()).await.unwrap(), "two");
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_and_what_is_known_is_served_until_it_can_be() {
    let dir = TempDir::new();
    let path = dir.path().join("db");
    let store = Store::open(&path).unwrap();
    store.add(&"a".into(), "one".into()).await.unwrap();
    fs::remove_dir_all(&path).unwrap();
    fs::write(&path, "in the way").unwrap();
    let refused = store.add(&"b".into(), "two".into()).await;
    assert!(matches!(refused, Err(StoreError::Closed | StoreError::Io(_))), "{refused:?}");
    assert_eq!(store.get(&"a".into()).await.unwrap(), "one");
    assert!(matches!(store.get(&"b".into()).await, Err(StoreError::NotFound)));
    fs::remove_file(&path).unwrap();
    store.add(&"b".into(), "two".into()).await.unwrap();
    drop(store);
    assert_eq!(Store::open(&path).unwrap().get(&"a".into()).await.unwrap(), "one");
}

#[tokio::test]
async fn a_key_that_cannot_be_replaced_stays_as_it_is() {
    let dir = TempDir::new();
    let path = dir.path().join("db");
    let store = Store::open(&path).unwrap();
    assert!(matches!(store.replace(&"a".into(), "two".into()).await, Err(StoreError::NotFound)));
    store.add(&"a".into(), "one".into()).await.unwrap();
    fs::remove_dir_all(&path).unwrap();
    fs::write(&path, "in the way").unwrap();
    let refused = store.replace(&"a".into(), "two".into()).await;
    assert!(matches!(refused, Err(StoreError::Closed | StoreError::Io(_))), "{refused:?}");
    assert_eq!(store.get(&"a".into()).await.unwrap(), "one");
    fs::remove_file(&path).unwrap();
    store.replace(&"a".into(), "two".into()).await.unwrap();
    assert_eq!(store.get(&"a".into()).await.unwrap(), "two");
}

#[tokio::test]
async fn clients_are_counted_beside_a_daemon_that_runs_and_nothing_is_made() {
    let dir = TempDir::new();
    let path = dir.path().join("db");
    assert_eq!(count(&path), Some(0));
    assert!(!path.exists());
    let store = Store::open(&path).unwrap();
    assert_eq!(count(&path), Some(0));
    store.add(&"b".into(), "one".into()).await.unwrap();
    store.add(&"a".into(), "two".into()).await.unwrap();
    assert_eq!(count(&path), Some(2));
    assert_eq!(store.clients().await.unwrap(), ["a".into(), "b".into()]);
}

#[test]
fn a_file_in_place_of_the_directory_is_an_error() {
    let dir = TempDir::new();
    let file = dir.path().join("file");
    fs::write(&file, b"mine").unwrap();
    assert!(matches!(Store::open(&file), Err(StoreError::Open { .. })));
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

/// Rights count for nothing where root runs the tests, but /sys takes no directory from anybody.
#[tokio::test]
async fn where_nothing_can_be_written_clients_are_kept_in_memory() {
    let store = Store::open("/sys/rtcd_db".as_ref()).unwrap();
    store.add(&"a".into(), "one".into()).await.unwrap();
    assert!(matches!(store.add(&"a".into(), "two".into()).await, Err(StoreError::AlreadyThere)));
    assert_eq!(store.get(&"a".into()).await.unwrap(), "one");
    store.remove(&"a".into()).await.unwrap();
    assert!(matches!(store.get(&"a".into()).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn clients_in_memory_go_to_the_directory_as_soon_as_there_is_one() {
    let dir = TempDir::new();
    let path = dir.path().join("db");
    let memory = Memory::default();
    memory.insert("a", "one").unwrap();
    let state = RwLock::new(State::Memory(memory));
    let store = Store(Arc::new(Inner {
        path: path.clone(),
        state,
        changing: Mutex::default(),
        failing: Once::new(),
        _reference: None,
    }));
    store.add(&"b".into(), "two".into()).await.unwrap();
    drop(store);
    let again = Store::open(&path).unwrap();
    assert_eq!(again.get(&"a".into()).await.unwrap(), "one");
    assert_eq!(again.get(&"b".into()).await.unwrap(), "two");
}

#[test]
fn a_directory_that_can_be_made_or_has_something_in_it_is_not_replaced_by_memory() {
    let dir = TempDir::new();
    assert!(memory::is_needed(&dir.path().join("new/db")).is_none());
    fs::write(dir.path().join("something"), "x").unwrap();
    assert!(memory::is_needed(dir.path()).is_none());
}
