//! The provisioning agent: arguments, one command, exit code.
use clap::Parser as _;
use provision::agent::Agent;
use provision::apply::disk::RealDisk;
use provision::cli::{Cli, Command, Machine};
use provision::exit_code::ExitCode;
use provision::http::{Client, HttpError, Pace};
use provision::render::Secrets;
use provision::system::Action;
use provision::{commands, console, journal, logs_watch, retry, syslog, update};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A SCSI disc that the kernel finds late takes a few seconds.
const APPEARS_WITHIN: Duration = Duration::from_secs(10);

fn main() -> std::process::ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap, and go to standard output.
            let code = if error.use_stderr() { ExitCode::Usage } else { ExitCode::Success };
            let _ = error.print();
            return code.into();
        }
    };
    run(cli.command)
        .unwrap_or_else(|error| {
            eprintln!("provision: --endpoint: {error}");
            ExitCode::Usage
        })
        .into()
}

fn run(command: Command) -> Result<ExitCode, HttpError> {
    Ok(match command {
        Command::Run(machine) => on(&machine, |agent| agent.run())?,
        Command::Retry(machine) => {
            journal::start();
            // The place to ask has been looked at before the first sleep.
            client(&machine, retry::ATTEMPT)?;
            let attempt = || {
                client(&machine, retry::ATTEMPT)
                    .map_or(ExitCode::Usage, |http| with(&machine, &http, |agent| agent.run()))
            };
            retry::until_done(attempt, std::thread::sleep);
            match (machine.root == Path::new("/")).then(|| Action::StartRtcd.perform()) {
                Some(Err(error)) => {
                    tracing::error!(%error, "rtcd is not started");
                    ExitCode::System
                }
                _ => ExitCode::Success,
            }
        }
        Command::Refresh(machine) => on(&machine, |agent| agent.refresh())?,
        Command::Update => {
            journal::start();
            update::run()
        }
        Command::Console(options) => {
            journal::start();
            console::run(options)
        }
        Command::Syslog => {
            journal::start();
            syslog::run()
        }
        Command::LogsWatch => {
            journal::start();
            logs_watch::run()
        }
        Command::Status { json, root } => commands::status(&root, json),
        Command::Check { file, network: false } => commands::check(&file),
        Command::Check { file, network: true } => commands::check_network(&file),
        Command::Render { seed, machine, show_secrets } => {
            let secrets = if show_secrets { Secrets::Write } else { Secrets::Hide };
            commands::render(seed.as_deref(), &machine, &client(&machine, Pace::default())?, secrets)
        }
    })
}

fn client(machine: &Machine, pace: Pace) -> Result<Client, HttpError> {
    Client::new(machine.endpoint.as_deref(), pace)
}

fn on(machine: &Machine, command: impl FnOnce(&Agent<'_>) -> ExitCode) -> Result<ExitCode, HttpError> {
    journal::start();
    Ok(with(machine, &client(machine, Pace::default())?, command))
}

fn with(machine: &Machine, http: &Client, command: impl FnOnce(&Agent<'_>) -> ExitCode) -> ExitCode {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(Into::into);
    // Nothing appears below another root.
    let patience = if machine.root == Path::new("/") { APPEARS_WITHIN } else { Duration::ZERO };
    let now = SystemTime::now();
    command(&Agent { root: &machine.root, credentials, http, disk: &RealDisk, now, patience })
}
