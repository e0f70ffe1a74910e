//! HTTP/1.1 over a unix socket, as much of it as the runtime's API needs.
//!
//! One connection a request. Whatever answers is not trusted to follow the
//! protocol: the head is bounded, and a body that ends too early is an error,
//! never a short answer.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The longest head of an answer, status line and headers together.
const MAX_HEAD: u64 = 16 * 1024;
/// The most headers in an answer.
const MAX_HEADERS: usize = 64;
/// The largest body that is read into memory.
const MAX_BODY: u64 = 4 * 1024 * 1024;
/// The longest line that tells the size of a chunk, or trailer after the last.
const MAX_CHUNK_LINE: u64 = 1024;
/// How long the runtime may be silent when it has nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long an answer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The runtime knows the answer.
    Short,
    /// The answer comes once something has happened, or never ends.
    Long,
}

/// Why there is no good answer.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// Nobody listens, or nobody answers in time.
    Unreachable { socket: PathBuf, source: io::Error },
    /// What came is not HTTP, not JSON, or ends too early.
    Garbled(String),
    /// The runtime says no.
    Refused { status: u16, message: String },
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { socket, source } => {
                let socket = socket.display();
                match source.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => write!(
                        f,
                        "system-runtime does not run: nothing listens on {socket}; init starts it \
                         again within seconds, the console of the board shows why it ended"
                    ),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => write!(
                        f,
                        "system-runtime does not answer on {socket} within {} s; try again, the \
                         console of the board shows what it does",
                        PATIENCE.as_secs()
                    ),
                    io::ErrorKind::PermissionDenied => {
                        write!(f, "{socket} is for root only; try again with `sudo ros`")
                    }
                    _ => write!(f, "cannot talk to system-runtime on {socket}: {source}"),
                }
            }
            Self::Garbled(what) => write!(
                f,
                "the answer of system-runtime cannot be understood: {what}"
            ),
            Self::Refused { message, .. } => f.write_str(message),
        }
    }
}

impl std::error::Error for ClientError {}

/// Speaks to the socket at a path.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    socket: PathBuf,
    /// Who answers there, for messages.
    server: &'static str,
}

impl Client {
    /// A client of the runtime at `socket`; nothing is opened yet.
    pub(crate) fn new(socket: &Path) -> Self {
        Self::of("system-runtime", socket)
    }

    /// A client of another server.
    pub(crate) fn of(server: &'static str, socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            server,
        }
    }

    /// `GET path`, read as JSON.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        from_json(&self.request("GET", path, &[], None, Wait::Short)?.bytes()?)
    }

    /// `POST path` without a body, read as JSON once it is done.
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        from_json(&self.request("POST", path, &[], None, Wait::Long)?.bytes()?)
    }

    /// `POST path` with JSON; what the answer says does not matter.
    pub(crate) fn post_json(&self, path: &str, body: &str) -> Result<(), ClientError> {
        self.request("POST", path, &[], Some(body), Wait::Short)?
            .bytes()
            .map(drop)
    }

    /// `POST path` with JSON, read as JSON.
    pub(crate) fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &str,
    ) -> Result<T, ClientError> {
        let answer = self.request("POST", path, &[], Some(body), Wait::Short)?;
        from_json(&answer.bytes()?)
    }

    /// `PUT path` without a body, read as JSON.
    pub(crate) fn put<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        from_json(&self.request("PUT", path, &[], None, Wait::Long)?.bytes()?)
    }

    /// `DELETE path`, read as JSON.
    pub(crate) fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        from_json(
            &self
                .request("DELETE", path, &[], None, Wait::Short)?
                .bytes()?,
        )
    }

    /// `GET path`, read as it comes.
    pub(crate) fn stream(&self, path: &str, wait: Wait) -> Result<Body, ClientError> {
        self.request("GET", path, &[], None, wait)
    }

    /// Sends a request and reads the head of the answer. Anything but a 2xx
    /// is an error with the text of its `error` field (the engine says
    /// `message`).
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
        wait: Wait,
    ) -> Result<Body, ClientError> {
        let head = request_head(method, path, headers, body);
        let reader = self.send(&head, body, wait).map_err(|e| self.lost(e))?;
        let mut body = Body {
            input: reader,
            framing: Framing::UntilClose,
            socket: self.socket.clone(),
        };
        let text = read_head(&mut body.input).map_err(|e| match e {
            HeadError::Io(e) => self.lost(e),
            HeadError::Garbled(what) => ClientError::Garbled(what),
        })?;
        let head = parse_head(&text)?;
        body.framing = head.framing;
        if (200..300).contains(&head.status) {
            return Ok(body);
        }
        let message = body
            .bytes()
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Complaint>(&bytes).ok())
            .map_or_else(
                || {
                    format!(
                        "{} refuses {method} {path} with status {}",
                        self.server, head.status
                    )
                },
                |complaint| complaint.error,
            );
        Err(ClientError::Refused {
            status: head.status,
            message,
        })
    }

    fn send(
        &self,
        head: &str,
        body: Option<&str>,
        wait: Wait,
    ) -> io::Result<BufReader<UnixStream>> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(match wait {
            Wait::Short => Some(PATIENCE),
            Wait::Long => None,
        })?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.unwrap_or_default().as_bytes())?;
        Ok(BufReader::new(stream))
    }

    fn lost(&self, source: io::Error) -> ClientError {
        ClientError::Unreachable {
            socket: self.socket.clone(),
            source,
        }
    }
}

/// What comes with a status that is not 2xx.
#[derive(Deserialize)]
struct Complaint {
    #[serde(alias = "message")]
    error: String,
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(bytes).map_err(|e| ClientError::Garbled(e.to_string()))
}

fn request_head(method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> String {
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\
         Connection: close\r\n"
    );
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if let Some(body) = body {
        head += &format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        );
    } else if matches!(method, "POST" | "PUT") {
        head += "Content-Length: 0\r\n";
    }
    head += "\r\n";
    head
}

/// A word as one segment of a path: what a URL cannot hold is escaped, so that
/// no name leads to another request.
pub(crate) fn escape(segment: &str) -> String {
    let mut out = String::new();
    for byte in segment.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => out.push(byte as char),
            b'.' if segment.len() > 2 => out.push('.'),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

enum HeadError {
    Io(io::Error),
    Garbled(String),
}

/// Reads up to and with the empty line.
fn read_head(input: &mut impl BufRead) -> Result<Vec<u8>, HeadError> {
    let mut input = input.take(MAX_HEAD);
    let mut head = Vec::new();
    loop {
        let before = head.len();
        input.read_until(b'\n', &mut head).map_err(HeadError::Io)?;
        let line = &head[before..];
        if line == b"\r\n" || line == b"\n" {
            return Ok(head);
        }
        if !line.ends_with(b"\n") {
            return Err(if input.limit() == 0 {
                HeadError::Garbled(format!("its head is longer than {MAX_HEAD} bytes"))
            } else if head.is_empty() {
                HeadError::Io(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "it hangs up without an answer",
                ))
            } else {
                HeadError::Garbled("it ends within the head".to_owned())
            });
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    framing: Framing,
}

/// How the end of a body is known.
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// So many bytes of this chunk are left; the first has not begun.
    Chunked { left: u64, first: bool },
    /// The connection ends with it.
    UntilClose,
}

fn parse_head(text: &[u8]) -> Result<Head, ClientError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let status = match response.parse(text) {
        Ok(httparse::Status::Complete(_)) => response.code.unwrap_or_default(),
        Ok(httparse::Status::Partial) => {
            return Err(ClientError::Garbled("its head is not whole".to_owned()));
        }
        Err(e) => return Err(ClientError::Garbled(format!("it is not HTTP: {e}"))),
    };
    let value = |name: &str| {
        response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| String::from_utf8_lossy(header.value).trim().to_owned())
    };
    let framing = if matches!(status, 204 | 304) {
        Framing::Length(0)
    } else if let Some(coding) = value("transfer-encoding") {
        if !coding.eq_ignore_ascii_case("chunked") {
            return Err(ClientError::Garbled(format!(
                "its transfer encoding is {coding:?}"
            )));
        }
        Framing::Chunked {
            left: 0,
            first: true,
        }
    } else if let Some(length) = value("content-length") {
        Framing::Length(
            length
                .parse()
                .map_err(|_| ClientError::Garbled(format!("its content length is {length:?}")))?,
        )
    } else {
        Framing::UntilClose
    };
    Ok(Head { status, framing })
}

/// The body of an answer, without what frames it.
#[derive(Debug)]
pub(crate) struct Body<R = BufReader<UnixStream>> {
    input: R,
    framing: Framing,
    socket: PathBuf,
}

impl<R: BufRead> Body<R> {
    /// The whole body.
    pub(crate) fn bytes(mut self) -> Result<Vec<u8>, ClientError> {
        let mut bytes = Vec::new();
        (&mut self)
            .take(MAX_BODY + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| self.error(e))?;
        if bytes.len() as u64 > MAX_BODY {
            return Err(ClientError::Garbled(format!(
                "it is longer than {MAX_BODY} bytes"
            )));
        }
        Ok(bytes)
    }

    /// What an error of reading means to the caller.
    pub(crate) fn error(&self, error: io::Error) -> ClientError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                ClientError::Garbled(error.to_string())
            }
            _ => ClientError::Unreachable {
                socket: self.socket.clone(),
                source: error,
            },
        }
    }

    /// Reads as many of `left` bytes as come at once; none is an early end.
    fn read_counted(&mut self, left: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let n = self.input.read(&mut buffer[..most])?;
        if n == 0 {
            return Err(early_end());
        }
        Ok(n)
    }

    /// Reads the line before a chunk: its size. 0 is the last; the trailers
    /// behind it are read too.
    fn next_chunk(&mut self, first: bool) -> io::Result<u64> {
        if !first && !self.line()?.is_empty() {
            return Err(garbage("a chunk is longer than its size"));
        }
        let mut line = self.line()?;
        line.extend_from_slice(b"\r\n");
        let Ok(httparse::Status::Complete((_, size))) = httparse::parse_chunk_size(&line) else {
            return Err(garbage("the size of a chunk is not a number"));
        };
        if size == 0 {
            let mut trailers = 0;
            while !self.line()?.is_empty() {
                trailers += 1;
                if trailers > MAX_HEADERS {
                    return Err(garbage("it has too many trailers"));
                }
            }
        }
        Ok(size)
    }

    /// A line without its end.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        (&mut self.input)
            .take(MAX_CHUNK_LINE)
            .read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(if line.len() as u64 + 1 >= MAX_CHUNK_LINE {
                garbage("the line before a chunk is too long")
            } else {
                early_end()
            });
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    }
}

impl<R: BufRead> Read for Body<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        match self.framing {
            Framing::UntilClose => self.input.read(buffer),
            Framing::Length(0) => Ok(0),
            Framing::Length(left) => {
                let n = self.read_counted(left, buffer)?;
                self.framing = Framing::Length(left - n as u64);
                Ok(n)
            }
            Framing::Chunked { mut left, first } => {
                if left == 0 {
                    left = self.next_chunk(first)?;
                    if left == 0 {
                        self.framing = Framing::Length(0);
                        return Ok(0);
                    }
                }
                let n = self.read_counted(left, buffer)?;
                self.framing = Framing::Chunked {
                    left: left - n as u64,
                    first: false,
                };
                Ok(n)
            }
        }
    }
}

fn early_end() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "it breaks off in the middle of the body",
    )
}

fn garbage(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests;
