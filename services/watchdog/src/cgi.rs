//! The request as environment variables of the process.

use hyper::{Version, header, http::request::Parts};
use percent_encoding::percent_decode_str;

/// The variables that describe a request, besides the watchdog's own
/// environment. `length` is the declared length of the body, if it has one.
pub(crate) fn variables(request: &Parts) -> Vec<(String, Vec<u8>)> {
    let mut variables = Vec::with_capacity(request.headers.len() + 8);
    for name in request.headers.keys() {
        if name == header::HOST || name == header::TRANSFER_ENCODING {
            continue;
        }
        // The first value of a repeated header is the one that counts.
        if let Some(value) = request.headers.get(name) {
            let name = format!("Http_{}", canonical(name.as_str()).replace('-', "_"));
            variables.push((name, value.as_bytes().to_vec()));
        }
    }
    let mut set = |name: &str, value: &str| {
        if !value.is_empty() {
            variables.push((name.to_owned(), value.as_bytes().to_vec()));
        }
    };
    set("Http_Method", request.method.as_str());
    let chunked = request.headers.contains_key(header::TRANSFER_ENCODING);
    let length = if chunked {
        "-1"
    } else {
        request
            .headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("0")
    };
    set("Http_ContentLength", length);
    set("Http_Content_Length", length);
    if chunked && request.version >= Version::HTTP_11 {
        set("Http_Transfer_Encoding", "chunked");
    }
    set("Http_Query", request.uri.query().unwrap_or(""));
    let host = request
        .headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .or_else(|| request.uri.authority().map(|authority| authority.as_str()));
    set("Http_Host", host.unwrap_or(""));
    let path: Vec<u8> = percent_decode_str(request.uri.path()).collect();
    if !path.is_empty() {
        variables.push(("Http_Path".to_owned(), path));
    }
    variables
}

/// The name of a header as Go writes it: `x-call-id` becomes `X-Call-Id`.
pub(crate) fn canonical(name: &str) -> String {
    let mut upper = true;
    name.chars()
        .map(|c| {
            let c = if upper {
                c.to_ascii_uppercase()
            } else {
                c.to_ascii_lowercase()
            };
            upper = c == '-';
            c
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;
    use std::collections::BTreeMap;

    fn of(request: hyper::http::request::Builder) -> BTreeMap<String, String> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        variables(&parts)
            .into_iter()
            .map(|(name, value)| (name, String::from_utf8(value).unwrap()))
            .collect()
    }

    #[test]
    fn a_request_is_described_in_the_names_of_the_contract() {
        let variables = of(Request::post("/a%20b/c?x=1&y=%20")
            .header("host", "node:8080")
            .header("user-agent", "curl")
            .header("x-call-id", "one")
            .header("x-call-id", "two")
            .header("content-length", "5"));
        let expected = [
            ("Http_ContentLength", "5"),
            ("Http_Content_Length", "5"),
            ("Http_Host", "node:8080"),
            ("Http_Method", "POST"),
            ("Http_Path", "/a b/c"),
            ("Http_Query", "x=1&y=%20"),
            ("Http_User_Agent", "curl"),
            ("Http_X_Call_Id", "one"),
        ];
        let expected = expected.map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(variables, BTreeMap::from(expected));
    }

    #[test]
    fn a_chunked_body_has_no_length_and_an_absent_query_no_variable() {
        let variables = of(Request::post("/").header("transfer-encoding", "chunked"));
        assert_eq!(variables["Http_Content_Length"], "-1");
        assert_eq!(variables["Http_Transfer_Encoding"], "chunked");
        assert!(!variables.contains_key("Http_Query"));
        assert!(!variables.contains_key("Http_Host"));
    }

    #[test]
    fn a_request_without_body_has_length_zero() {
        assert_eq!(of(Request::get("/"))["Http_ContentLength"], "0");
    }

    #[test]
    fn header_names_are_written_as_go_does() {
        assert_eq!(canonical("x-call-id"), "X-Call-Id");
        assert_eq!(canonical("ETag"), "Etag");
    }
}
