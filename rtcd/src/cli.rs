//! The command line.
use crate::exit_code::help as exit_codes;
use crate::{check, client};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Media server of Mattermost Calls.
#[derive(Parser, Debug)]
#[command(name = "rtcd", version = crate::build_info::LONG_VERSION, subcommand_negates_reqs = true)]
#[command(after_help = exit_codes::DAEMON)]
pub struct Args {
    /// The configuration file, which must be there (RTCD_* variables override it). Without this option it is
    /// config/config.toml or, where a container has it mounted, /rtcd/config/config.toml; without a file there are defaults.
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// Say what is wrong with the configuration, and end.
    #[arg(long)]
    pub check_config: bool,
    /// Take warnings about the configuration for mistakes: unknown keys, and what has no effect.
    #[arg(long)]
    pub strict: bool,
    /// Show the effective configuration with where each value came from, secrets hidden, and end.
    #[arg(long)]
    pub print_config: bool,
    /// How long running calls may go on after SIGTERM: 90s, 15m, 2h; without it, until they end. A second SIGTERM ends
    /// them at once.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub drain_timeout: Option<Duration>,
    /// While it drains (SIGTERM, SIGUSR1), refuse the new calls that find no other host, in place of taking them.
    #[arg(long)]
    pub refuse_calls_while_draining: bool,
    /// Go on with the calls of the daemon that runs with this configuration, which then ends. Where none runs: start as usual.
    #[arg(long)]
    pub takeover: bool,
    /// What to do in place of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do in place of serving.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Test a running daemon from where this is run, and say what to do about what fails.
    #[command(after_help = exit_codes::CHECK)]
    Check(check::Args),
    /// Say who may use the daemon: add, remove, list clients, or give one another key.
    #[command(after_help = exit_codes::CLIENT)]
    Client(client::Args),
    /// Have the running daemon leave its calls with systemd, which starts it again: what the unit does at a restart.
    #[command(after_help = exit_codes::HAND_OVER)]
    HandOver(HandOver),
    /// Serve a page that makes real calls, without a Mattermost server.
    #[command(after_help = exit_codes::DEMO)]
    Demo(crate::demo::DemoArgs),
}

/// What `rtcd hand-over` is told.
#[derive(clap::Args, Debug)]
pub struct HandOver {
    /// Do nothing unless systemd stops this unit only to start it again.
    #[arg(long, value_name = "UNIT")]
    pub if_restarting: Option<String>,
}

impl Args {
    /// Reads the arguments of this process. `-config`, as the reference spells it, is `--config`.
    pub fn parse_from_process() -> Result<Self, clap::Error> {
        Self::try_parse_from(std::env::args_os().map(double_dash))
    }
}

fn double_dash(argument: OsString) -> OsString {
    match argument.to_str() {
        Some(text) if text == "-config" || text.starts_with("-config=") => format!("-{text}").into(),
        _ => argument,
    }
}

/// `1h30m`, `90s`, `500ms`; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const ALLOWED: &str = "expected a duration such as 90s, 15m or 1h30m";
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(ALLOWED)?;
        let number: u64 = rest[..digits].parse().map_err(|_| ALLOWED)?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let milliseconds = match &rest[..unit] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60 * 1000,
            "h" => 60 * 60 * 1000,
            _ => return Err(ALLOWED.into()),
        };
        rest = &rest[unit..];
        let part = number.checked_mul(milliseconds).ok_or(ALLOWED)?;
        sum = sum.checked_add(Duration::from_millis(part)).ok_or(ALLOWED)?;
    }
    if text.is_empty() { Err(ALLOWED.into()) } else { Ok(sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn the_references_spelling_of_config_is_understood() {
        for spelling in [&["rtcd", "-config", "x"][..], &["rtcd", "--config", "x"], &["rtcd", "-config=x"]] {
            let args = Args::try_parse_from(spelling.iter().map(|text| double_dash(text.into()))).expect("understood");
            assert_eq!(args.config, Some(PathBuf::from("x")));
        }
    }

    #[test]
    fn the_configuration_is_named_before_or_behind_what_is_to_be_done() {
        for line in [
            "rtcd --config x check",
            "rtcd check --config x",
            "rtcd check -config x http://a",
            "rtcd client --config x list",
            "rtcd client list -config=x",
            "rtcd client add --config x id",
            "rtcd -config x demo",
            "rtcd hand-over --config=x",
            "rtcd --check-config --config x",
        ] {
            let args = Args::try_parse_from(line.split(' ').map(|word| double_dash(word.into()))).expect(line);
            assert_eq!(args.config, Some(PathBuf::from("x")), "{line}");
        }
    }

    #[test]
    fn help_succeeds_everywhere_and_says_how_the_command_ends() {
        fn check(command: &clap::Command, path: &[&str]) {
            let line = [path, &["--help"]].concat();
            let error = Args::try_parse_from(&line).expect_err("help is an error to clap");
            assert!(!error.use_stderr(), "{line:?}");
            assert!(error.to_string().contains("Exit codes: 0"), "{line:?}: {error}");
            for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
                check(sub, &[path, &[sub.get_name()]].concat());
            }
        }
        check(&<Args as clap::CommandFactory>::command(), &["rtcd"]);
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        let check = |text: &str, expected| assert_eq!(duration(text).ok().map(|found| found.as_millis()), expected);
        check("90s", Some(90_000));
        check("1h30m", Some(5_400_000));
        check("500ms", Some(500));
        check("7", Some(7000));
        check("", None);
        check("s", None);
        check("5x", None);
        check("-5s", None);
        check("99999999999999999999s", None);
        check("18446744073709551615h", None);
    }
}
