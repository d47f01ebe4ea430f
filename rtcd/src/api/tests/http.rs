use super::*;

#[tokio::test]
async fn the_version_is_one_that_the_plugin_takes() {
    let world = World::new(OPEN).await;
    let (status, body) = world.get("/version", "").await;
    let about: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200);
    for key in ["buildDate", "buildVersion", "buildHash", "goVersion", "goOS", "goArch", "build_version", "build_hash"]
    {
        assert!(about[key].is_string(), "{key} in {body}");
    }
    let version = about["buildVersion"].as_str().unwrap();
    assert!(version.starts_with("dev") || version.starts_with('v'), "{version}");
}

#[tokio::test]
async fn the_load_is_a_number_and_huge_while_draining() {
    let world = World::new(OPEN).await;
    let load = |body: &str| serde_json::from_str::<Value>(body).unwrap()["cpu_load"].as_f64().unwrap();
    let (status, body) = world.get("/system", "").await;
    assert!(status == 200 && load(&body) > 0.0 && load(&body) < 1e6, "{body}");
    world.api.set_draining(true);
    assert!(load(&world.get("/system", "").await.1) >= 1e9);
}

#[tokio::test]
async fn the_metrics_include_the_counters_of_the_plane() {
    let world = World::new(OPEN).await;
    let (status, head, body) = world.send("GET", "/metrics", "", "").await;
    assert_eq!(status, 200);
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("rtcd_plane_received_total 7"), "{body}");
}

#[tokio::test]
async fn the_metrics_are_gzipped_for_whoever_reads_that_and_answer_head() {
    let world = World::new(OPEN).await;
    for (method, accept, encoded, empty) in
        [("GET", "deflate, gzip;q=0.5", true, false), ("GET", "gzip;q=0", false, false), ("HEAD", "", false, true)]
    {
        let request =
            format!("{method} /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: {accept}\r\n\r\n");
        let (status, head, body) = world.raw(&request).await;
        assert_eq!((status, head.contains("content-encoding: gzip"), body.is_empty()), (200, encoded, empty), "{head}");
    }
}

#[tokio::test]
async fn a_path_that_is_not_quite_right_is_sent_where_it_belongs() {
    let world = World::new(OPEN).await;
    for path in ["//register?x=1", "/register/?x=1", "/./register?x=1", "/x/../register?x=1"] {
        let (status, head, _) = world.send("POST", path, "", "{}").await;
        assert!(status == 307 && head.contains("location: /register?x=1\r\n"), "{path}: {head}");
    }
}

#[tokio::test]
async fn what_go_takes_is_taken() {
    let world = World::new(OPEN).await;
    let long = format!("GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: {}\r\n\r\n", "x".repeat(60_000));
    assert_eq!(world.raw(&long).await.0, 200, "one long header");
    let many: String =
        (0..1000).map(|number| format!("X-{number}: some forty-five bytes for each of a thousand\r\n")).collect();
    let many = format!("GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{many}\r\n");
    assert_eq!(world.raw(&many).await.0, 200, "many headers");
    let absolute = "GET http://rtcd:8045/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(world.raw(absolute).await.0, 200, "a proxy's form");
    let body = json!({"clientID": "chunky", "authKey": KEY}).to_string();
    let chunked = format!(
        "POST /register HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    assert_eq!(world.raw(&chunked).await.0, 201, "a body in chunks");
    let old = "GET /version HTTP/1.0\r\n\r\n";
    assert_eq!(world.raw(old).await.0, 200, "an old protocol");
    let expecting =
        "POST /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}";
    let (status, _, rest) = world.raw(expecting).await;
    assert!(status == 100 && rest.starts_with("HTTP/1.1 400"), "{status} {rest}");
}

#[tokio::test]
async fn a_wrong_method_and_an_unknown_path_are_not_found() {
    let world = World::new(OPEN).await;
    let wrong = [
        ("POST", "/version"),
        ("HEAD", "/version"),
        ("DELETE", "/system"),
        ("POST", "/metrics"),
        ("GET", "/register"),
        ("PUT", "/unregister"),
        ("GET", "/login"),
        ("POST", "/calls/c/sessions"),
        ("DELETE", "/calls/c/sessions/s"),
        ("POST", "/ws"),
        ("GET", "/"),
        ("GET", "/calls/c"),
        ("GET", "/nothing/"),
    ];
    for (method, path) in wrong {
        assert_eq!(world.send(method, path, "", "").await.0, 404, "{method} {path}");
    }
}

#[tokio::test]
async fn registering_has_these_answers() {
    let world = World::new(OPEN).await;
    world.register("a").await;
    let long = "k".repeat(73);
    let cases = [
        (json!({"clientID": "b", "authKey": "short"}), "registration failed: key not long enough"),
        (json!({"clientID": "b"}), "registration failed: key not long enough"),
        (json!({"clientID": "a", "authKey": KEY}), "registration failed: already registered"),
        (json!({"clientID": "", "authKey": KEY}), "registration failed: error: empty key"),
        (json!({"clientID": null, "authKey": KEY}), "registration failed: error: empty key"),
        (json!({"clientID": "b", "authKey": long}), "registration failed: bcrypt: password length exceeds 72 bytes"),
    ];
    for (body, error) in cases {
        assert_eq!(world.post("/register", "", body).await, (400, json!({"code": "400", "error": error})));
    }
}

#[tokio::test]
async fn a_body_that_is_no_object_of_strings_is_refused_without_an_echo_of_it() {
    let world = World::new(OPEN).await;
    let bad = [json!(["a"]), json!("secret"), json!({"clientID": 1, "authKey": KEY}), json!({"authKey": {"a": KEY}})];
    for body in bad {
        for path in ["/register", "/login"] {
            let (status, answer) = world.post(path, "", body.clone()).await;
            assert_eq!((status, &answer["code"]), (400, &json!("400")), "{body}");
            assert!(!answer.to_string().contains(KEY) && !answer.to_string().contains("secret"), "{answer}");
        }
    }
    let (status, _, body) = world.send("POST", "/login", "", "{\"clientID\": ").await;
    assert_eq!(status, 400, "{body}");
}

#[tokio::test]
async fn an_oversized_body_or_head_is_refused() {
    let world = World::new(OPEN).await;
    let big = "x".repeat(300_000);
    let body = json!({"clientID": big, "authKey": KEY}).to_string();
    assert_eq!(world.send("POST", "/register", "", &body).await.0, 400);
    assert!(matches!(world.send("GET", &format!("/{big}"), "", "").await.0, 414 | 431));
    assert_eq!(world.send("GET", "/version", &big, "").await.0, 431);
    assert_eq!(world.get("/version", "").await.0, 200);
}

#[tokio::test]
async fn registering_needs_credentials_unless_it_is_open_to_all() {
    let world = World::new(Options { self_registration: false, ..OPEN }).await;
    let body = json!({"clientID": "a", "authKey": KEY});
    for nobody in ["", "Basic", "Bearer xyz", "Basic !", &basic("a", KEY), &basic("x", "wrong")] {
        let (status, answer) = world.post("/register", nobody, body.clone()).await;
        assert_eq!((status, &answer["code"]), (401, &json!("401")), "{nobody}");
    }
    assert_eq!(world.post("/register", &basic("", ADMIN), body).await.0, 201);
    let second = json!({"clientID": "b", "authKey": KEY});
    assert_eq!(world.post("/register", &basic("a", KEY), second).await.0, 201);
}

#[tokio::test]
async fn unregistering_has_these_answers() {
    let world = World::new(OPEN).await;
    world.register("a").await;
    world.register("b").await;
    let refused = |code: u16, error: &str| (code, json!({"code": code.to_string(), "error": error}));
    let a = basic("a", KEY);
    assert_eq!(world.post("/unregister", "", json!({"clientID": "a"})).await.0, 401);
    assert_eq!(world.post("/unregister", &a, json!({"clientID": "b"})).await, refused(403, "client id not valid"));
    assert_eq!(world.post("/unregister", &a, json!({})).await, refused(400, "client id should not be empty"));
    assert_eq!(
        world.post("/unregister", &basic("", ADMIN), json!({"clientID": "c"})).await,
        refused(400, "unregister failed: error: not found")
    );
    assert_eq!(world.post("/unregister", &a, json!({"clientID": "a"})).await, (200, json!({"code": "200"})));
    assert_eq!(world.post("/unregister", &basic("", ADMIN), json!({"clientID": "b"})).await.0, 200);
    assert_eq!(world.post("/unregister", &a, json!({"clientID": "a"})).await.0, 401);
}

#[tokio::test]
async fn unregistering_is_off_while_nobody_may_register() {
    let world = World::new(Options { self_registration: false, admin: false, ..OPEN }).await;
    let answer = world.post("/unregister", "", json!({"clientID": "a"})).await;
    assert_eq!(answer, (403, json!({"code": "403", "error": "unregister not enabled"})));
}

#[tokio::test]
async fn a_login_gives_a_token_that_works_until_the_client_goes() {
    let world = World::new(OPEN).await;
    world.register("a").await;
    let (status, answer) = world.post("/login", "", json!({"clientID": "a", "authKey": KEY})).await;
    assert_eq!((status, &answer["code"]), (200, &json!("200")));
    let token = answer["bearerToken"].as_str().unwrap();
    assert_eq!(token.len(), 32);
    let bearer = format!("Bearer {token}");
    assert_eq!(world.get("/calls/unknown/sessions", &bearer).await.0, 404);
    assert_eq!(world.post("/unregister", &bearer, json!({"clientID": "a"})).await.0, 200);
    assert_eq!(world.get("/calls/unknown/sessions", &bearer).await.0, 401);
}

#[tokio::test]
async fn a_wrong_key_and_an_unknown_client_get_the_same_answer_to_a_login() {
    let world = World::new(OPEN).await;
    world.register("a").await;
    let failed = (400, json!({"code": "400", "error": "login failed: authentication failed"}));
    for body in [json!({"clientID": "a", "authKey": "wrong"}), json!({"clientID": "x", "authKey": KEY}), json!({})] {
        assert_eq!(world.post("/login", "", body).await, failed);
    }
}

#[tokio::test]
async fn the_sessions_of_a_call_are_for_its_client_alone() {
    let world = World::new(OPEN).await;
    world.register("a").await;
    world.register("b").await;
    let a = basic("a", KEY);
    let session = json!({"GroupID": "a", "CallID": "call/1", "UserID": "user", "SessionID": "session",
        "Props": {"channelID": "channel", "av1Support": true, "dcSignaling": false}});
    let get = async |path: &str, who: &str| {
        let (status, body) = world.get(path, who).await;
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    };
    assert_eq!(get("/calls/call%2F1/sessions", &a).await, (200, json!([session])));
    assert_eq!(get("/calls/call%2F1/sessions/session", &a).await, (200, session));
    assert_eq!(get("/calls/call%2F1/sessions/other", &a).await.0, 404);
    assert_eq!(get("/calls/other/sessions", &a).await.0, 404);
    assert_eq!(get("/calls/other/sessions/session", &a).await.0, 404);
    assert_eq!(get("/calls/call%2F1/sessions", &basic("b", KEY)).await.0, 404);
    assert_eq!(get("/calls/call%2F1/sessions", &basic("", ADMIN)).await.0, 401);
    assert_eq!(get("/calls/call%2F1/sessions", "").await.0, 401);
}

#[tokio::test]
async fn a_flood_of_logins_is_turned_away_and_leaves_the_rest_alone() {
    let world = World::new(OPEN).await;
    let limit = 13 * 12 * std::thread::available_parallelism().unwrap().get();
    let body = json!({"clientID": "x", "authKey": "y"}).to_string();
    let request = format!("POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut flood = Vec::new();
    let (status, head, body) = loop {
        // A busy machine may have answered the last flood before it is asked.
        for _ in 0..limit {
            let mut stream = TcpStream::connect(world.addr).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            flood.push(stream);
        }
        let answer = world.send("POST", "/login", "", &body).await;
        if answer.0 != 400 {
            break answer;
        }
    };
    assert_eq!(status, 503, "{body}");
    assert!(head.contains("retry-after: 10"), "{head}");
    let asked = Instant::now();
    assert_eq!(world.get("/version", "").await.0, 200);
    assert!(asked.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_peer_that_sends_its_request_drop_by_drop_loses_its_connection() {
    let world = World::new(OPEN).await;
    let starts =
        ["", "GET /version HTTP/1.1\r\nX-A: ", "POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"];
    for start in starts {
        let mut stream = TcpStream::connect(world.addr).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        let begun = Instant::now();
        let mut answer = Vec::new();
        let end = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        assert!(end.is_ok(), "still open {:?} after {start:?}", begun.elapsed());
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    }
}

#[tokio::test]
async fn silent_strangers_make_room_and_a_known_client_keeps_its_connection() {
    let world =
        World::new(Options { deadlines: Deadlines { request: Duration::from_secs(60), ..OPEN.deadlines }, ..OPEN })
            .await;
    world.register("a").await;
    let mut known = TcpStream::connect(world.addr).await.unwrap();
    let login = json!({"clientID": "a", "authKey": KEY}).to_string();
    let login = format!("POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{login}", login.len());
    let mut start = [0; 12];
    known.write_all(login.as_bytes()).await.unwrap();
    known.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    let mut silent = Vec::new();
    for _ in 0..world.api.inner.guard.max() + 50 {
        let mut stream = TcpStream::connect(world.addr).await.unwrap();
        // Whoever is dropped at once is dropped.
        let _ = stream.write_all(b"GET /version HTTP/1.1\r\nX-Slow: ").await;
        silent.push(stream);
    }
    for _ in 0..10 {
        assert_eq!(timeout(Duration::from_secs(5), world.get("/version", "")).await.expect("in time").0, 200);
    }
    let mut rest = [0; 1000];
    let _ = known.try_read(&mut rest);
    known.write_all(login.as_bytes()).await.unwrap();
    timeout(Duration::from_secs(5), known.read_exact(&mut start)).await.expect("in time").expect("still open");
    let text = world.get("/metrics", "").await.1;
    let dropped = text.lines().find_map(|line| line.strip_prefix("rtcd_api_strangers_dropped_total ")).unwrap();
    assert!(dropped.parse::<u32>().unwrap() >= 50, "{dropped}");
}

#[tokio::test]
async fn stopping_ends_idle_connections_and_returns() {
    let mut world = World::new(OPEN).await;
    let mut idle = TcpStream::connect(world.addr).await.unwrap();
    idle.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut some = [0; 12];
    idle.read_exact(&mut some).await.unwrap();
    world.stop.take().unwrap().send(()).unwrap();
    timeout(Duration::from_secs(1), &mut world.served).await.expect("serve returns at once").unwrap();
    assert!(TcpStream::connect(world.addr).await.is_err());
}

#[tokio::test]
async fn a_connection_taken_just_before_the_end_is_answered() {
    let mut world = World::new(OPEN).await;
    let mut early = TcpStream::connect(world.addr).await.unwrap();
    let mut silent = TcpStream::connect(world.addr).await.unwrap();
    let taken = async {
        while world.api.inner.guard.len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(5), taken).await.expect("both are taken");
    let mut closing = world.api.inner.closing.subscribe();
    world.stop.take().unwrap().send(()).unwrap();
    closing.wait_for(|closing| *closing).await.unwrap();
    early.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    early.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0, "it is not waited for in vain");
    timeout(Duration::from_secs(5), &mut world.served).await.expect("serve returns").unwrap();
}
