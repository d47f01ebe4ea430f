//! `rtcd check`: a running daemon seen from where this is run. One line for each thing that must work, and what to do
//! when it does not.
mod api;
mod certificate;
mod connect;
mod media;
mod report;
mod target;
mod websocket;

use crate::config::Secret;
use crate::exit_code::ExitCode;
use report::Report;
use std::path::PathBuf;
use std::time::Duration;
use target::{MediaTarget, Target};

/// How long each single thing may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Holds the client's key, so that it shows in no list of processes.
const AUTH_KEY_VARIABLE: &str = "RTCD_CHECK_AUTH_KEY";

/// Arguments of `rtcd check`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The daemon's API: http://host:8045 or https://host:8045
    pub url: Target,
    /// Log in over the WebSocket as this client; its key is in --auth-key-file or in RTCD_CHECK_AUTH_KEY.
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// A file with the client's key.
    #[arg(long, value_name = "PATH", requires = "client_id")]
    pub auth_key_file: Option<PathBuf>,
    /// Where participants send media; default: port 8443 of the API's host.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub media: Option<MediaTarget>,
    /// A PEM file with a certificate authority to trust beside the system's.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

/// Runs all checks and prints their results; fails when one of them fails.
pub fn run(args: &Args) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("rtcd: {error}");
            return ExitCode::Failure;
        }
    };
    let mut report = Report::new(std::io::stdout());
    runtime.block_on(all(args, &mut report));
    if report.failed() { ExitCode::Failure } else { ExitCode::Success }
}

async fn all(args: &Args, report: &mut Report<impl std::io::Write>) {
    let key = auth_key(args, report);
    match connect::Connector::new(&args.url, args.ca.as_deref()) {
        Ok(connector) => {
            if certificate::check(&connector, report).await && api::check(&connector, report).await {
                if let Some((client_id, key)) = args.client_id.as_deref().zip(key) {
                    websocket::check(&connector, client_id, &key, report).await;
                }
            }
        }
        Err(error) => report.fail("TLS", &error, "name a readable PEM file with certificates by --ca"),
    }
    let media = args.media.clone().unwrap_or_else(|| MediaTarget::on(&args.url.host));
    media::check(&media, report).await;
}

fn auth_key(args: &Args, report: &mut Report<impl std::io::Write>) -> Option<Secret> {
    args.client_id.as_ref()?;
    let key = match &args.auth_key_file {
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display())),
        None => std::env::var(AUTH_KEY_VARIABLE).map_err(|_| "no key given".to_owned()),
    };
    match key {
        Ok(key) => Some(Secret::new(key.trim_end_matches(['\r', '\n']))),
        Err(error) => {
            report.fail("WebSocket", &error, "give the client's key by --auth-key-file or in RTCD_CHECK_AUTH_KEY");
            None
        }
    }
}
