//! The streaming mode: input and output of a process are passed on as they come.

use std::{io::Write, thread};

use crate::support::{
    self, Watchdog, children, is_closed, long_time, receive, receive_chunk, receive_head, running,
    script, send, until,
};

/// A watchdog that runs this for every request.
fn streaming(process: &str, variables: &[(&str, &str)]) -> Watchdog {
    let given = [("mode", "streaming"), ("fprocess", process)];
    Watchdog::start(&[&given, variables].concat())
}

#[test]
fn the_output_of_the_process_is_the_answer() {
    let watchdog = streaming("cat", &[]);
    let answer = watchdog.request("POST", "/a", &["Content-Type: text/plain"], b"hello");
    assert_eq!((answer.status, answer.text()), (200, "hello"));
    assert_eq!(
        answer.header("content-type"),
        Some("application/octet-stream")
    );
    until("logged", || watchdog.log().contains("POST /a"));
    let log = watchdog.log();
    assert!(
        log.contains(" POST /a - 200 - ContentLength: 5B ("),
        "{log}"
    );

    let watchdog = streaming("cat", &[("content_type", "text/html")]);
    assert_eq!(
        watchdog.post(b"x").header("content-type"),
        Some("text/html")
    );
}

#[test]
fn every_method_is_taken_and_the_request_is_in_the_environment() {
    let watchdog = streaming("env", &[]);
    for method in ["GET", "POST", "DELETE", "OPTIONS", "PURGE"] {
        let answer = watchdog.request(method, "/x?a=1", &["X-Call-Id: abc"], b"");
        let expected = format!("Http_Method={method}");
        for line in [
            &expected,
            "Http_Path=/x",
            "Http_Query=a=1",
            "Http_X_Call_Id=abc",
        ] {
            assert!(answer.text().lines().any(|have| have == line), "{line}");
        }
    }
}

#[test]
fn output_arrives_while_the_process_runs() {
    let go = support::folder().join("go");
    let script = script(&format!(
        "echo one; while [ ! -e {} ]; do sleep 0.02; done; echo two",
        go.display()
    ));
    let watchdog = streaming(&script, &[]);
    let mut stream = watchdog.connect();
    send(&mut stream, "GET", "/", &[], b"");
    assert_eq!(receive_head(&mut stream).status, 200);
    assert_eq!(receive_chunk(&mut stream).unwrap(), b"one\n");
    std::fs::write(go, "").unwrap();
    assert_eq!(receive_chunk(&mut stream).unwrap(), b"two\n");
    assert_eq!(receive_chunk(&mut stream), None);
}

#[test]
fn input_arrives_while_it_is_sent() {
    let watchdog = streaming("cat", &[]);
    let mut stream = watchdog.connect();
    send(
        &mut stream,
        "POST",
        "/",
        &["Transfer-Encoding: chunked"],
        b"",
    );
    stream.write_all(b"3\r\none\r\n").unwrap();
    assert_eq!(receive_head(&mut stream).status, 200);
    assert_eq!(receive_chunk(&mut stream).unwrap(), b"one");
    stream.write_all(b"3\r\ntwo\r\n0\r\n\r\n").unwrap();
    assert_eq!(receive_chunk(&mut stream).unwrap(), b"two");
    assert_eq!(receive_chunk(&mut stream), None);
}

#[test]
fn large_bodies_are_not_kept() {
    const LARGE: usize = 64 << 20;
    let watchdog = streaming("cat", &[]);
    let mut stream = watchdog.connect();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut sender = stream.try_clone().unwrap();
    let sending = thread::spawn(move || {
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..LARGE / piece.len() {
            sender.write_all(&piece).unwrap();
        }
    });
    assert_eq!(receive(&mut stream).body.len(), LARGE);
    sending.join().unwrap();
    assert!(watchdog.peak() < 24 << 10, "{} KiB", watchdog.peak());
}

#[test]
fn a_process_that_reads_nothing_still_answers() {
    let watchdog = streaming("echo done", &[]);
    let answer = watchdog.post(&vec![b'x'; 1_000_000]);
    assert_eq!((answer.status, answer.text()), (200, "done\n"));
}

#[test]
fn how_the_process_ends_does_not_change_the_status() {
    for (text, body) in [("exit 3", ""), ("echo some; exit 3", "some\n")] {
        let watchdog = streaming(&script(text), &[]);
        let answer = watchdog.post(b"");
        assert_eq!((answer.status, answer.text()), (200, body));
        until("logged", || watchdog.log().contains(" exit status 3\n"));
    }
}

#[test]
fn a_program_that_is_not_there_is_a_500() {
    let watchdog = streaming("no-such-program", &[]);
    let answer = watchdog.post(b"");
    assert_eq!(answer.status, 500);
    assert_eq!(answer.header("x-openfaas-internal"), Some("of-watchdog"));
    assert!(answer.text().contains("exec: \"no-such-program\""));
    assert_eq!(watchdog.request("GET", "/_/health", &[], b"").status, 200);
}

#[test]
fn standard_error_goes_to_the_log() {
    let watchdog = streaming(&script("echo remark >&2; echo answer"), &[]);
    assert_eq!(watchdog.post(b"").text(), "answer\n");
    until("logged", || watchdog.log().contains(" stderr: remark\n"));

    let flood = script("head -c 3000000 /dev/zero | tr '\\0' x >&2; echo answer");
    let watchdog = streaming(&flood, &[]);
    assert_eq!(watchdog.post(b"").text(), "answer\n");
}

#[test]
fn a_process_that_takes_too_long_is_killed_with_its_children() {
    let time = long_time();
    let script = script(&format!("sleep {time} & sleep {time}; echo late"));
    let watchdog = streaming(&script, &[("exec_timeout", "300ms")]);
    let answer = watchdog.post(b"");
    assert_eq!(answer.status, 504);
    assert_eq!(answer.header("x-openfaas-internal"), Some("of-watchdog"));
    until("killed", || !running(&time));
    let log = watchdog.log();
    assert!(
        log.contains("Function was killed by ExecTimeout: 300ms"),
        "{log}"
    );
}

#[test]
fn output_that_takes_too_long_breaks_off_visibly() {
    let time = long_time();
    let script = script(&format!("echo first; sleep {time}"));
    let watchdog = streaming(&script, &[("exec_timeout", "500ms")]);
    let mut stream = watchdog.connect();
    send(&mut stream, "GET", "/", &[], b"");
    assert_eq!(receive_head(&mut stream).status, 200);
    assert_eq!(receive_chunk(&mut stream).unwrap(), b"first\n");
    assert!(is_closed(&mut stream), "the last chunk came");
    until("killed", || !running(&time));
}

#[test]
fn a_caller_who_hangs_up_ends_the_process_and_its_children() {
    for begin in ["", "echo first;"] {
        let time = long_time();
        let watchdog = streaming(
            &script(&format!("{begin} sleep {time} & sleep {time}")),
            &[],
        );
        let mut stream = watchdog.connect();
        send(&mut stream, "POST", "/", &[], b"x");
        until("started", || running(&time));
        drop(stream);
        until("killed", || !running(&time));
    }
}

#[test]
fn a_caller_who_reads_nothing_does_not_hold_the_function_for_ever() {
    let time = long_time();
    let script = script(&format!("sleep {time} & cat /dev/zero"));
    let watchdog = streaming(&script, &[("write_timeout", "1s"), ("exec_timeout", "0")]);
    let mut stream = watchdog.connect();
    send(&mut stream, "GET", "/", &[], b"");
    until("started", || running(&time));
    until("killed", || !running(&time));
}

#[test]
fn a_caller_who_hangs_up_in_the_middle_of_a_request_ends_the_process() {
    let marker = support::folder().join("ended");
    let script = script(&format!("cat >/dev/null; touch {}", marker.display()));
    let watchdog = streaming(&script, &[]);
    let mut stream = watchdog.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
        .unwrap();
    thread::sleep(std::time::Duration::from_millis(200));
    drop(stream);
    until("killed", || watchdog.log().contains("Function was killed"));
    // What broke off did not look to the process like what ended.
    assert!(!marker.exists());
}

#[test]
fn what_a_process_leaves_behind_is_waited_for() {
    let script = script("(sleep 0.1; exit 1) >/dev/null 2>&1 & echo done");
    let watchdog = streaming(&script, &[]);
    for _ in 0..3 {
        assert_eq!(watchdog.post(b"").text(), "done\n");
    }
    until("gone", || children(watchdog.pid()).is_empty());
}
