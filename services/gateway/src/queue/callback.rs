//! Hands the answers of asynchronous calls over to whoever asked for them.
//!
//! Anybody who may call a function may name an address, so the gateway is
//! careful where it goes: never to loopback or link-local addresses, other than
//! to functions through itself, and never where an answer redirects it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::{
    HeaderMap, Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{self, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{self, TcpStream},
    time,
};
use tokio_util::io::ReaderStream;
use url::{Host, Url};

use super::{
    message::CALL_ID,
    store::{CHUNK, Draft},
};

/// Pauses between the attempts, of which there is one more.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// How long one attempt may take.
const LIMIT: Duration = Duration::from_secs(60);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

const DURATION: HeaderName = HeaderName::from_static("x-duration-seconds");
const STATUS: HeaderName = HeaderName::from_static("x-function-status");
const NAME: HeaderName = HeaderName::from_static("x-function-name");

/// Where answers may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// The gateway's own port.
    pub(super) port: u16,
    /// Whether every address is allowed.
    pub(super) private: bool,
}

/// An answer to be handed over.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) content: Content,
    /// The function, as `name.namespace`.
    pub(super) function: String,
    pub(super) call_id: String,
    /// How long the function took.
    pub(super) seconds: f64,
}

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Content {
    Memory(Bytes),
    /// A file that goes with it.
    File(Draft),
}

/// Where an answer goes.
#[derive(Clone, Debug)]
pub(super) struct Target {
    url: Url,
    port: u16,
}

/// Only the host: the rest can hold what nobody else is to know.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}",
            self.url.host_str().unwrap_or_default(),
            self.port
        )
    }
}

/// Why an answer was not taken.
enum Failure {
    /// It can be tried again.
    Now(String),
    /// It would be the same again.
    Forever(String),
}

impl Target {
    /// Reads an address, and refuses those that can never be reached.
    pub(super) fn parse(text: &str, rules: Rules) -> Result<Self, String> {
        let wrong = |what: &str| format!("X-Callback-Url: {what}");
        let url = Url::parse(text.trim())
            .map_err(|error| wrong(&format!("{error}; write it as http://HOST:PORT/PATH")))?;
        match url.scheme() {
            "http" => {}
            "https" => {
                return Err(wrong(
                    "the gateway has no TLS of its own: name an http:// address, or a function \
                     that passes the answer on",
                ));
            }
            other => return Err(wrong(&format!("{other}: is no http:// address"))),
        }
        let target = Self {
            port: url.port().unwrap_or(80),
            url,
        };
        let address = match target.url.host() {
            None => return Err(wrong("it names no host")),
            Some(Host::Domain(_)) => None,
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        };
        match address {
            Some(address) if !target.permits(address, rules) => Err(wrong(&format!(
                "{address} is an address of the node itself, where only /function/ and \
                 /async-function/ of the gateway can be called"
            ))),
            _ => Ok(target),
        }
    }

    /// Whether it may be sought at this address.
    fn permits(&self, address: IpAddr, rules: Rules) -> bool {
        let function = ["/function/", "/async-function/"]
            .iter()
            .any(|prefix| self.url.path().starts_with(prefix));
        let address = address.to_canonical();
        rules.private
            || !is_private(address)
            || (address.is_loopback() && self.port == rules.port && function)
    }

    /// Hands an answer over, trying again a few times.
    pub(super) async fn hand_over(&self, answer: &Answer, rules: Rules) -> Result<(), String> {
        for pause in PAUSES {
            match self.attempt_in_time(answer, rules).await {
                Ok(()) => return Ok(()),
                Err(Failure::Forever(reason)) => return Err(reason),
                Err(Failure::Now(_)) => time::sleep(pause).await,
            }
        }
        match self.attempt_in_time(answer, rules).await {
            Ok(()) => Ok(()),
            Err(Failure::Forever(reason) | Failure::Now(reason)) => Err(reason),
        }
    }

    async fn attempt_in_time(&self, answer: &Answer, rules: Rules) -> Result<(), Failure> {
        match time::timeout(LIMIT, self.attempt(answer, rules)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Now(format!(
                "no answer within {} s",
                LIMIT.as_secs()
            ))),
        }
    }

    async fn attempt(&self, answer: &Answer, rules: Rules) -> Result<(), Failure> {
        let again = |error: &dyn fmt::Display| Failure::Now(error.to_string());
        let stream = self.connect(rules).await?;
        let _ = stream.set_nodelay(true);
        let request = self.request(answer).await.map_err(|error| again(&error))?;
        let (mut sender, connection) = http1::Builder::new()
            .title_case_headers(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| again(&error))?;
        // It ends with the sender, at the end of this function.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let status = sender
            .send_request(request)
            .await
            .map_err(|error| again(&error))?
            .status();
        let told = format!("it answers {status}");
        match status {
            _ if status.is_success() => Ok(()),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Err(Failure::Now(told)),
            _ if status.is_server_error() => Err(Failure::Now(told)),
            _ if status.is_redirection() => Err(Failure::Forever(format!(
                "{told}, and redirects are not followed"
            ))),
            _ => Err(Failure::Forever(told)),
        }
    }

    /// Connects to the first address that answers. What was checked is what is
    /// connected to, whatever the name means a moment later.
    async fn connect(&self, rules: Rules) -> Result<TcpStream, Failure> {
        let addresses: Vec<SocketAddr> = match self.url.host() {
            Some(Host::Ipv4(address)) => vec![(address, self.port).into()],
            Some(Host::Ipv6(address)) => vec![(address, self.port).into()],
            Some(Host::Domain(name)) => net::lookup_host((name, self.port))
                .await
                .map_err(|error| Failure::Now(format!("its name is not found: {error}")))?
                .collect(),
            None => Vec::new(),
        };
        let mut failure = Failure::Forever(
            "it is an address of the node itself, which is not allowed".to_owned(),
        );
        for address in addresses {
            if !self.permits(address.ip(), rules) {
                continue;
            }
            match time::timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = Failure::Now(error.to_string()),
                Err(_) => failure = Failure::Now("it cannot be reached".to_owned()),
            }
        }
        Err(failure)
    }

    async fn request(
        &self,
        answer: &Answer,
    ) -> Result<Request<Body>, Box<dyn std::error::Error + Send + Sync>> {
        let (body, length) = match &answer.content {
            Content::Memory(bytes) => (Body::from(bytes.clone()), bytes.len() as u64),
            Content::File(draft) => {
                let file = tokio::fs::File::open(draft.path()).await?;
                (
                    Body::from_stream(ReaderStream::with_capacity(file, CHUNK)),
                    draft.length(),
                )
            }
        };
        let mut path = self.url.path().to_owned();
        if let Some(query) = self.url.query() {
            path = format!("{path}?{query}");
        }
        let mut request = Request::post(path).body(body)?;
        let headers = request.headers_mut();
        *headers = answer.headers.clone();
        let host = match self.url.port() {
            Some(port) => format!("{}:{port}", self.url.host_str().unwrap_or_default()),
            None => self.url.host_str().unwrap_or_default().to_owned(),
        };
        headers.insert(header::HOST, HeaderValue::try_from(host)?);
        headers.insert(header::CONTENT_LENGTH, length.into());
        headers.insert(
            DURATION,
            HeaderValue::try_from(format!("{:.6}", answer.seconds))?,
        );
        headers.insert(STATUS, answer.status.as_u16().into());
        headers.insert(NAME, HeaderValue::try_from(answer.function.as_str())?);
        if let Some(call_id) = super::message::value(&answer.call_id) {
            headers.insert(CALL_ID, call_id);
        }
        if !self.url.username().is_empty() {
            let password = self.url.password().unwrap_or_default();
            let both = STANDARD.encode(format!("{}:{password}", self.url.username()));
            let mut value = HeaderValue::try_from(format!("Basic {both}"))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }
}

/// Whether an address leads to the node itself, or to its own cable only.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_loopback()
                || address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast()
                || address.octets()[0] == 0
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        port: 8080,
        private: false,
    };

    #[test]
    fn addresses_of_the_network_are_taken() {
        for url in [
            "http://192.168.1.5/x",
            "http://10.0.0.1:9000/",
            "http://[2001:db8::1]:80/x?y=z",
            "http://node2.local:8080/function/sink",
            "http://user:secret@192.0.2.1/",
            "http://127.0.0.1:8080/function/sink",
            "http://[::1]:8080/async-function/sink",
            // Whatever it resolves to is looked at then.
            "http://localhost/x",
        ] {
            assert!(Target::parse(url, RULES).is_ok(), "{url}");
        }
    }

    #[test]
    fn what_can_never_be_reached_is_refused_with_a_sentence() {
        for (url, reason) in [
            ("", "relative URL"),
            ("/function/x", "relative URL"),
            ("node:8080", "is no http:// address"),
            ("ftp://192.0.2.1/", "is no http:// address"),
            ("file:///etc/passwd", "is no http:// address"),
            ("unix:/run/docker.sock", "is no http:// address"),
            ("https://example.org/x", "no TLS"),
            ("http://", "empty host"),
            ("http://a b/", "invalid"),
            ("http://192.0.2.1:99999/", "port"),
        ] {
            let error = Target::parse(url, RULES).unwrap_err();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }

    #[test]
    fn the_node_itself_is_refused_in_every_spelling() {
        for url in [
            "http://127.0.0.1/",
            "http://127.0.0.1:8080/system/functions",
            "http://127.0.0.1:8080/function",
            "http://127.0.0.1:8080/function/../system/functions",
            "http://127.0.0.1:8082/function/x",
            "http://127.1:9000/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0.0.0.0:8080/function/x",
            "http://0/",
            "http://[::1]/",
            "http://[::]/",
            "http://[::ffff:127.0.0.1]/",
            "http://169.254.169.254/latest",
            "http://[fe80::1]/",
            "http://224.0.0.1/",
            "http://255.255.255.255/",
            "http://[ff02::1]/",
        ] {
            let error = Target::parse(url, RULES).unwrap_err();
            assert!(error.contains("the node itself"), "{url}: {error}");
            let private = Rules {
                private: true,
                ..RULES
            };
            assert!(Target::parse(url, private).is_ok(), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_of_the_node_itself_is_refused_once_it_is_known() {
        let target = Target::parse("http://localhost:9/x", RULES).unwrap();
        let Err(Failure::Forever(reason)) = target.connect(RULES).await else {
            panic!("it was tried");
        };
        assert!(reason.contains("the node itself"), "{reason}");
    }

    #[test]
    fn what_a_callback_names_is_not_shown() {
        let target = Target::parse("http://user:secret@192.0.2.1:81/token?key=1", RULES).unwrap();
        assert_eq!(target.to_string(), "192.0.2.1:81");
    }
}
