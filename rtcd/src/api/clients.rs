//! `/register`, `/unregister`, `/rotate`, `/clients`, `/login`.
use super::Api;
use super::error::{json, refuse, refuse_auth, reply};
use super::guard::Peer;
use crate::auth::{AuthError, Claim, Identity, Secret};
use crate::ids::ClientId;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use http_body_util::{BodyExt as _, Limited};
use std::collections::HashMap;
use tracing::info;

/// Longest body that is read: a client id and a key need some 100 bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// `POST /register`.
pub async fn register(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    // Who has shown who it is does not wait with strangers.
    let claim = match api.is_open() && !peer.is_local() {
        true => Claim::Unknown,
        false => match api.identify(&headers, &peer).await {
            Ok(_) => Claim::Registered,
            Err(error) => return refuse_auth(&error, ""),
        },
    };
    let fields = match Fields::read(&api, body).await {
        Ok(fields) => fields,
        Err(response) => return response,
    };
    let client = fields.client();
    match api.inner.auth.register(&client, &fields.key(), peer.source(), claim).await {
        Ok(()) => {
            info!(group_id = %client, "client registered");
            reply(StatusCode::CREATED, &[("clientID", client.as_str())])
        }
        Err(error) => {
            api.note_refusal(&error, Some(client.as_str()), &peer);
            refuse_auth(&error, "registration failed: ")
        }
    }
}

/// `POST /unregister`.
pub async fn unregister(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if !api.is_open() && !api.inner.auth.admin_enabled() && !peer.is_local() {
        return refuse(StatusCode::FORBIDDEN, "unregister not enabled");
    }
    let who = match api.identify(&headers, &peer).await {
        Ok(who) => who,
        Err(error) => return refuse_auth(&error, ""),
    };
    let fields = match Fields::read(&api, body).await {
        Ok(fields) => fields,
        Err(response) => return response,
    };
    let client = fields.client();
    if client.as_str().is_empty() {
        return refuse(StatusCode::BAD_REQUEST, "client id should not be empty");
    }
    if who != Identity::Admin && who != Identity::Client(client.clone()) {
        return refuse(StatusCode::FORBIDDEN, "client id not valid");
    }
    match api.inner.auth.unregister(&client).await {
        Ok(()) => {
            info!(group_id = %client, "client unregistered");
            // When signalling has ended, nothing of the client is left anyway.
            let _ = api.inner.signal.client_gone(client).await;
            reply(StatusCode::OK, &[])
        }
        Err(error) => refuse_auth(&error, "unregister failed: "),
    }
}

/// `POST /rotate`, for the admin alone: another key for a client. The reference has no such call.
pub async fn rotate(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if let Err(response) = admin_only(&api, &headers, &peer).await {
        return response;
    }
    let fields = match Fields::read(&api, body).await {
        Ok(fields) => fields,
        Err(response) => return response,
    };
    let client = fields.client();
    match api.inner.auth.rotate(&client, &fields.key(), peer.source()).await {
        Ok(()) => {
            info!(group_id = %client, "client has another key");
            reply(StatusCode::OK, &[("clientID", client.as_str())])
        }
        Err(error) => refuse_auth(&error, "rotation failed: "),
    }
}

/// `GET /clients`, for the admin alone: the ids of all clients. The reference has no such call.
pub async fn list(State(api): State<Api>, Extension(peer): Extension<Peer>, headers: HeaderMap) -> Response {
    if let Err(response) = admin_only(&api, &headers, &peer).await {
        return response;
    }
    match api.inner.auth.clients().await {
        Ok(clients) => {
            let ids: Vec<_> = clients.iter().map(ClientId::as_str).collect();
            json(StatusCode::OK, &serde_json::json!({"clients": ids, "code": "200"}))
        }
        Err(error) => refuse_auth(&error, "listing failed: "),
    }
}

pub(super) async fn admin_only(api: &Api, headers: &HeaderMap, peer: &Peer) -> Result<(), Response> {
    match api.identify(headers, peer).await {
        Ok(Identity::Admin) => Ok(()),
        Ok(Identity::Client(_)) => Err(refuse(StatusCode::FORBIDDEN, "only the admin may")),
        Err(error) => Err(refuse_auth(&error, "")),
    }
}

/// `POST /login`.
pub async fn login(State(api): State<Api>, Extension(peer): Extension<Peer>, body: Body) -> Response {
    let fields = match Fields::read(&api, body).await {
        Ok(fields) => fields,
        Err(response) => return response,
    };
    let client = fields.client();
    match api.inner.auth.login(&client, &fields.key(), peer.source()).await.inspect_err(|error| {
        api.note_refusal(error, Some(client.as_str()), &peer);
    }) {
        Ok(token) => {
            peer.known();
            reply(StatusCode::OK, &[("bearerToken", token.expose())])
        }
        Err(AuthError::Denied(_)) => refuse(StatusCode::BAD_REQUEST, "login failed: authentication failed"),
        Err(error) => refuse_auth(&error, "login failed: "),
    }
}

/// A body: a JSON object of strings.
pub(super) struct Fields(HashMap<String, Option<String>>);

impl Fields {
    pub(super) async fn read(api: &Api, body: Body) -> Result<Self, Response> {
        let collected =
            tokio::time::timeout(api.inner.config.deadlines.request, Limited::new(body, MAX_BODY_BYTES).collect());
        let bytes = match collected.await {
            Err(_) => return Err(refuse(StatusCode::REQUEST_TIMEOUT, "the request body came too slowly")),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(refuse(StatusCode::BAD_REQUEST, "http: request body too large"));
            }
            Ok(Err(_)) => return Err(refuse(StatusCode::BAD_REQUEST, "the request body ended early")),
            Ok(Ok(collected)) => collected.to_bytes(),
        };
        // The parser's own text could quote a key; line and column are enough.
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let place = format!("line {} column {}", error.line(), error.column());
            refuse(StatusCode::BAD_REQUEST, &format!("the request body is not a JSON object of strings: {place}"))
        })
    }

    fn client(&self) -> ClientId {
        self.text("clientID").into()
    }

    fn key(&self) -> Secret {
        self.text("authKey").into()
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Option::as_deref).unwrap_or_default()
    }
}
