//! What the modes of of-watchdog log.

use crate::{
    support::{Watchdog, free_port, script, until},
    upstream::Upstream,
};

/// A watchdog whose process runs this, with a server of the test behind it.
fn logging(text: &str, variables: &[(&str, &str)]) -> (Watchdog, Upstream) {
    let upstream =
        Upstream::answering("HTTP/1.1 404 Not Found\r\nContent-Length: 12\r\n\r\nnothing here");
    let script = script(text);
    let given = [
        ("mode", "http"),
        ("fprocess", script.as_str()),
        ("upstream_url", upstream.url.as_str()),
    ];
    (Watchdog::start(&[&given, variables].concat()), upstream)
}

/// Lines without the time at their beginning.
fn lines(log: &str) -> Vec<&str> {
    log.lines().map(|line| &line[20..]).collect()
}

#[test]
fn the_start_is_logged_as_upstream_does() {
    let (watchdog, _upstream) = logging("sleep 1000", &[]);
    until("started", || watchdog.log().contains("Metrics listening"));
    let log = watchdog.log();
    let lines = lines(&log);
    let has = |start: &str| lines.iter().any(|line| line.starts_with(start));
    for start in [
        "Version: ",
        "Watchdog mode: http\tfprocess: \"sh ",
        "Forking: sh, arguments: [",
        "Started logging: stderr from function.",
        "Started logging: stdout from function.",
        "Timeouts: read: 30s write: 30s hard: 30s health: 30s",
        "Listening on port: ",
        "Writing lock-file to: ",
        "Metrics listening on port: ",
    ] {
        assert!(has(start), "{start}\n{log}");
    }
}

#[test]
fn a_request_is_a_line() {
    let (watchdog, _upstream) = logging("sleep 1000", &[]);
    watchdog.request("GET", "/a?b=c", &["X-Call-Id: abc"], b"");
    until("logged", || watchdog.log().contains("GET /a?b=c"));
    let log = watchdog.log();
    let line = *lines(&log).last().unwrap();
    let start = "GET /a?b=c - 404 Not Found - ContentLength: 12B (";
    assert!(line.starts_with(start), "{line}");
    assert!(line.ends_with("s)"), "{line}");
}

#[test]
fn the_call_id_is_logged_where_it_is_wanted() {
    let (watchdog, _upstream) = logging("sleep 1000", &[("log_callid", "true")]);
    watchdog.request("GET", "/with", &["X-Call-Id: abc"], b"");
    watchdog.request("GET", "/without", &[], b"");
    until("logged", || watchdog.log().contains("/without"));
    let log = watchdog.log();
    let ends = |part: &str, end: &str| {
        let line = log.lines().find(|line| line.contains(part)).unwrap();
        assert!(line.ends_with(end), "{line}");
    };
    ends("/with ", "s) [abc]");
    ends("/without ", "s) [none]");
}

#[test]
fn probes_of_a_kubelet_are_not_logged() {
    let (watchdog, _upstream) = logging("sleep 1000", &[]);
    watchdog.request("GET", "/probe", &["User-Agent: kube-probe/1.30"], b"");
    watchdog.request("GET", "/after", &[], b"");
    until("logged", || watchdog.log().contains("/after"));
    assert!(!watchdog.log().contains("/probe"));
}

#[test]
fn what_the_process_writes_goes_to_the_same_streams() {
    let text = "echo to-out; echo to-err >&2; printf no-end; exec sleep 1000";
    let (watchdog, _upstream) = logging(text, &[]);
    until("logged", || watchdog.output().contains("to-out"));
    assert_eq!(lines(&watchdog.output()), ["stdout: to-out"]);
    until("logged", || watchdog.log().contains(" stderr: to-err\n"));
}

#[test]
fn lines_can_be_passed_on_as_they_are() {
    let (watchdog, _upstream) = logging(
        "echo '{\"level\":\"info\"}'; exec sleep 1000",
        &[("prefix_logs", "false")],
    );
    until("logged", || !watchdog.output().is_empty());
    assert_eq!(watchdog.output(), "{\"level\":\"info\"}\n");
}

#[test]
fn a_line_longer_than_the_buffer_is_several() {
    let (watchdog, _upstream) = logging(
        "echo aaaabbbbcc; exec sleep 1000",
        &[("prefix_logs", "false"), ("log_buffer_size", "4")],
    );
    until("logged", || watchdog.output().contains("cc"));
    assert_eq!(watchdog.output(), "aaaa\nbbbb\ncc\n");
}

#[test]
fn a_process_that_floods_its_output_stops_nothing() {
    let flood = "head -c 20000000 /dev/zero | tr '\\0' x >&2; yes | head -c 5000000; echo; echo over; exec sleep 1000";
    let (watchdog, _upstream) = logging(flood, &[]);
    assert_eq!(watchdog.post(b"").status, 404);
    until("read to its end", || {
        watchdog.output().ends_with("stdout: over\n")
    });
    assert_eq!(watchdog.post(b"").status, 404);
    assert!(watchdog.peak() < 24 << 10, "{} KiB", watchdog.peak());
}

#[test]
fn a_port_that_is_taken_ends_the_start() {
    let taken = std::net::TcpListener::bind("[::]:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, _, error) = crate::support::run(
        &[],
        &[
            ("fprocess", "cat"),
            ("port", &port),
            ("metrics_port", &free_port().to_string()),
        ],
    );
    assert_eq!(code, Some(1));
    assert!(
        error.contains(&format!("cannot listen on port {port}")),
        "{error}"
    );
}
