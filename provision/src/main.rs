//! The provisioning agent: arguments, one command, exit code.
use clap::Parser as _;
use provision::agent::Agent;
use provision::apply::Paths;
use provision::apply::disk::RealDisk;
use provision::cli::{Cli, Command, Machine};
use provision::commands;
use provision::exit_code::ExitCode;
use provision::http::Client;
use provision::{journal};
use std::time::SystemTime;

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
    match cli.command {
        Command::Run(machine) => on(&machine, Agent::run),
        Command::Refresh(machine) => on(&machine, Agent::refresh),
        Command::Status { json, root } => commands::status(&root, json),
        Command::Check { file } => commands::check(&file),
        Command::Render { seed, machine, show_secrets } => commands::render(seed.as_deref(), &machine, show_secrets),
    }
    .into()
}
