//! `rtcd client`: who may use this daemon. One command gives the admin the URL that Mattermost wants.
mod url;
pub(crate) mod way;

use crate::check::target::{MediaTarget, Target};
use crate::config::{Config, Secret};
use crate::exit_code::{ExitCode, help as exit_codes};
use crate::signal::message::MAX_ID_LEN;
use clap::Subcommand;
use data_encoding::BASE64URL_NOPAD;
use std::path::{Path, PathBuf};
use way::{Failure, Way};

/// Random bytes of a key: 43 characters, of which none needs escaping in a URL.
const KEY_BYTES: usize = 32;

/// Arguments of `rtcd client`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub what: What,
    /// The daemon's API: http://host:8045 or https://host:8045, with the admin's key in --admin-key-file or in
    /// RTCD_API_SECURITY_ADMINSECRETKEY; default: the daemon of this machine, which needs no key from root and its own user.
    #[arg(long, global = true)]
    pub url: Option<Target>,
    /// A file with the admin's key (api.security.admin_secret_key).
    #[arg(long, global = true, value_name = "PATH")]
    pub admin_key_file: Option<PathBuf>,
    /// The host that Mattermost shall reach the daemon at, for the URL that is printed; default: that of --url, else the
    /// address that the API listens at, else the name of this machine.
    #[arg(long, global = true, value_name = "HOST[:PORT]", value_parser = url::host)]
    pub host: Option<MediaTarget>,
    /// With --url, a PEM file with a certificate authority to trust beside the system's.
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Print JSON in place of text.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum What {
    /// Add a client, and print the URL with its id and its new key: once, it is kept nowhere.
    #[command(after_help = exit_codes::CLIENT)]
    Add {
        /// Its id, which is its name in logs and metrics; one for each Mattermost installation.
        #[arg(value_parser = new_id)]
        id: String,
        /// A file with the key, in place of a new one: several hosts behind one name need the same.
        #[arg(long, value_name = "PATH")]
        key_file: Option<PathBuf>,
    },
    /// Remove a client: its calls end.
    #[command(after_help = exit_codes::CLIENT)]
    Remove {
        /// Its id.
        id: String,
    },
    /// Give a client another key, and print the new URL: the old key is no longer good, and running calls go on.
    #[command(after_help = exit_codes::CLIENT)]
    Rotate {
        /// Its id.
        id: String,
        /// A file with the key, in place of a new one.
        #[arg(long, value_name = "PATH")]
        key_file: Option<PathBuf>,
    },
    /// Print the ids of all clients.
    #[command(after_help = exit_codes::CLIENT)]
    List,
}

/// Does it. `load` reads the configuration of this machine, or has said why it cannot.
pub fn run(args: &Args, load: impl FnOnce() -> Result<Config, ExitCode>) -> ExitCode {
    let config = match args.url {
        Some(_) => None,
        None => match load() {
            Ok(config) => Some(config),
            Err(code) => return code,
        },
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("rtcd client: {error}");
            return ExitCode::Failure;
        }
    };
    let done = runtime.block_on(act(args, config.as_ref()));
    // A lookup that nobody answers is not waited for.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::Success,
        Err(Failure { code, text }) => {
            eprintln!("rtcd client: {text}");
            code
        }
    }
}

async fn act(args: &Args, config: Option<&Config>) -> Result<(), Failure> {
    let way = match (&args.url, config) {
        (Some(url), _) => Way::over_api(url, args.ca.as_deref(), args.admin_key_file.as_deref())?,
        (None, Some(config)) => Way::on_this_machine(config, args.admin_key_file.as_deref()).await?,
        (None, None) => return Err(Failure::new("neither a URL nor a configuration")),
    };
    let show = |id: &str, key: &Secret| {
        let url = url::url(args.url.as_ref(), args.host.as_ref(), config, id, key);
        if args.json {
            println!("{}", serde_json::json!({"clientID": id, "authKey": key.expose(), "url": url}));
        } else {
            println!("{url}");
        }
    };
    match &args.what {
        What::Add { id, key_file } => {
            let key = key(key_file.as_deref())?;
            way.add(id, &key).await?;
            show(id, &key);
            eprintln!("Put this into System Console > Plugins > Calls > RTCD Service URL. It is not shown again.");
        }
        What::Rotate { id, key_file } => {
            let key = key(key_file.as_deref())?;
            way.rotate(id, &key).await?;
            show(id, &key);
            eprintln!(
                "Put this into System Console > Plugins > Calls > RTCD Service URL. It is not shown again. The old key is \
                 refused from now on; running calls go on."
            );
        }
        What::Remove { id } => {
            way.remove(id).await?;
            eprintln!("{id} is removed, and its calls have ended.");
        }
        What::List => {
            let ids = way.list().await?;
            if args.json {
                println!("{}", serde_json::json!({"clients": ids}));
            } else {
                ids.iter().for_each(|id| println!("{}", printable(id)));
            }
        }
    }
    Ok(())
}

/// How many clients the daemon of this machine knows, or would know: it is asked, and where none runs, a copy of its store is
/// looked at. `None` when neither says.
pub fn known(config: &Config) -> Option<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let asked = runtime.block_on(Way::asked_here(&config.store.data_source));
    asked.or_else(|| crate::store::count(&config.store.data_source))
}

/// What the operator should know when nobody can register and no client is known, or may be: `clients` is `None` when the
/// store cannot be looked at.
pub fn nobody_can_register(config: &Config, clients: Option<usize>) -> Option<&'static str> {
    nobody_can(config.api.allow_self_registration, config.api.admin_secret_key.is_some(), clients)
}

/// The same by whether anybody may register, and whether there is an admin.
pub fn nobody_can(is_open: bool, has_admin: bool, clients: Option<usize>) -> Option<&'static str> {
    if is_open || has_admin {
        return None;
    }
    match clients {
        Some(0) => Some(
            "no client is known and nobody can register, so that Mattermost will be refused: `rtcd client add ID` adds one \
             and prints the URL for Mattermost; or see api.security.enable_admin and .allow_self_registration",
        ),
        Some(_) => None,
        None => Some(
            "nobody can register over the API, and the store cannot be looked at from here: unless there is a client \
             already, run `rtcd client add ID`; or see api.security.enable_admin and .allow_self_registration",
        ),
    }
}

/// The key in this file, or a new one.
fn key(file: Option<&Path>) -> Result<Secret, Failure> {
    file.map_or_else(|| Ok(new_key()), |path| way::secret_of("--key-file", path))
}

fn new_key() -> Secret {
    Secret::new(BASE64URL_NOPAD.encode(&rand::random::<[u8; KEY_BYTES]>()))
}

fn new_id(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_ID_LEN {
        return Err(format!("an id has 1 to {MAX_ID_LEN} bytes"));
    }
    // Basic authentication ends a name with a colon (RFC 7617, section 2).
    if text.contains(':') || text.contains(char::is_control) {
        return Err("an id has no colon and no control characters".into());
    }
    Ok(text.to_owned())
}

/// An id that somebody else has chosen, on a terminal.
fn printable(id: &str) -> String {
    id.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_long_and_needs_no_escaping() {
        let (one, another) = (new_key(), new_key());
        assert_ne!(one.expose(), another.expose());
        assert_eq!(one.expose().len(), 43);
        assert!(one.expose().chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)));
    }

    #[test]
    fn an_id_must_fit_into_basic_authentication() {
        assert_eq!(new_id("mattermost"), Ok("mattermost".into()));
        for wrong in ["", "a:b", "a\nb", &"x".repeat(MAX_ID_LEN + 1)] {
            assert!(new_id(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn there_is_a_warning_when_mattermost_cannot_get_in() {
        let mut config = Config::default();
        assert!(nobody_can_register(&config, Some(0)).is_some_and(|text| text.contains("rtcd client add")));
        assert!(nobody_can_register(&config, None).is_some());
        assert!(nobody_can_register(&config, Some(1)).is_none());
        config.api.admin_secret_key = Some("key".into());
        assert!(nobody_can_register(&config, Some(0)).is_none());
    }
}
