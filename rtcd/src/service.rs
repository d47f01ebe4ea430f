//! The running daemon: what is started in which order, and how it ends.
use crate::admission::{self, Admission};
use crate::api::{self, Api, ApiConfig, Around, Deadlines};
use crate::client;
use crate::config::{Config, Loaded};
use crate::handover::arrival::{Arrival, arrive, open_after};
use crate::handover::control::ControlMemory;
use crate::handover::door;
use crate::handover::leaving::Leaving;
use crate::handover::{Memory, Rest};
use crate::listener;
use crate::logging::Once;
use crate::metrics::Metrics;
use crate::net::addresses::{Bind, Machine};
use crate::net::binder::Binder;
use crate::net::discovery::{Board, Discovery};
use crate::net::relays::Relays;
use crate::notices::{Notices, Topic};
use crate::plane::socket::{BufferSizes, SOCKET_BUFFER};
use crate::plane::sockets::Sockets;
use crate::plane::{Plane, PlaneConfig};
use crate::reload::{Load, Reload, Running};
use crate::shutdown::Shutdown;
use crate::signal::{Settings, Signal, Status};
use crate::store::{self, Store};
use crate::systemd::{self, Inheritance, Inherited, SocketStore};
use anyhow::Context as _;
use rtcd_media::dtls::Identity;
use std::os::fd::IntoRawFd as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// How long the plane may take to say goodbye to the participants after their sessions were closed.
const GOODBYE: Duration = Duration::from_millis(500);

/// A process that dies later was not killed by what it went on with. Also how often tokens are written down.
const SURVIVES: Duration = Duration::from_secs(1);

/// How long work that blocks may still take when everything has ended: what a client was told is on the disk already.
const LAST_WORK: Duration = Duration::from_millis(100);

/// How running calls end when the daemon is told to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Drain {
    /// How long they may go on; without it, until they end.
    pub timeout: Option<Duration>,
    /// New calls are refused meanwhile, in place of taking those that find no other host.
    pub refuse_calls: bool,
}

/// How the daemon begins and ends.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    /// How it ends.
    pub drain: Drain,
    /// It takes over from the process that has the store.
    pub takes_over: bool,
}

/// How it has ended.
enum Ended {
    /// With its calls.
    Alone,
    /// Another process goes on with them, and sees by this when this one has ended.
    Leaving(UnixStream),
}

/// Serves until told to end, then drains. `load` reads the configuration again.
pub fn run(loaded: Loaded, load: Load, how: How) -> anyhow::Result<()> {
    std::thread::spawn(rtcd_media::warm_up);
    let inheritance = systemd::inherit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let ended = runtime.block_on(serve(loaded, load, how, inheritance));
    match ended {
        // Somebody waits for our end.
        Ok(Ended::Leaving(heir)) => {
            runtime.shutdown_background();
            // Closed by the kernel with everything else.
            let _ = heir.into_raw_fd();
            Ok(())
        }
        // A lookup that the name servers do not answer would hold up the end for as long as they are silent.
        other => {
            runtime.shutdown_timeout(LAST_WORK);
            other.map(drop)
        }
    }
}

async fn serve(loaded: Loaded, load: Load, how: How, inheritance: Inheritance) -> anyhow::Result<Ended> {
    let config = &loaded.config;
    let notices = Notices::default();
    notices.set(Topic::Configuration, loaded.oddities());
    let shutdown = Shutdown::on_signals(how.drain.timeout).context("listening for signals")?;
    let door = admission::Signals::new().context("listening for signals")?;
    let hangup = signal(SignalKind::hangup()).context("listening for signals")?;

    // Media first: whoever is in a call waits for it.
    let place = store::place(&config.store.data_source);
    let arrival = arrive(inheritance, how.takes_over.then_some(place)).await;
    let Arrival { legacy, api: kept, before, graves, mut unused } = arrival;
    let identity = match &legacy {
        Some(legacy) => legacy.identity.clone(),
        None => Identity::generate().context("making a DTLS certificate")?,
    };
    let fingerprint = identity.fingerprint();
    let workers = config.rtc.workers();
    let generation = graves.next_generation();
    let memory = ControlMemory::new(generation, graves.deaths()).context("keeping state in memory")?;
    memory.keep_identity(&identity, Instant::now()).context("keeping state in memory")?;
    let nack_buffer = config.rtc.nack_buffer_size;
    let (store_sockets, socket_store) = systemd::store_sockets().unzip();
    let reflex = crate::signal::data_channel::reflex;
    let plane_config = PlaneConfig { workers, nack_buffer, reflex, generation, store: store_sockets };
    let (plane, events) = Plane::start(&plane_config, identity.clone())?;
    leave_with_systemd(generation, &memory, &plane);
    let mut sockets = Sockets::new(plane.handle());
    let mut rest = legacy.map(|legacy| legacy.begin(&plane, &mut sockets));
    unused.extend(rest.iter_mut().flat_map(|rest| std::mem::take(&mut rest.unused)));

    let store = match before {
        Some(before) => open_after(before, config.store.data_source.clone()).await?,
        None => Store::open(&config.store.data_source)?,
    };
    let clients = store.clients().await.ok().map(|clients| clients.len());
    if let Some(warning) = client::nobody_can_register(config, clients) {
        tracing::warn!("{warning}");
    }
    let control = api::Control::bind(store.path());
    let heirs = door::open(store.path());
    // A host name is resolved, which may take as long as the name servers are silent.
    let address = config.api.listen.clone();
    let kept = rest.as_mut().and_then(|rest| rest.api.take()).map(|fd| Inherited::Kept(fd.into())).or(kept);
    let listener = tokio::select! {
        listener = tokio::task::spawn_blocking(move || listener::of_api(&address, kept)) => listener.context("binding the API")??,
        () = shutdown.draining() => return Ok(Ended::Alone),
    };
    listener.set_nonblocking(true).context("preparing the API listener")?;
    let api_listener = listener.try_clone().context("preparing the API listener")?;
    let listener = tokio::net::TcpListener::from_std(listener).context("preparing the API listener")?;

    let machine = Machine::look().context("listing the local addresses")?;
    let (binder, local) = Binder::start(&config.rtc, &machine, sockets)?;
    let buffers = binder.buffers();
    buffers.into_iter().for_each(|got| warn_of_small_buffers(got, &notices));
    warn_of_short_queues(&notices);
    let discovery = Discovery::new(&config.rtc, local.clone());
    let candidates = discovery.candidates();
    if candidates.is_empty() {
        tracing::error!("no candidates: no participant can reach this daemon, see rtc.ice_address_udp and _tcp");
    }

    let metrics = Metrics::new();
    let settings = Settings {
        candidates: candidates.into(),
        fingerprint,
        max_sessions_per_client: config.rtc.max_sessions_per_client,
        refuse_calls_while_draining: how.drain.refuse_calls,
        peers: local.peer_policy(),
    };
    let (legacy, bearers, parcel) = match rest {
        Some(Rest { signal, bearers, metrics: counted, memory, .. }) => {
            metrics.go_on(counted);
            (Some(signal), bearers, memory)
        }
        None => (None, Vec::new(), None),
    };
    let signal = crate::signal::start(settings, plane.handle(), events, metrics.clone(), legacy, memory.clone());
    let (counters, shares, peers, tally) = (plane.handle(), plane.handle(), plane.handle(), plane.handle());
    let around = Around {
        metrics: metrics.clone(),
        plane: Box::new(move || counters.counters()),
        shares: Box::new(move || shares.shares()),
        peers: Box::new(move || {
            let peers = peers.clone();
            Box::pin(async move { peers.describe().await })
        }),
        tally: Box::new(move || {
            let tally = tally.clone();
            Box::pin(async move { tally.tally().await })
        }),
        notices: notices.clone(),
    };
    tokio::spawn(store.clone().watch());
    let api = Api::new(api_config(config), store, signal.handle.clone(), around);
    api.start_bearers(bearers, Instant::now());
    api.start_check_page(plane.handle(), config);
    match control {
        Ok(control) => drop(tokio::spawn(control.serve(api.clone()))),
        Err(error) => tracing::info!(%error, "no control socket beside the store: `rtcd client` needs the admin's key"),
    }
    let mut heirs = heirs.inspect_err(|error| tracing::info!(%error, "a restart will end the calls")).ok();
    let (stop_api, api_stopped) = oneshot::channel::<()>();
    let address = listener.local_addr().ok();
    let serving = tokio::spawn(api::serve(listener, api.clone(), async move {
        // An end of the sender is the end of the daemon, too.
        let _ = api_stopped.await;
    }));
    let mut heartbeats = plane.handle().heartbeats();
    heartbeats.push(signal.heartbeat.clone());
    tokio::spawn(systemd::feed_watchdog(heartbeats));
    tokio::spawn(admission::follow(signal.status.clone()));
    let admission = Admission { api: api.clone(), signal: signal.handle.clone() };
    tokio::spawn(door.obey(admission.clone(), shutdown.clone()));
    let board = Board { advertised: metrics.advertised(), notices: notices.clone() };
    let [udp_candidates, tcp_candidates] = discovery.shown();
    let discovery = discovery.start(signal.handle.clone(), binder, board.clone());
    let relays = Relays::start(&config.rtc, plane.handle(), signal.handle.clone(), metrics.turn(), board.clone());
    tokio::spawn(
        Reload::new(loaded.clone(), load, Running { discovery, relays, api: api.clone(), board }).at_each(hangup),
    );

    let receive_buffer = buffers.map(|got| got.receive);
    let Bind { udp, tcp } = local.bind;
    tracing::info!(
        api = ?address, ?udp, ?tcp, udp_candidates, tcp_candidates, workers, receive_buffer, "ready"
    );
    systemd::forget_calls();
    socket_store.into_iter().for_each(SocketStore::begin);
    if let Some(Err(error)) = parcel.map(Memory::wipe) {
        tracing::warn!(%error, "what the process before has left could not be wiped");
    }
    // Everything is written down anew.
    graves.wipe();
    graves.generations().for_each(systemd::forget_written);
    unused.into_iter().for_each(systemd::forget_socket);
    systemd::ready();
    tokio::spawn(keep_tokens(memory.clone(), api.clone()));

    let draining = async {
        shutdown.draining().await;
        systemd::stopping();
        drain(&admission, &signal, &shutdown).await;
    };
    let heir = async {
        match &mut heirs {
            Some(heirs) => heirs.recv().await,
            None => None,
        }
    };
    tokio::select! {
        () = draining => {}
        Some(heir) = heir => {
            let leaving = Leaving { plane, signal: signal.handle, api, stop_api, serving, api_listener, metrics, identity, memory };
            return leaving.to(heir).await.map(Ended::Leaving);
        }
    }
    // The calls that are left end here; their clients hear of it before their WebSockets close.
    if signal.handle.stop().await.is_err() {
        tracing::error!("signalling ended before the daemon did");
    }
    let _ = stop_api.send(());
    let _ = tokio::time::timeout(Deadlines::default().drain + GOODBYE, serving).await;
    tokio::task::spawn_blocking(move || plane.stop()).await.context("stopping the packet plane")?;
    wipe(&memory);
    Ok(Ended::Alone)
}

/// What is written down from now on is there for the next process, should this one die.
fn leave_with_systemd(generation: u64, memory: &ControlMemory, plane: &Plane) {
    if !systemd::is_there() {
        return;
    }
    let kept = memory.handle().and_then(|control| {
        systemd::keep_written(generation, plane.memories())?;
        systemd::keep_written(generation, &[control])
    });
    if let Err(error) = kept {
        tracing::warn!(%error, "nothing can be left with systemd: a crash will end calls");
    }
}

fn wipe(memory: &ControlMemory) {
    if let Err(error) = memory.wipe() {
        tracing::warn!(%error, "what was written down could not be wiped");
    }
}

/// Writes down who has logged in, and that this process has not died at once.
async fn keep_tokens(memory: ControlMemory, api: Api) {
    let (failing, mut any) = (Once::new(), false);
    let note = |written: std::io::Result<()>| match written {
        Ok(()) => drop(failing.works()),
        Err(error) if failing.failed() => tracing::warn!(%error, "tokens cannot be written down"),
        Err(_) => {}
    };
    tokio::time::sleep(SURVIVES).await;
    note(memory.survives());
    loop {
        let now = Instant::now();
        let bearers = api.bearers(now);
        if any || !bearers.is_empty() {
            note(memory.keep_bearers(&bearers, now));
        }
        any = !bearers.is_empty();
        tokio::time::sleep(SURVIVES).await;
    }
}

/// New calls go elsewhere; waits until the last session has gone or the time is over. A call that comes all the same
/// either goes on, or hears of the end: none is taken and then cut because it came late.
async fn drain(admission: &Admission, signal: &Signal, shutdown: &Shutdown) {
    // An actor that has ended has no sessions to wait for.
    let _ = admission.set_draining(true).await;
    let mut status = signal.status.clone();
    let sessions = status.borrow().sessions;
    if sessions > 0 {
        tracing::info!(sessions, "waiting for sessions to end");
    }
    let idle = async {
        while status.wait_for(|status| status.sessions == 0).await.is_ok() {
            match signal.handle.stop_if_idle().await {
                // Somebody has joined, and the status says so already.
                Ok(false) => {}
                Ok(true) | Err(_) => return,
            }
        }
    };
    tokio::select! {
        () = idle => {}
        () = shutdown.ending() => {}
    }
    let Status { sessions, calls_while_draining, .. } = *signal.status.borrow();
    tracing::info!(sessions, new_calls = calls_while_draining, "the drain ends");
}

fn api_config(config: &Config) -> ApiConfig {
    ApiConfig {
        allow_self_registration: config.api.allow_self_registration,
        admin_secret: config.api.admin_secret_key.clone(),
        session_expiration: config.api.session_expiration,
        tls: config.api.tls.clone(),
        deadlines: Deadlines::default(),
    }
}

/// Of the kernel, in front of every socket: sysctl.d/60-rtcd.conf has the reasons. A network namespace may not have them.
fn warn_of_short_queues(notices: &Notices) {
    for (sysctl, wanted) in [("net.core.netdev_max_backlog", 10_000), ("net.core.netdev_budget", 600)] {
        let said = std::fs::read_to_string(format!("/proc/sys/{}", sysctl.replace('.', "/")));
        let value = said.ok().and_then(|text| text.trim().parse::<u32>().ok());
        if let Some(value) = value.filter(|value| *value < wanted) {
            tracing::warn!(
                sysctl,
                value,
                wanted,
                "packets may be lost before a busy core takes them: raise the sysctl"
            );
            let notice =
                format!("{sysctl} is {value}, not {wanted}: packets may be lost before a busy core takes them");
            notices.add(Topic::Kernel, notice);
        }
    }
}

fn warn_of_small_buffers(got: BufferSizes, notices: &Notices) {
    for (sysctl, bytes) in [("net.core.rmem_max", got.receive), ("net.core.wmem_max", got.send)] {
        if bytes < SOCKET_BUFFER {
            tracing::warn!(sysctl, bytes, wanted = SOCKET_BUFFER, "UDP buffer smaller than asked: raise the sysctl");
            let notice = format!("UDP buffers have {bytes} bytes, not {SOCKET_BUFFER}: raise {sysctl}");
            notices.add(Topic::Kernel, notice);
        }
    }
}
