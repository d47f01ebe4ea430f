//! The command line.
use crate::exit_code;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// The release or `dev-...`, with the commit.
const LONG_VERSION: &str =
    concat!(env!("RTCD_BUILD_VERSION"), " (commit ", env!("RTCD_BUILD_HASH"), " of ", env!("RTCD_BUILD_DATE"), ")");

/// From cloud metadata and user data to a running rtcd.
#[derive(Parser, Debug)]
#[command(version = LONG_VERSION, about, after_help = exit_code::HELP, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// The subcommand, required.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be asked of the agent, each with its own arguments.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// At boot: find the source, read it, check everything, write what rtcd needs
    #[command(after_help = exit_code::HELP)]
    Run(Machine),
    /// After a run that failed: again and again, with growing pauses, until one succeeds; then rtcd is started
    Retry(Machine),
    /// Every few minutes: look again at the public address; when it has changed, render anew and tell rtcd
    #[command(after_help = exit_code::HELP)]
    Refresh(Machine),
    /// At night, when the user data ask for it: take a newer version of the image and restart into it when no call runs
    #[command(after_help = exit_code::HELP)]
    Update,
    /// When the user data say where to: send the journal to a log server; rtcd-syslog.service starts it
    Syslog,
    /// While logs are sent anywhere: tell the status page when they do not arrive
    LogsWatch,
    /// What the last run did: source, instance id, keys with their origin, last error
    Status {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
        /// Everything is below this directory
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
    },
    /// On every console of the machine: how it is, what is wrong, what to do; keys for a link, errors and a factory reset
    #[command(after_help = exit_code::HELP)]
    Console(Consoles),
    /// Name every mistake in a user-data file, as the machine would; for the laptop
    #[command(after_help = exit_code::HELP)]
    Check {
        /// The file, or - for standard input
        file: PathBuf,
        /// It is a network-config, or OpenStack's network_data.json: print what networkd would be told, too
        #[arg(long)]
        network: bool,
    },
    /// Print the rtcd.toml that would be written, and write nothing
    #[command(after_help = exit_code::HELP)]
    Render {
        /// A NoCloud directory with user-data and meta-data; without it the machine's own source is asked
        #[arg(long, value_name = "DIR", conflicts_with = "root")]
        seed: Option<PathBuf>,
        /// The machine.
        #[command(flatten)]
        machine: Machine,
        /// Do not hide secrets
        #[arg(long)]
        show_secrets: bool,
    },
}

/// Where the panel is shown.
#[derive(Args, Clone, Debug)]
pub struct Consoles {
    /// All facts are below this directory
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// Print the panel as it is now, and end
    #[arg(long, conflicts_with_all = ["line", "screen"])]
    pub once: bool,
    /// In place of the machine's consoles: this serial line
    #[arg(long, value_name = "PATH")]
    pub line: Vec<PathBuf>,
    /// In place of the machine's consoles: this screen
    #[arg(long, value_name = "PATH")]
    pub screen: Vec<PathBuf>,
}

/// The machine that is provisioned.
#[derive(Args, Clone, Debug)]
pub struct Machine {
    /// All facts and all files are below this directory
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// Ask this server in place of the cloud's own metadata address: http://host:port
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound_and_help_lists_the_exit_codes() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        let help = command.render_help().to_string();
        assert!(help.contains("3  there is no source of metadata"), "{help}");
    }
}
