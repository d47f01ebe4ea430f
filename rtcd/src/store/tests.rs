use super::{Store, StoreError};
use crate::auth::tests::TempDir;
use std::fs;

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

#[tokio::test]
async fn a_damaged_store_is_an_error_and_not_an_empty_store() {
    let dir = TempDir::new();
    Store::open(dir.path()).unwrap().add(&"a".into(), "one".into()).await.unwrap();
    let len = fs::metadata(dir.path().join("db")).unwrap().len() as usize;
    fs::write(dir.path().join("db"), "rubbish ".repeat(len / 8)).unwrap();
    for _ in 0..2 {
        assert!(matches!(Store::open(dir.path()), Err(StoreError::Open { .. })));
    }
}

#[test]
fn a_file_in_place_of_the_directory_is_an_error() {
    let dir = TempDir::new();
    let file = dir.path().join("file");
    fs::write(&file, b"mine").unwrap();
    assert!(matches!(Store::open(&file), Err(StoreError::Open { .. })));
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}
