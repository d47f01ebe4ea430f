//! `rtcd-load`: how many people does this machine carry?
use anyhow::Result;
use clap::Parser as _;
use rtcd_load::cli::Args;
use rtcd_load::limit::find;
use rtcd_load::run::run;
use rtcd_load::table::{Table, default_daemon};
use std::io::IsTerminal as _;
use std::process::ExitCode;

/// str0m allocates for each packet, and musl's allocator is slow.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    // The only provider there is; a second call would be refused.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match load(&args) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(fault)) => {
            eprintln!("rtcd-load: {fault}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("rtcd-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs; returns what is wrong with the result.
fn load(args: &Args) -> Result<Option<String>> {
    let terminal = std::io::stderr().is_terminal();
    let say = |line: String| {
        if terminal {
            eprintln!("{line}");
        }
    };
    let plan = args.plan();
    if args.table {
        let table = Table {
            daemon: args.daemon.clone().unwrap_or_else(default_daemon),
            against: args.against.clone(),
            rounds: args.rounds as usize,
            case: args.case,
        };
        // A key, which it does not need, is not printed.
        let mut command: Vec<String> = Vec::new();
        for arg in std::env::args() {
            let key = command.last().is_some_and(|last| last == "--auth-key");
            command.push(if key { "..".into() } else { arg });
        }
        println!("{}", table.run(&plan, args.threads.is_some(), &command.join(" "), &say)?);
        return Ok(None);
    }
    if args.find_limit {
        let limit = find(|| args.api(), &plan, args.threads.is_some(), &say)?;
        print(args, &limit)?;
        return Ok(limit.good.is_none().then_some(limit.failed.reason));
    }
    let report = run(&args.api()?, &plan, &say)?;
    print(args, &report)?;
    Ok(report.fault())
}

fn print(args: &Args, result: &(impl serde::Serialize + std::fmt::Display)) -> Result<()> {
    if args.json {
        println!("{}", serde_json::to_string_pretty(result)?);
    } else {
        println!("{result}");
    }
    Ok(())
}
