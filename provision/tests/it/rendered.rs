//! Every recorded machine gives the `rtcd.toml` that stands beside it, and rtcd takes it; and what a change of address does.
use crate::fake;
use crate::fixtures::{cases, path};
use crate::machine::{Machine, Told, agent};
use rtcd_config::{Environment, HostOverride};
use std::fs;
use std::path::Path;

/// `rtcd.toml` as `provision render` prints it.
fn render(root: &Path, endpoint: &str) -> Told {
    let output = agent().arg("render").arg("--root").arg(root).args(["--endpoint", endpoint]).output();
    Told::by(output.expect("the agent can be started"))
}

#[test]
fn every_recorded_machine_renders_the_file_beside_it() {
    let mut stale = Vec::new();
    for case in cases() {
        let fake = fake::start(&case);
        let text = render(&case.join("root"), &fake.endpoint).expect(0).out;
        let loaded = rtcd_config::from_text(Path::new("rtcd.toml"), &text, &Environment::default());
        let warnings = loaded.unwrap_or_else(|problems| panic!("{}: {problems}\n{text}", case.display())).warnings;
        assert_eq!(warnings, []);
        let golden = case.join("rtcd.toml");
        if fs::read_to_string(&golden).ok().as_ref() != Some(&text) {
            fs::write(&golden, text).expect("a writable fixture");
            stale.push(golden);
        }
    }
    assert!(stale.is_empty(), "rewritten, look at the difference and commit it: {stale:?}");
}

/// A machine in the cloud of a fixture, of which the test has a copy of its own.
struct InCloud {
    machine: Machine,
    fake: fake::Fake,
    bodies: std::path::PathBuf,
    _copy: tempfile::TempDir,
}

impl InCloud {
    fn new(case: &str) -> Self {
        let copy = tempfile::TempDir::new().expect("a directory");
        let fixture = copy.path().join(case);
        copy_tree(&path(case), &fixture);
        let machine = Machine::new();
        copy_tree(&fixture.join("root"), machine.root());
        Self { machine, fake: fake::start(&fixture), bodies: fixture.join("http"), _copy: copy }
    }

    fn run(&self, command: &str) -> Told {
        self.machine.run_with(command, &["--endpoint", &self.fake.endpoint])
    }

    fn advertised(&self) -> Option<HostOverride> {
        self.machine.load().expect("rtcd takes it").config.rtc.ice_host_override
    }
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory can be made");
    for entry in fs::read_dir(from).expect("readable").flatten() {
        let target = to.join(entry.file_name());
        match entry.file_type().expect("known").is_dir() {
            true => copy_tree(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).expect("copied")),
        }
    }
}

#[test]
fn a_new_public_address_is_rendered_and_an_unknown_one_changes_nothing() {
    let cloud = InCloud::new("ec2/public-address");
    cloud.run("refresh").expect(0);
    assert!(!cloud.machine.path("run/rtcd").exists(), "there was nothing to refresh");
    cloud.run("run").expect(0);
    let HostOverride::Nat(before) = cloud.advertised().expect("both addresses are known") else { panic!("not a pair") };

    let public = cloud.bodies.join("latest/meta-data/public-ipv4.body");
    let told = fs::read(&public).expect("recorded");
    fs::write(&public, "198.51.100.77").expect("written");
    // User data count at the next boot.
    fs::write(cloud.bodies.join("latest/user-data.body"), "#cloud-config\nruncmd: [reboot]\n").expect("written");
    cloud.run("refresh").expect(0);
    let HostOverride::Nat(after) = cloud.advertised().expect("still known") else { panic!("not a pair") };
    assert_eq!(after[0].external.to_string(), "198.51.100.77");
    assert_eq!(after[0].internal, before[0].internal);

    let generation = || fs::read_link(cloud.machine.path("run/rtcd")).expect("a link");
    let current = generation();
    fs::remove_file(&public).expect("the address is taken away");
    cloud.run("refresh").expect(0);
    fs::write(&public, "not an address").expect("written");
    let failed = cloud.run("refresh").expect(4);
    assert!(failed.err.contains("meta-data/public-ipv4 is not an IPv4 address"), "{}", failed.err);
    assert_eq!(generation(), current);

    fs::write(&public, told).expect("written");
    cloud.run("refresh").expect(0);
    assert_eq!(cloud.advertised(), Some(HostOverride::Nat(before)));
}

#[test]
fn azure_is_told_of_mistakes_in_user_data() {
    let cloud = InCloud::new("azure/public-address");
    cloud.run("run").expect(0);
    let user_data = "#cloud-config\nruncmd: [reboot]\n";
    let instance = cloud.bodies.join("metadata/instance.body");
    let mut document: serde_json::Value =
        serde_json::from_slice(&fs::read(&instance).expect("recorded")).expect("JSON");
    document["compute"]["userData"] = base64(user_data).into();
    fs::write(&instance, document.to_string()).expect("written");
    // It runs with what was said before.
    cloud.run("run").expect(0);
    let reports: Vec<_> = cloud.fake.seen().into_iter().filter(|seen| seen.method == "POST").collect();
    assert!(reports[0].body.contains("<State>Ready</State>"), "{}", reports[0].body);
    assert!(reports[1].body.contains("line 2, column 1: runcmd: "), "{}", reports[1].body);
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
