//! The client against servers that answer well, badly and not at all.

use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

use super::*;

/// A server that reads one request, answers with `answer` and hangs up. Joining
/// it gives the request.
struct Server {
    folder: tempfile::TempDir,
    thread: JoinHandle<String>,
}

impl Server {
    fn new(answer: impl Into<Vec<u8>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        let answer = answer.into();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let request = read_request(&stream);
            // The client may have had enough before the end.
            let _ = stream.write_all(&answer);
            request
        });
        Self { folder, thread }
    }

    fn client(&self) -> Client {
        Client::new(&self.folder.path().join("socket"))
    }

    fn request(self) -> String {
        self.thread.join().unwrap()
    }
}

fn read_request(stream: &UnixStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut request).unwrap() > 0, "{request}");
    }
    let length = request
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    request + &String::from_utf8(body).unwrap()
}

fn get(answer: impl Into<Vec<u8>>) -> Result<Vec<u32>, ClientError> {
    Server::new(answer).client().get("/v1/numbers")
}

fn garbled(answer: impl Into<Vec<u8>>) -> String {
    match get(answer) {
        Err(ClientError::Garbled(what)) => what,
        other => panic!("not garbled: {other:?}"),
    }
}

#[test]
fn a_body_of_a_known_length_is_read_to_its_end_and_not_beyond() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[1,2] and more";
    assert_eq!(get(answer).unwrap(), [1, 2]);
}

#[test]
fn a_body_without_a_length_ends_with_the_connection() {
    assert_eq!(get("HTTP/1.1 200 OK\r\n\r\n[1,2,3]").unwrap(), [1, 2, 3]);
}

#[test]
fn a_body_in_chunks_is_put_together() {
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n\
                  3\r\n[1,\r\nA;note=x\r\n        22\r\n1\r\n]\r\n0\r\nTrailer: x\r\n\r\n";
    assert_eq!(get(answer).unwrap(), [1, 22]);
}

#[test]
fn a_get_is_a_plain_request() {
    let server = Server::new("HTTP/1.1 200 OK\r\n\r\n[]");
    server.client().get::<Vec<u32>>("/v1/services").unwrap();
    let request = server.request();
    assert!(request.starts_with("GET /v1/services HTTP/1.1\r\nHost: localhost\r\n"));
    assert!(request.contains("\r\nConnection: close\r\n"));
    assert!(request.ends_with("\r\n\r\n"));
}

#[test]
fn a_post_sends_its_body_and_takes_any_answer() {
    let server = Server::new("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
    let client = server.client();
    client
        .post_json("/v1/power", r#"{"action":"reboot"}"#)
        .unwrap();
    let request = server.request();
    assert!(request.starts_with("POST /v1/power HTTP/1.1\r\n"));
    assert!(request.contains("\r\nContent-Length: 19\r\n"));
    assert!(request.ends_with("\r\n\r\n{\"action\":\"reboot\"}"));
}

#[test]
fn a_refusal_is_told_in_the_words_of_the_runtime() {
    let answer = "HTTP/1.1 409 Conflict\r\n\r\n{\"error\":\"ntp ended with status 1\"}";
    let error = get(answer).unwrap_err();
    assert!(matches!(error, ClientError::Refused { status: 409, .. }));
    assert_eq!(error.to_string(), "ntp ended with status 1");
}

#[test]
fn a_refusal_without_words_is_told_by_its_status() {
    for body in ["", "<html>", "{}", "{\"error\":7}"] {
        let error = get(format!("HTTP/1.1 500 Oh\r\n\r\n{body}")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "system-runtime refuses GET /v1/numbers with status 500"
        );
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let answer = "HTTP/1.1 302 Found\r\nLocation: http://example.org/\r\n\r\n";
    assert!(matches!(
        get(answer),
        Err(ClientError::Refused { status: 302, .. })
    ));
}

#[test]
fn what_is_not_http_is_garbled() {
    for answer in [
        "hello\r\n\r\n",
        "\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n[]",
    ] {
        garbled(answer);
    }
    garbled([0xff, 0x00, b'\n', b'\r', b'\n']);
}

#[test]
fn what_is_not_the_json_that_was_asked_for_is_garbled() {
    garbled("HTTP/1.1 200 OK\r\n\r\n[1,2");
    garbled("HTTP/1.1 200 OK\r\n\r\n{\"a\":1}");
    garbled("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    garbled("HTTP/1.1 204 No Content\r\n\r\n[1]");
}

#[test]
fn an_answer_that_breaks_off_is_garbled() {
    for answer in [
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1,2]",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1,2]\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n[1,2]",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1,2]\r\n0\r\n",
    ] {
        garbled(answer);
    }
}

#[test]
fn chunks_that_lie_about_their_size_are_garbled() {
    for chunks in [
        "x\r\n[]\r\n0\r\n\r\n",
        "1\r\n[1,2]\r\n0\r\n\r\n",
        "-2\r\n[]\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n[]\r\n0\r\n\r\n",
        "\r\n\r\n",
    ] {
        garbled(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
        ));
    }
}

#[test]
fn nothing_without_end_is_read_into_memory() {
    let head = "HTTP/1.1 200 OK\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long = "a".repeat(MAX_HEAD as usize);
    assert!(garbled(format!("{head}X: {long}\r\n\r\n[]")).contains("longer than 16384"));
    assert!(garbled(format!("{head}{}\r\n[]", "X: y\r\n".repeat(65))).contains("headers"));
    assert!(garbled(format!("{chunked}2;{long}\r\n[]")).contains("too long"));
    assert!(garbled(format!("{chunked}0\r\n{}\r\n", "X: y\r\n".repeat(80))).contains("trailers"));
    let body = " ".repeat(MAX_BODY as usize);
    assert!(garbled(format!("{head}\r\n[]{body}")).contains("longer than"));
}

#[test]
fn a_stream_is_read_as_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let (go_on, wait) = std::sync::mpsc::channel();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&stream);
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        wait.recv().unwrap();
        stream.write_all(b"4\r\ntwo\n\r\n0\r\n\r\n").unwrap();
    });
    let body = Client::new(&socket).stream("/", Wait::Long).unwrap();
    let mut lines = BufReader::new(body).lines();
    // The server holds the second line back until the first has been read.
    assert_eq!(lines.next().unwrap().unwrap(), "one");
    go_on.send(()).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "two");
    assert!(lines.next().is_none());
    server.join().unwrap();
}

#[test]
fn a_socket_that_nobody_listens_on_is_told_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let error = Client::new(&socket).get::<u32>("/").unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }));
    assert!(error.to_string().starts_with("system-runtime does not run"));
    drop(UnixListener::bind(&socket).unwrap());
    let error = Client::new(&socket).get::<u32>("/").unwrap_err();
    assert!(error.to_string().starts_with("system-runtime does not run"));
}

#[test]
fn a_server_that_hangs_up_at_once_is_unreachable() {
    assert!(matches!(get(""), Err(ClientError::Unreachable { .. })));
}

#[test]
fn a_name_cannot_lead_to_another_request() {
    assert_eq!(escape("ntp"), "ntp");
    assert_eq!(escape("time-sync_2.x~"), "time-sync_2.x~");
    assert_eq!(escape(".."), "%2E%2E");
    assert_eq!(escape("a/b?c#d e\r\n%"), "a%2Fb%3Fc%23d%20e%0D%0A%25");
    assert_eq!(escape("ä"), "%C3%A4");
}
