//! Connections: taken, bounded, served, drained.
use super::guard::{Peer, Place};
use super::guarded_io::GuardedIo;
use super::{Api, LEAVING_WEBSOCKETS, MAX_WEBSOCKETS};
use crate::auth::Source;
use crate::logging::{Once, Pii};
use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

/// Longest head of a request. Browsers and proxies stay under 8 KiB; the reference takes 1 MiB, and who puts tickets of a
/// large directory into headers sends 60 kB.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Most headers of a request; Go counts none.
const MAX_HEADERS: usize = 2048;

/// Pause when no more sockets can be had, so that the loop does not burn the CPU that could free some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a stranger may take to be gone.
const MAKE_ROOM_PAUSE: Duration = Duration::from_millis(5);

/// How long a connection that was taken just before the end may take to ask something.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Serves the API until `shutdown` resolves; then takes no more connections, answers what was asked on those it has taken,
/// says goodbye on the WebSockets once what is queued for them has gone out, and returns when all are done or the deadline
/// has passed.
pub async fn serve(listener: TcpListener, api: Api, shutdown: impl Future<Output = ()>) {
    let router = api.router();
    let tls = api.inner.config.tls.as_ref().map(|tls| TlsAcceptor::from(tls.server.clone()));
    tokio::select! {
        () = accept(&listener, &api, &router, tls.as_ref()) => {}
        () = api.inner.load.sample(&api.inner.around.shares) => {}
        () = shutdown => {}
    }
    drop(listener);
    api.inner.closing.send_replace(true);
    let all_gone = async {
        api.inner.guard.empty().await;
        let _ = api.inner.websockets.acquire_many(MAX_WEBSOCKETS + LEAVING_WEBSOCKETS).await;
    };
    if timeout(api.inner.config.deadlines.drain, all_gone).await.is_err() {
        warn!("connections of the API were still open at the end");
    }
}

async fn accept(listener: &TcpListener, api: &Api, router: &Router, tls: Option<&TlsAcceptor>) {
    let (crowded, refused) = (Once::new(), Once::new());
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                api.inner.metrics.api_accept_failed();
                if refused.failed() {
                    warn!(%error, "connections to the API cannot be taken, strangers are dropped for newcomers");
                }
                // A file is free as soon as the stranger's task has run; until then the others go on.
                if api.inner.guard.make_room() {
                    api.inner.metrics.api_stranger_dropped();
                    sleep(MAKE_ROOM_PAUSE).await;
                } else {
                    sleep(ACCEPT_PAUSE).await;
                }
                continue;
            }
        };
        if refused.works() {
            info!("connections to the API are taken again");
        }
        // All have shown who they are: the newcomer has to come back.
        let Some((guest, place, made_room)) = api.inner.guard.enter(Source::from(peer.ip())) else {
            api.inner.metrics.api_stranger_dropped();
            continue;
        };
        if made_room {
            api.inner.metrics.api_stranger_dropped();
            if crowded.failed() {
                warn!("too many connections to the API: the oldest that have asked nothing are dropped for newcomers");
            }
        } else {
            crowded.works();
        }
        let (api, router, tls) = (api.clone(), router.clone(), tls.cloned());
        tokio::spawn(attend(stream, peer, guest, place, api, router, tls));
    }
}

/// Serves a connection until its end, or until it has to make room.
async fn attend(
    stream: TcpStream,
    peer: SocketAddr,
    guest: Peer,
    place: Place,
    api: Api,
    router: Router,
    tls: Option<TlsAcceptor>,
) {
    tokio::select! {
        ended = connection(stream, guest.clone(), api, router, tls) => {
            if let Err(error) = ended {
                debug!(peer = %Pii(peer), %error, "connection ended");
            }
        }
        () = guest.dropped() => {}
    }
    drop(place);
}

async fn connection(
    stream: TcpStream,
    guest: Peer,
    api: Api,
    router: Router,
    tls: Option<TlsAcceptor>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let deadlines = api.inner.config.deadlines;
    let stream = GuardedIo::new(stream, deadlines.write);
    let Some(tls) = tls else {
        return Ok(requests(stream, guest, api, router).await?);
    };
    let handshake = timeout(deadlines.request, tls.accept(stream)).await;
    let stream = handshake.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(requests(stream, guest, api, router).await?)
}

pub(super) async fn requests<S>(stream: S, guest: Peer, api: Api, router: Router) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut closing = api.inner.closing.subscribe();
    let asked = Arc::new(Notify::new());
    let service = {
        let asked = asked.clone();
        let router = TowerToHyperService::new(router);
        service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            asked.notify_one();
            guest.asked();
            request.extensions_mut().insert(guest.clone());
            router.call(request)
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(api.inner.config.deadlines.request)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        _ = closing.wait_for(|closing| *closing) => {}
    }
    // A client whose request is still on its way would otherwise get the end of the connection for an answer.
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = asked.notified() => {}
        () = sleep(FIRST_REQUEST) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}
