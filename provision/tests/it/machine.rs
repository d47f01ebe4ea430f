//! A directory that stands for a machine, and the real agent on it.
use rtcd_config::{Environment, Loaded, Problems};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// The smallest user data of all.
pub const SMALLEST: &str =
    "#cloud-config\nhostname: rtcd-1\nrtcd:\n  api:\n    security: {allow_self_registration: true}\n";

/// A machine; gone with the test.
pub struct Machine {
    root: TempDir,
}

impl Machine {
    /// With the users of the image, both of which are whoever runs the test, and nothing else.
    pub fn new() -> Self {
        let machine = Self { root: TempDir::new().expect("a directory can be made") };
        let me = fs::metadata(machine.root()).expect("just made");
        let (uid, gid) = (me.uid(), me.gid());
        machine.write("etc/passwd", format!("root:x:{uid}:{gid}::/:\nmattermost:x:{uid}:{gid}::/:\n"));
        machine.write("etc/ssl/certs/ca-certificates.crt", "the image's authorities\n");
        machine.write("proc/cmdline", "quiet");
        machine
    }

    /// With a seed directory.
    pub fn seeded(user_data: &str) -> Self {
        let machine = Self::new();
        machine.seed("i-1", user_data);
        machine
    }

    pub fn seed(&self, instance_id: &str, user_data: &str) {
        self.write("var/lib/cloud/seed/nocloud/meta-data", format!("instance-id: {instance_id}\n"));
        self.write("var/lib/cloud/seed/nocloud/user-data", user_data);
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("a directory can be made");
        fs::write(path, content).expect("a file can be written");
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The agent with this command, not started yet.
    pub fn agent(&self, command: &str) -> Command {
        let mut agent = agent();
        agent.arg(command).arg("--root").arg(self.root());
        agent
    }

    /// Runs a command of the agent to its end.
    pub fn run(&self, command: &str) -> Told {
        self.run_with(command, &[])
    }

    /// The same with more arguments.
    pub fn run_with(&self, command: &str, arguments: &[&str]) -> Told {
        Told::by(self.agent(command).args(arguments).output().expect("the agent can be started"))
    }

    /// What the panel on the consoles says, on one line.
    pub fn panel(&self) -> String {
        let said = self.run_with("console", &["--once"]).expect(0).out;
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// rtcd's own verdict on what was written for it.
    pub fn load(&self) -> Result<Loaded, Problems> {
        let text =
            self.read("run/rtcd/rtcd.toml").replace("/run/rtcd/", &format!("{}/run/rtcd/", self.root().display()));
        rtcd_config::from_text(Path::new("rtcd.toml"), &text, &Environment::default())
    }
}

/// The agent, with an environment of its own.
pub fn agent() -> Command {
    let mut agent = Command::new(env!("CARGO_BIN_EXE_provision"));
    agent.env_clear().stdin(Stdio::null());
    agent
}

/// What the agent said.
#[derive(Debug)]
pub struct Told {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Told {
    pub fn by(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// With this exit code, or the test fails and shows everything.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        self
    }
}
