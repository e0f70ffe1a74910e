//! The little of HTTP/1.1 that the API needs: one request a connection, the
//! end of the answer is the end of the connection.

use serde::Serialize;

/// The longest head of a request.
pub(crate) const LONGEST_HEAD: usize = 8 * 1024;
/// The longest body.
const LONGEST_BODY: usize = 4 * 1024;
const MOST_HEADERS: usize = 64;

/// A whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path and what follows `?`.
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
}

/// Reads a request from what has arrived so far. `Ok(None)`: there is more to
/// come. An error is a status and why.
pub(crate) fn parse(input: &[u8]) -> Result<Option<Request>, Failure> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(input) {
        Ok(httparse::Status::Complete(length)) if length <= LONGEST_HEAD => length,
        Ok(httparse::Status::Partial) if input.len() <= LONGEST_HEAD => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            return Err(Failure::new(431, "the head of the request is too long"));
        }
        Err(error) => return Err(Failure::new(400, format!("this is not HTTP: {error}"))),
    };
    let mut body_length = 0;
    for header in head.headers.iter() {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Failure::new(411, "send the body with Content-Length"));
        }
        if header.name.eq_ignore_ascii_case("content-length") {
            body_length = std::str::from_utf8(header.value)
                .ok()
                .filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|it| it.parse::<usize>().ok())
                .ok_or_else(|| Failure::new(400, "Content-Length is not a number"))?;
        }
    }
    if body_length > LONGEST_BODY {
        return Err(Failure::new(413, "the body of the request is too long"));
    }
    let Some(body) = input.get(length..length + body_length) else {
        return Ok(None);
    };
    Ok(Some(Request {
        method: head.method.unwrap_or_default().to_owned(),
        target: head.path.unwrap_or_default().to_owned(),
        body: body.to_vec(),
    }))
}

/// Why a request is not fulfilled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Failure {
        Failure {
            status,
            message: message.into(),
        }
    }

    /// The whole answer.
    pub(crate) fn answer(&self) -> Vec<u8> {
        json(self.status, &serde_json::json!({ "error": self.message }))
    }
}

/// An answer in JSON.
pub(crate) fn json(status: u16, value: &impl Serialize) -> Vec<u8> {
    let mut body = serde_json::to_vec(value).unwrap_or_default();
    body.push(b'\n');
    let mut answer = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        phrase(status),
        body.len()
    )
    .into_bytes();
    answer.extend(body);
    answer
}

/// The head of an answer whose end is not known yet.
pub(crate) fn stream_head() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n".to_vec()
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_when_its_body_is() {
        let text = b"POST /v1/power HTTP/1.1\r\nHost: x\r\ncontent-length: 4\r\n\r\nbody";
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]), Ok(None), "{end}");
        }
        let request = parse(text).unwrap().unwrap();
        assert_eq!(request.method, "POST");
        assert_eq!(request.target, "/v1/power");
        assert_eq!(request.body, b"body");
    }

    #[test]
    fn hostile_input_is_refused_within_bounds() {
        let status = |input: &[u8]| parse(input).map_err(|failure| failure.status);
        assert_eq!(status(b"\x00\x01\x02\r\n\r\n"), Err(400));
        assert_eq!(status(&[b'A'; LONGEST_HEAD + 1]), Err(431));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100));
        assert_eq!(status(many.as_bytes()), Err(431));
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(LONGEST_HEAD));
        assert_eq!(status(long.as_bytes()), Err(431));
        for (value, code) in [
            ("-1", 400),
            ("x", 400),
            ("99999999999999999999", 400),
            ("5000", 413),
        ] {
            let text = format!("POST / HTTP/1.1\r\nContent-Length: {value}\r\n\r\n");
            assert_eq!(status(text.as_bytes()), Err(code), "{value}");
        }
        assert_eq!(
            status(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Err(411)
        );
    }

    #[test]
    fn an_answer_says_how_long_it_is() {
        let text = String::from_utf8(Failure::new(404, "no").answer()).unwrap();
        assert!(text.starts_with("HTTP/1.1 404 Not Found\r\n"));
        assert!(text.contains("Content-Length: 15\r\n"));
        assert!(text.ends_with("\r\n\r\n{\"error\":\"no\"}\n"));
    }
}
