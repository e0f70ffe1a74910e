//! As much of the engine's API as a switch needs, over its socket.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use serde_json::Value;

/// How long the engine may be silent.
const PATIENCE: Duration = Duration::from_secs(30);
/// More than any answer here has.
const MOST_BYTES: u64 = 32 << 20;

/// Asks for a path and reads the answer as JSON; none when the engine says that
/// there is no such thing.
pub(crate) fn get(socket: &Path, path: &str) -> Result<Option<Value>, String> {
    let answer = exchange(socket, path).map_err(|error| {
        format!(
            "the engine does not answer on {}: {error}",
            socket.display()
        )
    })?;
    read(path, &answer)
}

/// Of HTTP/1.0 is the answer whole when the connection ends, and never in
/// chunks.
fn exchange(socket: &Path, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut answer)?;
    Ok(answer)
}

fn read(path: &str, answer: &[u8]) -> Result<Option<Value>, String> {
    let garbled = |why: &str| format!("the engine's answer to {path} cannot be understood: {why}");
    let end = answer
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .ok_or_else(|| garbled("it is not HTTP"))?;
    let head = String::from_utf8_lossy(&answer[..end]);
    let status = head.split(' ').nth(1).unwrap_or_default();
    let body: Value =
        serde_json::from_slice(&answer[end + 4..]).map_err(|error| garbled(&error.to_string()))?;
    match status {
        "200" => Ok(Some(body)),
        "404" => Ok(None),
        _ => Err(format!(
            "the engine refuses {path}: {}",
            body["message"].as_str().unwrap_or(status)
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(text: &str) -> Result<Option<Value>, String> {
        read("/info", text.as_bytes())
    }

    #[test]
    fn an_answer_is_its_body() {
        let text = "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"a\":1}\n";
        assert_eq!(answer(text), Ok(Some(json!({ "a": 1 }))));
        let text = "HTTP/1.0 404 Not Found\r\n\r\n{\"message\":\"no\"}";
        assert_eq!(answer(text), Ok(None));
        let text = "HTTP/1.0 500 Internal Server Error\r\n\r\n{\"message\":\"broken\"}";
        assert_eq!(
            answer(text),
            Err("the engine refuses /info: broken".to_owned())
        );
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for text in ["", "HTTP/1.0 200 OK\r\n", "HTTP/1.0 200 OK\r\n\r\n{\"a\":"] {
            assert!(answer(text).is_err(), "{text:?}");
        }
    }
}
