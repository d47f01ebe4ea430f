//! Visitors of the media port: few at a time, of each address a few, none for long, and whoever has no link gets nothing
//! but a page that says so.
use super::{CheckPage, SeenAs};
use crate::logging::Pii;
use crate::plane::web::Visitor;
use axum::Router;
use axum::body::Body;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rtcd_media::source::Source;
use rtcd_media::token_bucket::TokenBucket;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

/// Connections at the same time: a browser has up to six, and one run keeps one.
const MAX_CONNECTIONS: usize = 128;

/// The same of one address: some people of an office behind one.
const MAX_OF_SOURCE: usize = 24;

/// Connections and requests of one address: a run takes some fifteen. Who wants more has to wait.
const REQUESTS_PER_SECOND: f64 = 2.0;
const REQUESTS_AT_ONCE: f64 = 100.0;

/// Handshakes of all: one takes about a millisecond of a CPU, which calls need more.
const HANDSHAKES_PER_SECOND: f64 = 40.0;
const HANDSHAKES_AT_ONCE: f64 = 200.0;

/// Addresses that are remembered for that.
const MAX_SOURCES: usize = 4096;

/// For the handshake of TLS, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest head of a request.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Most headers of a request.
const MAX_HEADERS: usize = 64;

/// How long a connection may live: longer than a run.
const MAX_LIFE: Duration = Duration::from_secs(180);

/// Serves whoever comes through the plane's door; never returns while the plane lives.
pub async fn serve(page: CheckPage, mut visitors: mpsc::Receiver<Visitor>) {
    let (shares, router) = (Shares::new(Instant::now()), page.router::<()>());
    while let Some(Visitor { stream, remote }) = visitors.recv().await {
        let Some(place) = shares.enter(remote) else { continue };
        let (page, router) = (page.clone(), router.clone());
        tokio::spawn(async move {
            let served = timeout(MAX_LIFE, attend(page, router, stream, remote, &place)).await;
            if let Ok(Err(error)) = served {
                debug!(peer = %Pii(remote), %error, "a visitor of the check page has left");
            }
        });
    }
}

async fn attend(
    page: CheckPage,
    router: Router,
    stream: std::net::TcpStream,
    remote: SocketAddr,
    place: &Place,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::from_std(stream)?;
    let mut first = [0];
    timeout(PATIENCE, stream.peek(&mut first)).await??;
    // A record of TLS's handshake.
    if first != [0x16] {
        return requests(stream, place, |request| async move { to_tls(&request) }).await;
    }
    let server = page.0.certificates.server().ok_or(io::Error::from(io::ErrorKind::NotFound))?;
    let accepted = timeout(PATIENCE, TlsAcceptor::from(server).accept(stream)).await;
    let stream = accepted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let service = TowerToHyperService::new(router);
    requests(stream, place, move |mut request| {
        request.extensions_mut().insert(SeenAs(remote));
        let answer = service.call(request);
        async move { answer.await.unwrap_or_else(|never| match never {}) }
    })
    .await
}

async fn requests<F: Future<Output = Response<Body>> + Send + 'static>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    place: &Place,
    answer: impl Fn(Request<Incoming>) -> F + Send,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let service = service_fn(|request| {
        let answer = place.asks(Instant::now()).then(|| answer(request));
        async move {
            Ok::<_, Infallible>(match answer {
                Some(answer) => answer.await,
                None => too_many(),
            })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    Ok(connection.await?)
}

fn too_many() -> Response<Body> {
    let mut answer = Response::new(Body::from("too many requests from your address: try again in a minute\n"));
    *answer.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
    answer
}

/// The same place by TLS, which is spoken on the same port.
fn to_tls(request: &Request<Incoming>) -> Response<Body> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.and_then(|host| host.parse::<Authority>().ok()).filter(|host| !host.as_str().contains('@'));
    let target = host.map(|host| format!("https://{host}{}", request.uri().path()));
    let target = target.and_then(|target| HeaderValue::try_from(target).ok());
    let mut answer = Response::new(Body::empty());
    match target {
        Some(target) => {
            *answer.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            answer.headers_mut().insert(header::LOCATION, target);
        }
        None => *answer.status_mut() = StatusCode::BAD_REQUEST,
    }
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Who has how much of the door.
struct Shares(Mutex<Table>);

struct Table {
    sources: HashMap<Source, Share>,
    connections: usize,
    handshakes: TokenBucket,
}

struct Share {
    connections: usize,
    requests: TokenBucket,
}

/// A place for as long as the connection lives.
struct Place {
    shares: Arc<Shares>,
    source: Source,
}

impl Shares {
    fn new(now: Instant) -> Arc<Self> {
        let handshakes = TokenBucket::new(HANDSHAKES_PER_SECOND, HANDSHAKES_AT_ONCE, now);
        Arc::new(Self(Mutex::new(Table { sources: HashMap::new(), connections: 0, handshakes })))
    }

    fn enter(self: &Arc<Self>, remote: SocketAddr) -> Option<Place> {
        let (source, now) = (Source::from(remote), Instant::now());
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let table = &mut *table;
        if table.connections >= MAX_CONNECTIONS {
            return None;
        }
        if table.sources.len() >= MAX_SOURCES {
            let owes = |share: &Share| share.requests.balance(now) < REQUESTS_AT_ONCE;
            table.sources.retain(|_, share| share.connections > 0 || owes(share));
        }
        if table.sources.len() >= MAX_SOURCES && !table.sources.contains_key(&source) {
            return None;
        }
        let fresh = || Share { connections: 0, requests: TokenBucket::new(REQUESTS_PER_SECOND, REQUESTS_AT_ONCE, now) };
        let share = table.sources.entry(source).or_insert_with(fresh);
        // In this order: an address that has had its share takes nothing of what is for all.
        if share.connections >= MAX_OF_SOURCE || !share.requests.take(now) || !table.handshakes.take(now) {
            return None;
        }
        share.connections += 1;
        table.connections += 1;
        Some(Place { shares: self.clone(), source })
    }
}

impl Place {
    /// Whether it may ask something now.
    fn asks(&self, now: Instant) -> bool {
        let mut table = self.shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.sources.get_mut(&self.source).is_some_and(|share| share.requests.take(now))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.connections -= 1;
        if let Some(share) = table.sources.get_mut(&self.source) {
            share.connections -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_its_share_of_places_and_of_requests() {
        let shares = Shares::new(Instant::now());
        let from = |last: u8| SocketAddr::from(([192, 0, 2, last], 1));
        let many: Vec<_> = (0..100).filter_map(|_| shares.enter(from(1))).collect();
        assert_eq!(many.len(), MAX_OF_SOURCE);
        let other = shares.enter(from(2)).expect("another address");
        let now = Instant::now();
        let left = REQUESTS_AT_ONCE as usize - MAX_OF_SOURCE;
        assert_eq!((0..1000).filter(|_| many[0].asks(now)).count(), left);
        assert!(other.asks(now));
        let all: Vec<_> = (3..200).filter_map(|last| shares.enter(from(last))).collect();
        assert_eq!(many.len() + 1 + all.len(), MAX_CONNECTIONS);
        drop((many, all));
        assert!(shares.enter(from(1)).is_none(), "it has had its requests");
        let gone = (0..1000).filter_map(|number| shares.enter(from((number % 250) as u8))).count();
        assert_eq!(gone, HANDSHAKES_AT_ONCE as usize - MAX_CONNECTIONS);
    }
}
