//! What changes of the headers between a caller and the process.

use std::time::Duration;

use hyper::header::{
    CONNECTION, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use crate::{config::Upstream, duration};

/// Headers that are about one connection. `Transfer-Encoding` among them: how a
/// body is framed is decided anew by what is known of its length.
const HOP_BY_HOP: [HeaderName; 8] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// How long the function may work on a request: a caller can ask for less than
/// what is set, never for more.
pub(super) fn exec_timeout(headers: &HeaderMap, set: Duration) -> Duration {
    let asked = headers
        .get("x-timeout")
        .and_then(|value| value.to_str().ok())
        .and_then(duration::parse)
        .filter(|asked| !asked.is_zero());
    match asked {
        Some(asked) if set.is_zero() => asked,
        Some(asked) => asked.min(set),
        None => set,
    }
}

/// Makes the headers of a caller those for the process; returns whether the
/// caller wants a WebSocket.
pub(super) fn prepare(headers: &mut HeaderMap, upstream: &Upstream) -> bool {
    let upgrade = wants_websocket(headers);
    remove_hop_by_hop(headers);
    // Asking the caller to go on is done here, when the body is read.
    headers.remove(EXPECT);
    if upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    if !headers.contains_key(HOST) {
        headers.insert(HOST, upstream.authority.clone());
    }
    upgrade
}

/// Makes the headers of the process those for the caller.
pub(super) fn complete(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
}

/// Only this protocol is passed on: others, such as HTTP/2 without TLS, would
/// let requests by that nobody here sees.
fn wants_websocket(headers: &HeaderMap) -> bool {
    headers
        .get(UPGRADE)
        .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && named_by_connection(headers).any(|name| name.eq_ignore_ascii_case("upgrade"))
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = named_by_connection(headers)
            .filter_map(|name| name.parse().ok())
            // A caller cannot take away what says where a request ends or goes.
            .filter(|name| name != HOST && name != hyper::header::CONTENT_LENGTH)
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

fn named_by_connection(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn upstream() -> Upstream {
        Upstream::parse("http://127.0.0.1:3000").unwrap()
    }

    #[test]
    fn a_caller_can_shorten_the_time_but_not_stretch_it() {
        let second = Duration::from_secs(1);
        for (header, set, expected) in [
            (None, 30 * second, 30 * second),
            (Some("5s"), 30 * second, 5 * second),
            (Some("1m"), 30 * second, 30 * second),
            (Some("5s"), Duration::ZERO, 5 * second),
            (Some("0s"), 30 * second, 30 * second),
            (Some("soon"), 30 * second, 30 * second),
            (Some("-5s"), 30 * second, 30 * second),
        ] {
            let lines: Vec<_> = header
                .map(|value| ("x-timeout", value))
                .into_iter()
                .collect();
            assert_eq!(exec_timeout(&headers(&lines), set), expected, "{header:?}");
        }
    }

    #[test]
    fn headers_about_a_connection_are_not_passed_on() {
        let mut given = headers(&[
            ("host", "node:8080"),
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("proxy-authorization", "Basic x"),
            ("authorization", "Bearer x"),
            ("x-call-id", "a"),
        ]);
        assert!(!prepare(&mut given, &upstream()));
        let expected = [
            ("host", "node:8080"),
            ("authorization", "Bearer x"),
            ("x-call-id", "a"),
        ];
        assert_eq!(given, headers(&expected));
    }

    #[test]
    fn a_caller_cannot_take_length_and_host_away() {
        let mut given = headers(&[
            ("host", "node"),
            ("content-length", "5"),
            ("connection", "Content-Length, Host"),
        ]);
        prepare(&mut given, &upstream());
        assert_eq!(given, headers(&[("host", "node"), ("content-length", "5")]));
    }

    #[test]
    fn a_request_without_a_host_is_one_for_the_process() {
        let mut given = HeaderMap::new();
        prepare(&mut given, &upstream());
        assert_eq!(given, headers(&[("host", "127.0.0.1:3000")]));
    }

    #[test]
    fn a_websocket_is_asked_for_in_two_headers() {
        for (connection, protocol, expected) in [
            ("Upgrade", "websocket", true),
            ("keep-alive, upgrade", "WebSocket", true),
            ("keep-alive", "websocket", false),
            ("upgrade", "h2c", false),
        ] {
            let mut given = headers(&[
                ("host", "node"),
                ("connection", connection),
                ("upgrade", protocol),
            ]);
            assert_eq!(prepare(&mut given, &upstream()), expected, "{connection}");
            assert_eq!(given.contains_key(UPGRADE), expected);
            assert_eq!(given.contains_key(CONNECTION), expected);
        }
    }

    #[test]
    fn the_headers_of_an_answer_lose_what_is_about_a_connection() {
        let mut given = headers(&[
            ("content-type", "text/html"),
            ("connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("set-cookie", "a=1"),
            ("transfer-encoding", "chunked"),
        ]);
        complete(&mut given);
        let expected = [("content-type", "text/html"), ("set-cookie", "a=1")];
        assert_eq!(given, headers(&expected));
    }
}
