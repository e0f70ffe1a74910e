//! A request that waits, and its form as a file: the body, the head as JSON,
//! the lengths of both, and a mark. The head stands behind the body because its
//! length is known only then.

use std::{collections::BTreeMap, fs::File, io, os::unix::fs::FileExt, path::Path};

use axum::body::Body;
use hyper::{
    HeaderMap, Request, Uri,
    header::{self, HeaderName, HeaderValue},
};
use serde::{Deserialize, Serialize};

const MARK: &[u8; 8] = b"RUBUSQ1\n";
/// Both lengths and the mark.
const END: u64 = 8 + 4 + 8;
/// Most bytes of a head: a request's headers with everything escaped.
const HEAD_MOST: u64 = 1 << 20;

pub(super) const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");

/// A request without its body, in the words of the contract's message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Head {
    /// Its headers. A value is bytes, of which each is one character here.
    header: BTreeMap<String, Vec<String>>,
    /// What it called the gateway.
    #[serde(default)]
    host: String,
    /// Its method.
    method: String,
    /// What follows the function's name in the path.
    #[serde(default)]
    path: String,
    /// What follows the `?`.
    #[serde(default)]
    query_string: String,
    /// The function, as `name.namespace`.
    pub(super) function: String,
    /// Where the answer is to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) callback_url: Option<String>,
}

impl Head {
    /// What is kept of a request for a function.
    pub(crate) fn new(
        function: String,
        uri: &Uri,
        path: &str,
        headers: &HeaderMap,
        callback_url: Option<String>,
    ) -> Self {
        let mut head = Self {
            method: "POST".to_owned(),
            path: path.to_owned(),
            query_string: uri.query().unwrap_or_default().to_owned(),
            function,
            callback_url,
            ..Self::default()
        };
        for (name, value) in headers {
            let value = characters(value);
            match *name {
                header::HOST => head.host = value,
                // The file knows its length, and how it came does not matter.
                header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::EXPECT => {}
                _ => {
                    let values = head.header.entry(name.as_str().to_owned()).or_default();
                    values.push(value);
                }
            }
        }
        head
    }

    /// The name under which its caller knows it.
    pub(super) fn call_id(&self) -> &str {
        let values = self.header.get(CALL_ID.as_str());
        values
            .and_then(|values| values.first())
            .map_or("", String::as_str)
    }

    /// The request, as it is passed on to the function.
    pub(super) fn request(
        &self,
        body: Body,
        length: u64,
    ) -> Result<Request<Body>, hyper::http::Error> {
        let mut uri = format!("/function/{}{}", self.function, self.path);
        if !self.query_string.is_empty() {
            uri.push('?');
            uri.push_str(&self.query_string);
        }
        let mut request = Request::post(Uri::builder().path_and_query(uri).build()?)
            .header(header::CONTENT_LENGTH, length)
            .body(body)?;
        let headers = request.headers_mut();
        for (name, values) in &self.header {
            let name: HeaderName = name.parse()?;
            for value in values {
                headers.append(&name, bytes(value)?);
            }
        }
        if !self.host.is_empty() {
            headers.insert(header::HOST, bytes(&self.host)?);
        }
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("rubus-queue/", env!("CARGO_PKG_VERSION"))),
        );
        Ok(request)
    }

    /// What a file has behind a body of this length.
    pub(super) fn ending(&self, body: u64) -> io::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self)?;
        let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "the headers are too long");
        let length = u32::try_from(bytes.len()).map_err(|_| too_long())?;
        if u64::from(length) > HEAD_MOST {
            return Err(too_long());
        }
        bytes.extend_from_slice(&body.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(MARK);
        Ok(bytes)
    }
}

/// A message of which the head was read.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) head: Head,
    /// The file, which begins with the body.
    pub(super) file: File,
    /// The length of the body.
    pub(super) length: u64,
}

impl Message {
    /// Reads a file that may be anything.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let end = size
            .checked_sub(END)
            .ok_or_else(|| wrong("it is cut short"))?;
        let mut buffer = [0; END as usize];
        file.read_exact_at(&mut buffer, end)?;
        let (body, rest) = buffer.split_at(8);
        let (head, mark) = rest.split_at(4);
        if mark != MARK {
            return Err(wrong("it does not end as a message does"));
        }
        let length = u64::from_le_bytes(body.try_into().unwrap_or_default());
        let head = u64::from(u32::from_le_bytes(head.try_into().unwrap_or_default()));
        if head > HEAD_MOST || length.checked_add(head) != Some(end) {
            return Err(wrong("its lengths do not fit"));
        }
        let mut text = vec![0; head as usize];
        file.read_exact_at(&mut text, length)?;
        let head: Head = serde_json::from_slice(&text)?;
        // Whatever cannot be sent is damage, and known as such before its turn.
        head.request(Body::empty(), 0)
            .map_err(|error| wrong(&format!("its request is none: {error}")))?;
        Ok(Self { head, file, length })
    }
}

/// One character a byte, so that every value can be written as text.
fn characters(value: &HeaderValue) -> String {
    value.as_bytes().iter().copied().map(char::from).collect()
}

/// The header that was read as this text.
pub(super) fn value(text: &str) -> Option<HeaderValue> {
    bytes(text).ok()
}

fn bytes(text: &str) -> Result<HeaderValue, hyper::http::Error> {
    // A character that is no byte becomes one that no value may have.
    let bytes: Vec<u8> = text
        .chars()
        .map(|character| u8::try_from(character).unwrap_or(0))
        .collect();
    Ok(HeaderValue::from_bytes(&bytes)?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::queue) fn head(function: &str, id: &str) -> Head {
        let mut headers = HeaderMap::new();
        headers.insert(CALL_ID, id.parse().unwrap());
        Head::new(
            function.to_owned(),
            &Uri::from_static("/x"),
            "",
            &headers,
            None,
        )
    }

    fn written(head: &Head, body: &[u8]) -> Vec<u8> {
        let mut bytes = body.to_vec();
        bytes.extend(head.ending(body.len() as u64).unwrap());
        bytes
    }

    fn read(bytes: &[u8]) -> io::Result<Message> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("message");
        std::fs::write(&path, bytes).unwrap();
        Message::open(&path)
    }

    #[test]
    fn a_request_comes_back_as_it_was() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-call-id", &b"7"[..]),
            ("x-twice", b"a"),
            ("x-twice", b"b"),
            ("x-bytes", b"\xff\xe4 \""),
            ("host", b"node:8080"),
            ("content-length", b"999"),
            ("transfer-encoding", b"chunked"),
        ] {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_bytes(value).unwrap(),
            );
        }
        let uri = Uri::from_static("/async-function/f/a%20b?q=%26&r");
        let callback = Some("http://192.0.2.1/x".to_owned());
        let head = Head::new("f.fn".to_owned(), &uri, "/a%20b", &headers, callback);
        let message = read(&written(&head, b"body")).unwrap();
        assert_eq!(message.head, head);
        assert_eq!((message.length, message.head.call_id()), (4, "7"));

        let request = head.request(Body::empty(), 4).unwrap();
        assert_eq!(request.uri(), "/function/f.fn/a%20b?q=%26&r");
        let found = request.headers();
        assert_eq!(found["x-bytes"].as_bytes(), b"\xff\xe4 \"");
        assert_eq!(found.get_all("x-twice").iter().count(), 2);
        assert_eq!(found["host"], "node:8080");
        assert_eq!(found["content-length"], "4");
        assert!(!found.contains_key("transfer-encoding"));
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_refused() {
        let bytes = written(&head("f.fn", "1"), b"0123456789");
        assert!(read(&bytes).is_ok());
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn damage_is_refused_or_harmless_wherever_it_is() {
        let bytes = written(&head("f.fn", "1"), b"0123456789");
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[place] ^= 1 << bit;
                if let Ok(message) = read(&bytes) {
                    assert_eq!(message.length, 10);
                }
            }
        }
    }

    #[test]
    fn lengths_that_lie_reserve_no_memory() {
        for (body, head) in [
            (u64::MAX, 1_u32),
            (0, u32::MAX),
            (u64::MAX - 5, 6),
            (1 << 40, 2),
        ] {
            let mut bytes = b"{}".to_vec();
            bytes.extend(body.to_le_bytes());
            bytes.extend(head.to_le_bytes());
            bytes.extend(MARK);
            assert!(read(&bytes).is_err());
        }
    }
}
