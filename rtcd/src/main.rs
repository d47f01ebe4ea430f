//! The rtcd daemon: arguments, configuration, logging, service, exit code.
use rtcd::cli::{Args, Command, HandOver};
use rtcd::exit_code::ExitCode;
use rtcd::{build_info, check, client, config, logging, privileges, service, systemd};
use std::io::Write as _;

fn main() -> std::process::ExitCode {
    run().into()
}

fn run_demo(args: rtcd::demo::DemoArgs) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("rtcd demo: {error}");
            return ExitCode::Failure;
        }
    };
    match runtime.block_on(rtcd::demo::run(args)) {
        Ok(()) => ExitCode::Success,
        Err(error) => {
            eprintln!("rtcd demo: {error:#}");
            ExitCode::Failure
        }
    }
}

/// For `ExecStop=`, and for whoever wants to know what a restart would do.
fn hand_over(args: &HandOver, load: impl FnOnce() -> Result<config::Loaded, ExitCode>) -> ExitCode {
    if let Some(unit) = &args.if_restarting {
        match systemd::is_restarting(unit) {
            Ok(true) => {}
            Ok(false) => return ExitCode::Success,
            Err(error) => {
                eprintln!(
                    "rtcd hand-over: whether {unit} is being restarted cannot be found out, its calls end: {error}"
                );
                return ExitCode::Failure;
            }
        }
    }
    let data_source = match load() {
        Ok(loaded) => loaded.config.store.data_source,
        Err(code) => return code,
    };
    let place = rtcd::store::place(&data_source);
    match rtcd::handover::door::leave_to_systemd(&place) {
        Ok(()) => ExitCode::Success,
        Err(error) => {
            eprintln!("rtcd hand-over: {}: {error}", place.join(rtcd::handover::door::SOCKET).display());
            ExitCode::Failure
        }
    }
}

fn tell_warnings(loaded: &config::Loaded) {
    loaded.warnings.iter().for_each(|warning| eprintln!("rtcd: warning: {warning}"));
}

fn run() -> ExitCode {
    let args = match Args::parse_from_process() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are errors to clap, and go to standard output.
            let code = if error.use_stderr() { ExitCode::Usage } else { ExitCode::Success };
            let _ = error.print();
            return code;
        }
    };
    let path = args.config;
    let load = move || {
        let environment = config::env::of_process();
        let loaded = match &path {
            Some(path) => config::load_named(path, &environment),
            None => config::load(&config::find(), &environment),
        }?;
        if args.strict { config::strict(loaded) } else { Ok(loaded) }
    };
    let load_or_tell = || load().inspect_err(|problems| eprintln!("rtcd: {problems}")).map_err(|_| ExitCode::Config);
    match args.command {
        Some(Command::Check(check)) => {
            return check::run(&check, || load_or_tell().inspect(tell_warnings).map(|loaded| loaded.config));
        }
        Some(Command::Client(client)) => {
            return client::run(&client, || load_or_tell().inspect(tell_warnings).map(|loaded| loaded.config));
        }
        Some(Command::Demo(demo)) => return run_demo(demo),
        Some(Command::HandOver(args)) => return hand_over(&args, load_or_tell),
        None => {}
    }

    let loaded = match load_or_tell() {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    if args.check_config || args.print_config {
        tell_warnings(&loaded);
        if args.check_config
            && let Some(warning) = client::nobody_can_register(&loaded.config, client::known(&loaded.config))
        {
            eprintln!("rtcd: warning: {warning}");
        }
        let text = if args.print_config { loaded.print() } else { "the configuration is valid\n".to_owned() };
        // Nobody is left to be told when the reader has gone.
        let _ = std::io::stdout().write_all(text.as_bytes());
        return ExitCode::Success;
    }

    if let Err(error) = logging::start(&loaded.config.logger) {
        eprintln!("rtcd: {:#}", anyhow::Error::new(error));
        return ExitCode::Failure;
    }
    let file = loaded.file_found.then(|| tracing::field::display(loaded.path.display()));
    tracing::info!(version = build_info::VERSION, hash = build_info::HASH, file, "starting");
    for warning in &loaded.warnings {
        // The journal shows the message alone: it says what is wrong.
        tracing::warn!(origin = %warning.origin, key = warning.key, "configuration: {}", warning.what);
    }
    let files = privileges::raise_file_limit();
    privileges::restrict(&loaded.config);
    privileges::forbid_dumps();
    // Its threads must not have the rights that were given up.
    logging::write(&loaded.config.logger);
    tracing::debug!(?files, config = ?loaded.config, "configured");

    let drain = service::Drain { timeout: args.drain_timeout, refuse_calls: args.refuse_calls_while_draining };
    let how = service::How { drain, takes_over: args.takeover };
    let code = match service::run(loaded, Box::new(load), how) {
        Ok(()) => {
            tracing::info!("ended");
            ExitCode::Success
        }
        Err(error) => {
            // The journal shows the message alone, and it is the last one.
            tracing::error!("failed: {error:#}");
            ExitCode::of(&error)
        }
    };
    logging::flush();
    code
}
