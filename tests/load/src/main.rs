//! `rtcd-load`: how many people does this machine carry?
use anyhow::Result;
use clap::Parser as _;
use rtcd_load::cli::Args;
use rtcd_load::run::run;
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
    let report = run(&args.api()?, &args.plan(), &say)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{report}");
    }
    Ok(report.fault())
}
