//! What passes through the http mode piece by piece: events, uploads, bodies
//! larger than memory, WebSockets.

use std::{
    io::{Read, Write},
    sync::{Mutex, mpsc},
    thread,
};

use crate::{
    support::{Watchdog, is_closed, receive, receive_chunk, receive_head, send, until},
    upstream::Upstream,
};

/// What a watchdog may need at most, in KiB, when it keeps no bodies: several
/// times what it needs in a debug build.
const PEAK: u64 = 24 << 10;
/// A body that is larger.
const LARGE: usize = 64 << 20;

fn before(upstream: &Upstream, variables: &[(&str, &str)]) -> Watchdog {
    let given = [
        ("mode", "http"),
        ("fprocess", "sleep 1000"),
        ("upstream_url", upstream.url.as_str()),
    ];
    Watchdog::start(&[&given, variables].concat())
}

#[test]
fn events_are_passed_on_one_by_one() {
    for kind in ["text/event-stream", "application/x-ndjson"] {
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let upstream = Upstream::start(move |connection| {
            connection.request();
            connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for chunk in ["3\r\none\r\n", "3\r\ntwo\r\n", "0\r\n\r\n"] {
                connection.write(chunk);
                wait.lock().unwrap().recv().unwrap();
            }
        });
        let watchdog = before(&upstream, &[]);
        let mut stream = watchdog.connect();
        send(&mut stream, "GET", "/", &[&format!("Accept: {kind}")], b"");
        assert_eq!(receive_head(&mut stream).status, 200);
        for expected in [Some(&b"one"[..]), Some(b"two"), None] {
            // The next one is not sent before this one has arrived.
            assert_eq!(receive_chunk(&mut stream).as_deref(), expected);
            let _ = go.send(());
        }
    }
}

#[test]
fn an_upload_is_passed_on_piece_by_piece() {
    let (told, tell) = mpsc::channel();
    let told = Mutex::new(told);
    let upstream = Upstream::start(move |connection| {
        connection.head();
        while let Some(chunk) = connection.chunk() {
            told.lock().unwrap().send(chunk).unwrap();
        }
        connection.answer("all");
    });
    let watchdog = before(&upstream, &[]);
    let mut stream = watchdog.connect();
    send(
        &mut stream,
        "POST",
        "/",
        &["Transfer-Encoding: chunked"],
        b"",
    );
    for piece in ["one", "two"] {
        write!(stream, "3\r\n{piece}\r\n").unwrap();
        assert_eq!(tell.recv().unwrap(), piece.as_bytes());
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(receive(&mut stream).text(), "all");
}

#[test]
fn large_bodies_are_not_kept() {
    let upstream = Upstream::start(|connection| {
        connection.head();
        let mut buffer = vec![0; 1 << 20];
        let mut left = LARGE;
        while left > 0 {
            left -= connection.read(&mut buffer);
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
        connection.write(head);
        for _ in 0..LARGE / buffer.len() {
            connection.write(&buffer);
        }
        connection.head();
    });
    let watchdog = before(&upstream, &[]);
    let mut stream = watchdog.connect();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..LARGE / piece.len() {
        stream.write_all(&piece).unwrap();
    }
    assert_eq!(receive(&mut stream).body.len(), LARGE);
    assert!(watchdog.peak() < PEAK, "{} KiB", watchdog.peak());
}

#[test]
fn a_websocket_is_a_connection_both_ways() {
    let upstream = Upstream::start(|connection| {
        let request = connection.head().unwrap();
        assert_eq!(request.header("upgrade"), Some("websocket"));
        assert_eq!(request.header("connection"), Some("Upgrade"));
        let key = request.header("sec-websocket-key").unwrap().to_owned();
        connection.write(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {key}!\r\n\r\nhello"
        ));
        let mut buffer = [0; 1024];
        loop {
            match connection.read(&mut buffer) {
                0 => return,
                read => connection.write(&buffer[..read]),
            }
        }
    });
    let watchdog = before(&upstream, &[("max_inflight", "1")]);
    let mut stream = watchdog.connect();
    let headers = [
        "Connection: keep-alive, Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: abc",
    ];
    send(&mut stream, "GET", "/chat", &headers, b"");
    let answer = receive_head(&mut stream);
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("sec-websocket-accept"), Some("abc!"));
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"hello");
    for message in [b"\x81\x03one", b"\x00\xff\x0d\x0a\x00"] {
        stream.write_all(message).unwrap();
        stream.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, message);
    }
    // It counts as a request for as long as it lasts.
    assert_eq!(watchdog.post(b"").status, 429);
    drop(stream);
    until("closed", || {
        watchdog.request("GET", "/_/ready", &[], b"").status == 200
    });
}

#[test]
fn a_process_that_wants_no_websocket_can_say_so() {
    let upstream = Upstream::answering("HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno");
    let watchdog = before(&upstream, &[]);
    let headers = ["Connection: Upgrade", "Upgrade: websocket"];
    let answer = watchdog.request("GET", "/", &headers, b"");
    assert_eq!((answer.status, answer.text()), (400, "no"));
}

#[test]
fn no_other_protocol_is_switched_to() {
    let upstream = Upstream::mirror();
    let watchdog = before(&upstream, &[]);
    let headers = [
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABk",
    ];
    let answer = watchdog.request("GET", "/", &headers, b"");
    assert!(!answer.text().contains("h2c"), "{}", answer.text());
    assert!(
        !answer
            .text()
            .to_ascii_lowercase()
            .contains("http2-settings")
    );

    let forward = Upstream::answering("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n");
    let watchdog = before(&forward, &[]);
    assert_eq!(watchdog.request("GET", "/", &[], b"").status, 500);
}

#[test]
fn a_websocket_ends_with_its_time() {
    let upstream = Upstream::start(|connection| {
        connection.head();
        connection.write(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        connection.head();
    });
    let watchdog = before(&upstream, &[("exec_timeout", "300ms")]);
    let mut stream = watchdog.connect();
    let headers = ["Connection: Upgrade", "Upgrade: websocket"];
    send(&mut stream, "GET", "/", &headers, b"");
    assert_eq!(receive_head(&mut stream).status, 101);
    assert!(is_closed(&mut stream));
}

#[test]
fn many_callers_at_a_time_each_get_their_answer() {
    let upstream = Upstream::start(|connection| {
        while let Some(request) = connection.request() {
            connection.answer(&String::from_utf8(request.body).unwrap());
        }
    });
    let watchdog = before(&upstream, &[]);
    thread::scope(|scope| {
        for caller in 0..20 {
            let watchdog = &watchdog;
            scope.spawn(move || {
                let mut stream = watchdog.connect();
                for request in 0..50 {
                    let body = format!("{caller} {request}");
                    send(&mut stream, "POST", "/", &[], body.as_bytes());
                    assert_eq!(receive(&mut stream).text(), body);
                }
            });
        }
    });
    assert!(upstream.connections() < 100, "{}", upstream.connections());
}
