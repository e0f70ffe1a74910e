//! The serializing mode: the output of a process is the answer once it has ended.

use std::io::Write;

use crate::support::{Watchdog, long_time, receive, running, script, send, until};

/// A watchdog that runs this for every request.
fn serializing(process: &str, variables: &[(&str, &str)]) -> Watchdog {
    let given = [("mode", "serializing"), ("fprocess", process)];
    Watchdog::start(&[&given, variables].concat())
}

#[test]
fn the_output_of_the_process_is_the_answer() {
    let watchdog = serializing("cat", &[]);
    let answer = watchdog.request("PUT", "/a", &["Content-Type: text/plain"], b"hello");
    assert_eq!((answer.status, answer.text()), (200, "hello"));
    assert_eq!(answer.header("content-length"), Some("5"));
    assert_eq!(
        answer.header("content-type"),
        Some("application/octet-stream")
    );
    let seconds: f64 = answer
        .header("x-duration-seconds")
        .unwrap()
        .parse()
        .unwrap();
    assert!(seconds > 0.0);
    until("logged", || watchdog.log().contains("PUT /a"));
    let log = watchdog.log();
    assert!(log.contains(" PUT /a - 200 - ContentLength: 5B ("), "{log}");
    assert_eq!(watchdog.request("OPTIONS", "/", &[], b"").status, 200);
}

#[test]
fn a_body_passes_whole_however_it_is_sent() {
    let watchdog = serializing("cat", &[]);
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    assert!(watchdog.post(&body).body == body);
    let mut stream = watchdog.connect();
    send(
        &mut stream,
        "POST",
        "/",
        &["Transfer-Encoding: chunked"],
        b"",
    );
    stream.write_all(b"3\r\nabc\r\n0\r\n\r\n").unwrap();
    assert_eq!(receive(&mut stream).text(), "abc");
}

#[test]
fn a_process_that_fails_is_a_500_that_says_how() {
    let watchdog = serializing(&script("echo answer; echo remark >&2; exit 4"), &[]);
    let answer = watchdog.post(b"");
    assert_eq!((answer.status, answer.text()), (500, "exit status 4"));
    assert!(answer.header("x-duration-seconds").is_some());
    until("logged", || watchdog.log().contains(" stderr: remark\n"));

    let watchdog = serializing("no-such-program", &[]);
    let answer = watchdog.post(b"");
    assert_eq!(answer.status, 500);
    assert!(answer.text().starts_with("exec: \"no-such-program\""));
}

#[test]
fn a_process_that_takes_too_long_is_killed_with_its_children() {
    let time = long_time();
    let script = script(&format!("sleep {time} & sleep {time}"));
    let watchdog = serializing(&script, &[("exec_timeout", "300ms")]);
    let answer = watchdog.post(b"");
    assert_eq!(answer.status, 500);
    assert_eq!(answer.text(), "Function was killed by ExecTimeout: 300ms");
    until("killed", || !running(&time));
}

#[test]
fn a_caller_who_hangs_up_ends_the_process() {
    let time = long_time();
    let watchdog = serializing(&format!("sleep {time}"), &[]);
    let mut stream = watchdog.connect();
    send(&mut stream, "POST", "/", &[], b"x");
    until("started", || running(&time));
    drop(stream);
    until("killed", || !running(&time));
}

#[test]
fn a_body_that_does_not_arrive_is_a_400() {
    let watchdog = serializing("cat", &[("read_timeout", "200ms")]);
    let mut stream = watchdog.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
        .unwrap();
    assert_eq!(receive(&mut stream).status, 400);
}
