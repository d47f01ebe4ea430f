//! The container's files in the hands of every tool that takes them.
use crate::files::{architecture, file, said, version};
use crate::podman::with_a_runtime;
use serde_json::Value;
use std::process::Command;

const LIMIT: u64 = 15 * 1024 * 1024;

fn inspect(arguments: &[&str]) -> Value {
    serde_json::from_str(&said(Command::new("skopeo").arg("inspect").args(arguments))).expect("JSON")
}

#[test]
#[ignore = "needs the release files and podman: tests/run"]
fn every_tool_takes_both_forms() {
    let layout = file("rtcd-container.tar").display().to_string();
    let archive = file(&format!("rtcd-container-{}.tar", architecture())).display().to_string();
    for source in
        [format!("oci-archive:{layout}"), format!("oci-archive:{archive}"), format!("docker-archive:{archive}")]
    {
        let about = inspect(&[&source]);
        assert_eq!(about["Labels"]["org.opencontainers.image.version"], version(), "{source}");
    }
    with_a_runtime(|podman| {
        let copy = podman.dir().join("copy.tar").display().to_string();
        let unpacked = podman.dir().join("unpacked").display().to_string();
        std::fs::create_dir(&unpacked).expect("made");
        said(Command::new("tar").args(["-xf", &layout, "-C", &unpacked]));
        said(Command::new("skopeo").args([
            "copy",
            &format!("oci:{unpacked}"),
            &format!("docker-archive:{copy}:rtcd:copy"),
        ]));
        for loaded in [&layout, &archive, &copy] {
            podman.load(loaded.as_ref());
            let run = podman.run_to_end(&format!("--rm {} --version", crate::podman::IMAGE));
            let said = String::from_utf8_lossy(&run.stdout).into_owned();
            assert!(said.starts_with(&format!("rtcd {} (commit ", version())), "{loaded}: {said} {run:?}");
            podman.say(&["rmi", "-f", "-a"]);
        }
    });
}

#[test]
#[ignore = "needs the release files and podman: tests/run"]
fn the_container_keeps_to_the_references_interface() {
    let layout = format!("oci-archive:{}", file("rtcd-container.tar").display());
    let whole = inspect(&["--raw", &layout]);
    let architectures: Vec<_> = whole["manifests"].as_array().into_iter().flatten().collect();
    assert!(architectures.iter().any(|one| one["platform"]["architecture"] == architecture()), "{whole}");
    for one in architectures {
        let name = one["platform"]["architecture"].as_str().expect("a name");
        let select = ["--override-arch", name];
        let with = |arguments: &[&str]| {
            let mut command = Command::new("skopeo");
            serde_json::from_str::<Value>(&said(command.args(select).arg("inspect").args(arguments))).expect("JSON")
        };
        let config = with(&["--config", &layout]);
        assert_eq!(config["architecture"], name);
        assert_eq!(
            config["config"]["ExposedPorts"],
            serde_json::json!({"8045/tcp": {}, "8443/tcp": {}, "8443/udp": {}})
        );
        for (key, value) in [("User", "65532:65532"), ("WorkingDir", "/opt/rtcd/bin"), ("StopSignal", "SIGTERM")] {
            assert_eq!(config["config"][key], value);
        }
        assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["./rtcd"]));
        assert!(config["config"]["Cmd"].is_null() && config["config"]["Volumes"].is_null(), "{config}");
        for key in ["created", "description", "licenses", "revision", "title", "version"] {
            let label = &config["config"]["Labels"][format!("org.opencontainers.image.{key}")];
            assert!(label.as_str().is_some_and(|text| !text.is_empty()), "{key}: {config}");
        }
        let size = file(&format!("rtcd-container-{name}.tar")).metadata().expect("there").len();
        println!("{name}: {size} bytes");
        assert!(size <= LIMIT, "{name}: {size} bytes");
    }
}
