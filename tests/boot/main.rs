//! The appliance in QEMU, from the outside: each boot of a whole machine is one test with many checks.
//! They need an image (`image/build --quick`) and take the machine for themselves, one at a time. A plain `cargo test` builds
//! them and reports them as ignored; `tests/run` knows which to run.
mod image;
mod machine;
mod vm {
    mod bare;
    mod ec2;
    mod heal;
    mod logs;
    mod mistakes;
    pub mod serve;
    mod tamper;
    mod trust;
    mod update;
}
