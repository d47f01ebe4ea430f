//! Connections: taken, bounded, served, drained.
use super::guarded_io::GuardedIo;
use super::{Api, MAX_CONNECTIONS, MAX_WEBSOCKETS};
use crate::logging::Pii;
use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

/// Longest head of a request. Browsers and proxies stay under 8 KiB; the reference takes 1 MiB, and who puts tickets of a
/// large directory into headers sends 60 kB.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Most headers of a request; Go counts none.
const MAX_HEADERS: usize = 2048;

/// Pause when no more sockets can be had, so that the loop does not burn the CPU that could free some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a connection that was taken just before the end may take to ask something.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Serves the API until `shutdown` resolves; then takes no more connections, answers what was asked on those it has taken,
/// says goodbye on the WebSockets once what is queued for them has gone out, and returns when all are done or the deadline
/// has passed.
pub async fn serve(listener: TcpListener, api: Api, shutdown: impl Future<Output = ()>) {
    let router = api.router();
    let tls = api.inner.config.tls.clone().map(TlsAcceptor::from);
    tokio::select! {
        () = accept(&listener, &api, &router, tls.as_ref()) => {}
        () = api.inner.load.sample() => {}
        () = shutdown => {}
    }
    drop(listener);
    api.inner.closing.send_replace(true);
    let all_gone = async {
        let _ = api.inner.connections.acquire_many(MAX_CONNECTIONS).await;
        let _ = api.inner.websockets.acquire_many(MAX_WEBSOCKETS).await;
    };
    if timeout(api.inner.config.deadlines.drain, all_gone).await.is_err() {
        warn!("connections of the API were still open at the end");
    }
}

async fn accept(listener: &TcpListener, api: &Api, router: &Router, tls: Option<&TlsAcceptor>) {
    // The semaphore is never closed.
    while let Ok(permit) = api.inner.connections.clone().acquire_owned().await {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection could not be taken");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (api, router, tls) = (api.clone(), router.clone(), tls.cloned());
        tokio::spawn(async move {
            if let Err(error) = connection(stream, api, router, tls).await {
                debug!(peer = %Pii(peer), %error, "connection ended");
            }
            drop(permit);
        });
    }
}

async fn connection(
    stream: TcpStream,
    api: Api,
    router: Router,
    tls: Option<TlsAcceptor>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let deadlines = api.inner.config.deadlines;
    let stream = GuardedIo::new(stream, deadlines.write);
    let Some(tls) = tls else {
        return Ok(requests(stream, api, router).await?);
    };
    let handshake = timeout(deadlines.request, tls.accept(stream)).await;
    let stream = handshake.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(requests(stream, api, router).await?)
}

async fn requests<S>(stream: S, api: Api, router: Router) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut closing = api.inner.closing.subscribe();
    let asked = Arc::new(Notify::new());
    let service = {
        let asked = asked.clone();
        let router = TowerToHyperService::new(router);
        service_fn(move |request| {
            asked.notify_one();
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
