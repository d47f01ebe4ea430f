//! The release files in the hands of an admin: the container by a real runtime, the programs as they were downloaded.
//! They need the files (`image/release --quick`; for the other architecture all of `image/release`), root and podman. A plain
//! `cargo test` builds them and reports them as ignored; `tests/run` knows which to run.
mod files;
mod podman;
mod release {
    mod archives;
    mod arm64;
    mod container;
    mod guide;
    mod kubernetes;
    pub mod programs;
}
