//! Whether a client can log in over the WebSocket, as the Calls plugin does.
use super::PATIENCE;
use super::connect::Connector;
use super::fault::Fault;
use super::report::Report;
use crate::config::Secret;
use crate::signal::message::ServerMessage;
use base64::Engine as _;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::header::{AUTHORIZATION, HeaderValue};
use std::io::Write;
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

const WHAT: &str = "WebSocket";

/// Logs in and waits for `hello`.
pub async fn check(connector: &Connector, client_id: &str, key: &Secret, report: &mut Report<impl Write>) {
    match timeout(PATIENCE, login(connector, client_id, key)).await {
        Ok(Ok(())) => report.ok(WHAT, format!("{client_id} is greeted")),
        Ok(Err((error, advice))) => report.fail(WHAT, error, advice),
        Err(_) => report.fail(WHAT, format!("no greeting within {} s", PATIENCE.as_secs()), "look into rtcd's log"),
    }
}

async fn login(connector: &Connector, client_id: &str, key: &Secret) -> Result<(), (String, &'static str)> {
    const PROXY: &str = "does a proxy in between pass WebSockets on?";
    let target = &connector.target;
    let scheme = if target.tls { "wss" } else { "ws" };
    let url = format!("{scheme}://{}{}/ws", target.authority(), target.prefix);
    let mut request =
        url.into_client_request().map_err(|_| ("the URL cannot be used".into(), "check how it is spelt"))?;
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{client_id}:{}", key.expose()));
    let mut header = HeaderValue::try_from(format!("Basic {credentials}"))
        .map_err(|_| ("the key cannot be sent".to_owned(), "check the key"))?;
    header.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, header);
    let connection = connector.connect().await.map_err(|fault| (fault.to_string(), PROXY))?;
    let (mut socket, _) = client_async(request, connection.stream).await.map_err(|error| match error {
        Error::Http(answer) if answer.status() == 401 => {
            (format!("{client_id} is refused"), "register the client, or give the key that it was registered with")
        }
        // The reference answers an empty 200 to wrong credentials.
        Error::Http(answer) => {
            (format!("status {}", answer.status()), "check the credentials, and any proxy in between")
        }
        Error::Io(error) => (Fault::of(&error).to_string(), PROXY),
        _ => ("the answer is no WebSocket".into(), PROXY),
    })?;
    while let Some(message) = socket.next().await {
        match message.map_err(|error| match error {
            Error::Io(error) => (Fault::of(&error).to_string(), PROXY),
            _ => ("the WebSocket broke off".into(), PROXY),
        })? {
            Message::Binary(frame) if matches!(ServerMessage::decode(&frame), Ok(ServerMessage::Hello { .. })) => {
                // Good manners; the answer is the same without.
                let _ = socket.send(Message::Close(None)).await;
                return Ok(());
            }
            Message::Ping(_) | Message::Pong(_) => {}
            _ => return Err(("the first message is no hello".into(), "is this the address of rtcd's API?")),
        }
    }
    Err(("closed without a hello".into(), "look into rtcd's log"))
}
