//! Headers on their way to a function and back.

use std::{
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use hyper::{
    HeaderMap, StatusCode,
    header::{self, HeaderName, HeaderValue},
};

const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");
const START_TIME: HeaderName = HeaderName::from_static("x-start-time");
const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Headers that concern one connection only.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What the gateway adds to the answer.
#[derive(Debug)]
pub(super) struct Marks {
    /// Whether the caller asks for the connection to become a WebSocket.
    pub(super) socket: bool,
    start: HeaderValue,
    /// Set when the gateway chose it.
    call_id: Option<HeaderValue>,
}

/// Makes the headers of a request those that the function is to see.
pub(super) fn prepare(headers: &mut HeaderMap, remote: SocketAddr) -> Marks {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let start = value(&now.as_nanos().to_string());
    let call_id = (!headers.contains_key(CALL_ID))
        .then(|| value(&uuid::Uuid::new_v4().hyphenated().to_string()));

    let socket = asks_for_socket(headers);
    remove_hop_by_hop(headers);
    if socket {
        switch_to_socket(headers);
    }
    // The gateway itself tells the caller to go on, once the function reads.
    headers.remove(header::EXPECT);
    if let Some(host) = headers.remove(header::HOST) {
        headers.entry(FORWARDED_HOST).or_insert(host);
    }
    headers
        .entry(FORWARDED_FOR)
        .or_insert_with(|| value(&remote.to_string()));
    headers.insert(START_TIME, start.clone());
    if let Some(call_id) = &call_id {
        headers.insert(CALL_ID, call_id.clone());
    }
    Marks {
        socket,
        start,
        call_id,
    }
}

/// Makes the headers of an answer those that the caller is to see. `kind` is
/// the type of the request.
pub(super) fn complete(
    headers: &mut HeaderMap,
    status: StatusCode,
    marks: &Marks,
    kind: Option<HeaderValue>,
) {
    remove_hop_by_hop(headers);
    if status == StatusCode::SWITCHING_PROTOCOLS {
        switch_to_socket(headers);
    } else {
        headers
            .entry(header::CONTENT_TYPE)
            .or_insert_with(|| kind.unwrap_or_else(|| HeaderValue::from_static("text/plain")));
    }
    headers
        .entry(START_TIME)
        .or_insert_with(|| marks.start.clone());
    headers
        .entry(SERVED_BY)
        .or_insert_with(|| HeaderValue::from_static(concat!("rubus/", env!("CARGO_PKG_VERSION"))));
    if let Some(call_id) = &marks.call_id {
        headers.entry(CALL_ID).or_insert_with(|| call_id.clone());
    }
}

/// Whether a request asks for a WebSocket: the one protocol that is passed on.
/// Others, such as `h2c`, would lead past what the gateway looks at.
fn asks_for_socket(headers: &HeaderMap) -> bool {
    let names = |name, word: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|value| value.trim().eq_ignore_ascii_case(word))
    };
    names(header::CONNECTION, "upgrade")
        && headers
            .get(header::UPGRADE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn switch_to_socket(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// Removes what concerns one connection, and what `Connection` names as such.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// A value made of what cannot be wrong in one: digits, letters and `:.-[]`.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    fn remote() -> SocketAddr {
        "192.0.2.1:4711".parse().unwrap()
    }

    #[test]
    fn what_concerns_the_connection_stays_behind() {
        let mut headers = map(&[
            ("connection", "keep-alive, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("expect", "100-continue"),
            ("upgrade", "h2c"),
            ("accept", "*/*"),
        ]);
        prepare(&mut headers, remote());
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["accept", "x-call-id", "x-forwarded-for", "x-start-time"]
        );
    }

    #[test]
    fn who_asked_for_what_is_told_unless_someone_did() {
        let mut headers = map(&[("host", "node:8080")]);
        prepare(&mut headers, remote());
        assert_eq!(headers["x-forwarded-host"], "node:8080");
        assert_eq!(headers["x-forwarded-for"], "192.0.2.1:4711");
        assert!(!headers.contains_key("host"));

        let mut headers = map(&[
            ("host", "node"),
            ("x-forwarded-host", "site"),
            ("x-forwarded-for", "a"),
        ]);
        prepare(&mut headers, remote());
        assert_eq!(headers["x-forwarded-host"], "site");
        assert_eq!(headers["x-forwarded-for"], "a");
    }

    #[test]
    fn a_call_id_is_chosen_only_where_there_is_none() {
        let mut headers = HeaderMap::new();
        let marks = prepare(&mut headers, remote());
        let mut answer = HeaderMap::new();
        complete(&mut answer, StatusCode::OK, &marks, None);
        assert_eq!(answer["x-call-id"], headers["x-call-id"]);
        assert_eq!(answer["x-start-time"], headers["x-start-time"]);

        let mut headers = map(&[("x-call-id", "mine")]);
        let marks = prepare(&mut headers, remote());
        let mut answer = HeaderMap::new();
        complete(&mut answer, StatusCode::OK, &marks, None);
        assert_eq!(headers["x-call-id"], "mine");
        assert!(!answer.contains_key("x-call-id"));
    }

    #[test]
    fn the_type_is_the_functions_then_the_requests() {
        let marks = prepare(&mut HeaderMap::new(), remote());
        let json = || Some(HeaderValue::from_static("application/json"));
        for (own, kind, expected) in [
            (&[("content-type", "text/html")][..], json(), "text/html"),
            (&[], json(), "application/json"),
            (&[], None, "text/plain"),
        ] {
            let mut answer = map(own);
            complete(&mut answer, StatusCode::OK, &marks, kind);
            assert_eq!(answer["content-type"], expected);
        }
    }
}
