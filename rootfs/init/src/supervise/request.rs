//! Asks the system runtime to stop the services and end.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rubus_config::paths;
use rubus_config::power::PowerAction;

/// How long the answer may take; less than the watchdog waits.
const PATIENCE: Duration = Duration::from_secs(4);

/// Posts the request. An answer means that the runtime is at it.
pub(super) fn power(action: PowerAction) -> Result<()> {
    let stream = UnixStream::connect(paths::RUNTIME_SOCKET)
        .with_context(|| format!("cannot connect to {}", paths::RUNTIME_SOCKET))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    post(&stream, action)
}

fn post<S>(stream: S, action: PowerAction) -> Result<()>
where
    S: Read + Write,
{
    let mut stream = stream;
    let action = serde_json::to_string(&action)?;
    let body = format!("{{\"action\":{action}}}");
    let request = format!(
        "POST /v1/power HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut status = String::new();
    // A status line is short, whatever the other side sends.
    BufReader::new(stream.take(256)).read_line(&mut status)?;
    match status.split(' ').nth(1) {
        Some(code) if code.starts_with('2') => Ok(()),
        _ => bail!("it answered {:?}", status.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::thread;

    use rubus_config::power::PowerAction;

    use super::post;

    fn answered(answer: &'static str) -> (anyhow::Result<()>, String) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || {
            let mut request = [0; 1024];
            let length = theirs.read(&mut request).unwrap();
            theirs.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request[..length].to_vec()).unwrap()
        });
        let result = post(&ours, PowerAction::Poweroff);
        (result, server.join().unwrap())
    }

    #[test]
    fn the_request_is_plain_http() {
        let (result, request) = answered("HTTP/1.1 202 Accepted\r\n\r\n");
        assert!(result.is_ok());
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /v1/power HTTP/1.1\r\n"));
        assert_eq!(body, r#"{"action":"poweroff"}"#);
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
    }

    #[test]
    fn anything_but_success_is_a_refusal() {
        for answer in ["HTTP/1.1 409 Conflict\r\n\r\n", "garbage", ""] {
            assert!(answered(answer).0.is_err(), "{answer:?}");
        }
    }
}
