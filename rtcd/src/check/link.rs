//! `rtcd check --link`: an address for whoever cannot call, to be opened where calls fail.
use super::Args;
use crate::client::way::{Failure, Way};
use crate::config::Config;
use crate::exit_code::ExitCode;
use serde_json::Value;

/// Asks the daemon for a link and prints it: the addresses on standard output, what there is to say on standard error.
pub(super) async fn make(args: &Args, config: Option<&Config>) -> ExitCode {
    match link(args, config).await {
        Ok(link) => {
            print(&link);
            ExitCode::Success
        }
        Err(Failure { code, text }) => {
            eprintln!("rtcd check: {text}");
            code
        }
    }
}

async fn link(args: &Args, config: Option<&Config>) -> Result<Value, Failure> {
    let key_file = args.admin_key_file.as_deref();
    let way = match (&args.url, config) {
        (Some(url), _) => Way::over_api(url, args.ca.as_deref(), key_file)?,
        (None, Some(config)) => Way::on_running_daemon(config, key_file).await?,
        (None, None) => return Err(Failure::new("neither a URL nor a configuration")),
    };
    way.check_link(args.valid_for.map(|life| life.as_secs().max(1))).await
}

fn print(link: &Value) {
    let path = link["path"].as_str().unwrap_or_default();
    let urls: Vec<_> = link["urls"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    eprintln!("Send this to whoever cannot call, to be opened on the device and in the network where calls fail:");
    urls.first().iter().for_each(|url| println!("{url}"));
    if urls.len() > 1 {
        eprintln!("If it does not open there, these, in this order:");
        urls[1..].iter().for_each(|url| println!("{url}"));
    }
    if urls.is_empty() {
        eprintln!("Participants are told no TCP address, so that only the API has the page.");
    }
    eprintln!("If none opens, TCP on the media port is closed from there. Where a proxy publishes the API over HTTPS:");
    println!("https://YOUR-PROXY{path}");
    let minutes = link["validSeconds"].as_u64().unwrap_or_default().div_ceil(60);
    let uses = &link["uses"];
    eprintln!(
        "It ends in {minutes} min, after {uses} tests, or when rtcd is restarted. What comes of a test is in rtcd's log."
    );
    if link["selfSigned"] == true {
        eprintln!(
            "The browser warns once, as rtcd has made the certificate itself: \"Advanced\", then \"Proceed\". With \
             api.http.tls it is that certificate, and there is no warning by its name."
        );
    }
}
