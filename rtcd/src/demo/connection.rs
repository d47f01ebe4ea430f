//! One connection of a browser: plain, or TLS; who speaks plainly to the port of HTTPS is sent there.
use axum::Router;
use axum::http::uri::Authority;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// For the first byte, for the handshake of TLS, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// The first byte of a TLS connection: a record with a handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;

/// What may end a connection.
type Ended = Box<dyn Error + Send + Sync>;

/// Serves it until its end.
pub async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router) -> Result<(), Ended> {
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return requests(stream, TowerToHyperService::new(router)).await };
    let mut first = [0];
    if timeout(PATIENCE, stream.peek(&mut first)).await?? == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    if first != [HANDSHAKE] {
        return requests(stream, service_fn(async |request| Ok::<_, Infallible>(redirect(&request)))).await;
    }
    let stream = timeout(PATIENCE, tls.accept(stream)).await??;
    requests(stream, TowerToHyperService::new(router)).await
}

async fn requests<S, H>(stream: S, service: H) -> Result<(), Ended>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Service<Request<Incoming>, Response = Response, Error = Infallible>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    Ok(connection.await?)
}

/// To the same place over HTTPS.
fn redirect<B>(request: &Request<B>) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.and_then(|host| host.parse::<Authority>().ok()).filter(|host| !host.as_str().contains('@'));
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    match host {
        Some(host) if path.starts_with('/') => {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, format!("https://{host}{path}"))]).into_response()
        }
        _ => (StatusCode::BAD_REQUEST, "this port speaks HTTPS: begin the address with https://\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_requests_are_sent_to_https_at_the_same_place() {
        let request =
            |host: &str| Request::builder().uri("/?call=demo").header(header::HOST, host).body(()).expect("a request");
        let answer = redirect(&request("192.0.2.1:8066"));
        assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(answer.headers()[header::LOCATION], "https://192.0.2.1:8066/?call=demo");
        for wrong in ["", "a b", "a@b"] {
            assert_eq!(redirect(&request(wrong)).status(), StatusCode::BAD_REQUEST, "{wrong}");
        }
    }
}
