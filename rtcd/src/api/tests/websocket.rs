use super::*;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

fn leave(session: &str) -> Message {
    Message::Binary(ClientMessage::Leave { session: session.into() }.encode().into())
}

/// The next binary frame, past pings.
async fn receive(socket: &mut WebSocketStream<TcpStream>) -> ServerMessage {
    loop {
        match timeout(Duration::from_secs(5), socket.next()).await.expect("a frame comes").unwrap().unwrap() {
            Message::Binary(bytes) => return ServerMessage::decode(&bytes).unwrap(),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn connected(world: &mut World) -> (WebSocketStream<TcpStream>, mpsc::Sender<ServerMessage>) {
    world.register("a").await;
    let socket = world.dial(&basic("a", KEY)).await.unwrap();
    let Heard::Connected(client, outgoing) = world.hear().await else { panic!("not connected") };
    assert_eq!(client, "a".into());
    (socket, outgoing)
}

#[tokio::test]
async fn a_failed_authentication_is_unauthorized() {
    let world = World::new(OPEN).await;
    for who in [basic("a", KEY), basic("", ADMIN), "Bearer nonsense".into(), "rubbish".into()] {
        assert_eq!(world.dial(&who).await.err(), Some(401), "{who}");
    }
}

#[tokio::test]
async fn messages_travel_both_ways_and_hello_comes_first() {
    let mut world = World::new(OPEN).await;
    let (mut socket, outgoing) = connected(&mut world).await;
    let ServerMessage::Hello { client, conn } = receive(&mut socket).await else { panic!("no hello") };
    assert_eq!((client.as_str(), conn.as_str().len()), ("a", 26));
    socket.send(leave("s")).await.unwrap();
    assert!(matches!(world.hear().await, Heard::Message(Ok(ClientMessage::Leave { .. }))));
    let close = ServerMessage::Close { session: "s".into() };
    outgoing.send(close.clone()).await.unwrap();
    assert_eq!(receive(&mut socket).await, close);
    let metrics = world.get("/metrics", "").await.1;
    assert!(metrics.contains("rtcd_ws_connections_total{clientID=\"a\"} 1"), "{metrics}");
    socket.close(None).await.unwrap();
    assert!(matches!(world.hear().await, Heard::Disconnected));
}

#[tokio::test]
async fn a_bearer_token_opens_a_websocket_too() {
    let world = World::new(OPEN).await;
    world.register("a").await;
    let (_, answer) = world.post("/login", "", json!({"clientID": "a", "authKey": KEY})).await;
    assert!(world.dial(&format!("Bearer {}", answer["bearerToken"].as_str().unwrap())).await.is_ok());
}

#[tokio::test]
async fn rubbish_and_text_are_reported_and_the_connection_stays() {
    let mut world = World::new(OPEN).await;
    let (mut socket, _outgoing) = connected(&mut world).await;
    for frame in
        [Message::Text("hello".into()), Message::Binary(vec![0xc1; 20].into()), Message::Binary(Vec::new().into())]
    {
        socket.send(frame).await.unwrap();
        assert!(matches!(world.hear().await, Heard::Message(Err(_))));
    }
    socket.send(leave("s")).await.unwrap();
    assert!(matches!(world.hear().await, Heard::Message(Ok(_))));
}

#[tokio::test]
async fn a_message_of_more_than_a_mebibyte_ends_the_connection() {
    let mut world = World::new(OPEN).await;
    let (mut socket, _outgoing) = connected(&mut world).await;
    let _ = socket.send(Message::Binary(vec![0; 1024 * 1024].into())).await;
    assert!(matches!(world.hear().await, Heard::Message(Err(_))), "just fits");
    let _ = socket.send(Message::Binary(vec![0; 1024 * 1024 + 1].into())).await;
    assert!(matches!(world.hear().await, Heard::Disconnected));
}

#[tokio::test]
async fn a_peer_that_answers_pings_stays_and_a_silent_one_is_dropped() {
    let mut world = World::new(OPEN).await;
    let (mut socket, _outgoing) = connected(&mut world).await;
    let until = Instant::now() + 3 * OPEN.deadlines.silence;
    // Reading is what makes the client answer pings.
    while let Ok(frame) = tokio::time::timeout_at(until, socket.next()).await {
        assert!(matches!(frame, Some(Ok(Message::Binary(_) | Message::Ping(_)))), "{frame:?}");
    }
    assert!(world.heard.try_recv().is_err(), "it is still connected");
    assert!(matches!(world.hear().await, Heard::Disconnected));
}

#[tokio::test]
async fn what_is_queued_goes_out_before_the_goodbye_when_the_daemon_stops() {
    let mut world = World::new(OPEN).await;
    let (mut socket, outgoing) = connected(&mut world).await;
    receive(&mut socket).await;
    for session in ["s1", "s2", "s3"] {
        outgoing.send(ServerMessage::Close { session: session.into() }).await.unwrap();
    }
    world.stop.take().unwrap().send(()).unwrap();
    for session in ["s1", "s2", "s3"] {
        assert_eq!(receive(&mut socket).await, ServerMessage::Close { session: session.into() });
    }
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("no goodbye") };
    assert_eq!(frame.code, CloseCode::Away);
    timeout(Duration::from_secs(3), &mut world.served).await.expect("serve returns").unwrap();
}

#[tokio::test]
async fn a_connection_that_the_actor_gives_up_is_closed() {
    let mut world = World::new(OPEN).await;
    let (mut socket, outgoing) = connected(&mut world).await;
    receive(&mut socket).await;
    drop(outgoing);
    // The stand-in kept no sender, so the queue has ended.
    let closed = async { while !matches!(socket.next().await, None | Some(Ok(Message::Close(_)) | Err(_))) {} };
    timeout(Duration::from_secs(3), closed).await.expect("it is closed");
}

#[tokio::test]
async fn a_page_from_elsewhere_may_not_open_a_websocket_and_a_plain_get_is_told_so() {
    let world = World::new(OPEN).await;
    world.register("a").await;
    let who = basic("a", KEY);
    let upgrade =
        "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let get = async |more: String| {
        world.raw(&format!("GET /ws HTTP/1.1\r\nHost: rtcd\r\nAuthorization: {who}\r\n{more}\r\n")).await.0
    };
    assert_eq!(get("Connection: close\r\n".into()).await, 400);
    assert_eq!(get(format!("{upgrade}Sec-WebSocket-Version: 12\r\n")).await, 400);
    assert_eq!(get(format!("{upgrade}Sec-WebSocket-Version: 13\r\nOrigin: https://evil.example\r\n")).await, 403);
    assert_eq!(get(format!("{upgrade}Sec-WebSocket-Version: 13\r\nOrigin: http://rtcd\r\n")).await, 101);
}
