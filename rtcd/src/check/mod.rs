//! `rtcd check`: a running daemon seen from where this is run. One line for each thing that must work, and what to do
//! when it does not.
mod api;
mod certificate;
pub(crate) mod connect;
pub(crate) mod fault;
mod link;
pub(crate) mod local;
mod media;
mod report;
pub(crate) mod target;
mod turn;
mod websocket;

use crate::config::{Config, Secret};
use crate::exit_code::ExitCode;
pub(crate) use fault::not_after;
use media::Server;
use report::Report;
use std::path::{Path, PathBuf};
use std::time::Duration;
use target::{MediaTarget, Target};

/// How long each single thing may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Holds the client's key, so that it shows in no list of processes.
const AUTH_KEY_VARIABLE: &str = "RTCD_CHECK_AUTH_KEY";

/// Arguments of `rtcd check`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The daemon's API: http://host:8045 or https://host:8045; default: the daemon of this machine, where its
    /// configuration says.
    pub url: Option<Target>,
    /// Log in over the WebSocket as this client; its key is in --auth-key-file or in RTCD_CHECK_AUTH_KEY.
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// A file with the client's key.
    #[arg(long, value_name = "PATH", requires = "client_id")]
    pub auth_key_file: Option<PathBuf>,
    /// Where participants send media; default: port 8443 of the API's host.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub media: Option<MediaTarget>,
    /// Test the media port alone, from a machine that reaches nothing else, as a participant's: port 8443 without another.
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with_all = ["url", "media", "client_id", "auth_key_file", "ca"])]
    pub media_only: Option<MediaTarget>,
    /// Print an address for whoever cannot call: a page that tests, where it is opened, which way to rtcd is broken. Without a
    /// URL from the daemon of this machine, as root or as its user; else with the admin's key.
    #[arg(long, conflicts_with_all = ["media", "media_only", "client_id", "auth_key_file"])]
    pub link: bool,
    /// How long the link is good for, an hour at most: 10m, 90s.
    #[arg(long, value_name = "DURATION", requires = "link", value_parser = crate::cli::duration)]
    pub valid_for: Option<Duration>,
    /// With --link, a file with the admin's key (api.security.admin_secret_key).
    #[arg(long, value_name = "PATH", requires = "link")]
    pub admin_key_file: Option<PathBuf>,
    /// A PEM file with a certificate authority to trust beside the system's.
    #[arg(long, value_name = "FILE", requires = "url")]
    pub ca: Option<PathBuf>,
}

/// What is to be checked.
struct Subject {
    api: Result<connect::Connector, String>,
    media: (MediaTarget, MediaTarget),
    /// The daemon is that of this machine.
    config: Option<Config>,
}

impl Subject {
    fn elsewhere(url: &Target, ca: Option<&Path>) -> Self {
        let media = MediaTarget::on(&url.host);
        Self { api: connect::Connector::new(url, ca), media: (media.clone(), media), config: None }
    }
    fn here(config: Config) -> Self {
        Self { api: local::api(&config), media: local::media(&config), config: Some(config) }
    }
}

/// Runs all checks and prints their results; fails when one of them fails. `load` reads the configuration of this machine,
/// or has said why it cannot.
pub fn run(args: &Args, load: impl FnOnce() -> Result<Config, ExitCode>) -> ExitCode {
    if args.link {
        return run_link(args, load);
    }
    let mut subject = match (&args.url, &args.media_only) {
        (_, Some(_)) => None,
        (Some(url), None) => Some(Subject::elsewhere(url, args.ca.as_deref())),
        (None, None) => match load() {
            Ok(config) => Some(Subject::here(config)),
            Err(code) => return code,
        },
    };
    if let Some((subject, media)) = subject.as_mut().zip(args.media.as_ref()) {
        subject.media = (media.clone(), media.clone());
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("rtcd: {error}");
            return ExitCode::Failure;
        }
    };
    let mut report = Report::new(std::io::stdout());
    runtime.block_on(async {
        match (subject, &args.media_only) {
            (Some(subject), _) => all(args, subject, &mut report).await,
            (None, Some(media)) => media::check_only(media, &mut report).await,
            (None, None) => {}
        }
    });
    // A lookup that nobody answers is not waited for.
    runtime.shutdown_background();
    if report.failed() { ExitCode::Failure } else { ExitCode::Success }
}

fn run_link(args: &Args, load: impl FnOnce() -> Result<Config, ExitCode>) -> ExitCode {
    let config = match &args.url {
        Some(_) => None,
        None => match load() {
            Ok(config) => Some(config),
            Err(code) => return code,
        },
    };
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(link::make(args, config.as_ref()));
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            eprintln!("rtcd check: {error}");
            ExitCode::Failure
        }
    }
}

async fn all(args: &Args, subject: Subject, report: &mut Report<impl std::io::Write>) {
    let key = auth_key(args, report);
    let mut server = Server::Unknown;
    match subject.api {
        Ok(connector) => {
            if certificate::check(&connector, report).await
                && let Some(found) = api::check(&connector, report).await
            {
                server = found;
                if let Some((client_id, key)) = args.client_id.as_deref().zip(key) {
                    websocket::check(&connector, client_id, &key, report).await;
                }
            }
        }
        Err(error) => report.fail("TLS", &error, "name a readable PEM file with certificates by --ca"),
    }
    let (udp, tcp) = &subject.media;
    media::check(udp, tcp, server, report).await;
    let Some(config) = &subject.config else { return };
    let advice = "see rtc.ice_address_udp, rtc.ice_host_override and the network of this machine";
    match local::candidates(config).await {
        Ok((told, _)) if told.is_empty() => report.warn("candidates", "participants are told no address", advice),
        Ok((told, false)) => {
            let found = format!("participants are told {}: the name or STUN servers do not answer", told.join(", "));
            report.warn("candidates", found, "see rtc.ice_host_override, rtc.ice_servers and the DNS of this machine");
        }
        Ok((told, true)) => report.ok("candidates", format!("participants are told {}", told.join(", "))),
        Err(error) => report.warn("candidates", fault::plain(&error.to_string()), advice),
    }
    turn::check(&config.rtc, report).await;
}

fn auth_key(args: &Args, report: &mut Report<impl std::io::Write>) -> Option<Secret> {
    args.client_id.as_ref()?;
    let key = match &args.auth_key_file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {}", path.display(), fault::plain(&error.to_string()))),
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
