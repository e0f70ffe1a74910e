//! The gateway's program, killed while it takes asynchronous calls in.

mod support;

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use support::client::{Answer, request};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time,
};

/// A gateway of its own process, without an engine: whatever it takes in waits.
struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    async fn start(state: &Path) -> Self {
        let address = free().await;
        let child = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .env_clear()
            .env("address", address.ip().to_string())
            .env("port", address.port().to_string())
            .env("metrics_port", free().await.port().to_string())
            .env("basic_auth", "false")
            .env("state_path", state)
            .env("functions_path", state.join("none"))
            .env("DOCKER_SOCKET", state.join("none/docker.sock"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let program = Self { child, address };
        let start = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "it does not start"
            );
            time::sleep(Duration::from_millis(10)).await;
        }
        program
    }

    /// How many calls there are. Now and then it tries one, and finds no engine.
    async fn count(&self) -> u64 {
        let answer: Answer = request(self.address, "GET", "/system/queue", &[], b"").await;
        let queue = answer.json();
        queue["depth"].as_u64().unwrap() + queue["inflight"].as_u64().unwrap()
    }
}

impl Drop for Program {
    /// SIGKILL: nothing is tidied up.
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

async fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    listener.local_addr().unwrap()
}

/// Sends calls until the gateway is gone. Returns the ids of those that were
/// answered with 202.
async fn send(address: SocketAddr, name: String) -> Vec<String> {
    let mut accepted = Vec::new();
    for number in 0.. {
        let id = format!("{name}-{number}");
        let Ok(mut stream) = TcpStream::connect(address).await else {
            return accepted;
        };
        // Some are written in one piece, some in several.
        let body = id.repeat(number % 7 * 3000);
        let call = format!(
            "POST /async-function/echo HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\
             X-Call-Id: {id}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut answer = [0; 12];
        if stream.write_all(call.as_bytes()).await.is_err()
            || stream.read_exact(&mut answer).await.is_err()
        {
            return accepted;
        }
        assert_eq!(&answer, b"HTTP/1.1 202");
        accepted.push(id);
    }
    accepted
}

#[tokio::test]
async fn nothing_that_was_accepted_is_lost_by_a_kill() {
    let state = tempfile::tempdir().unwrap();
    let waiting = state.path().join("queue/waiting");
    let mut accepted = BTreeSet::new();
    for round in 0..5 {
        let program = Program::start(state.path()).await;
        let address = program.address;
        let callers: Vec<_> = (0..4)
            .map(|caller| tokio::spawn(send(address, format!("{round}-{caller}"))))
            .collect();
        time::sleep(Duration::from_millis(100 + 37 * round)).await;
        drop(program);
        for caller in callers {
            accepted.extend(caller.await.unwrap());
        }
    }
    assert!(accepted.len() > 20, "only {}", accepted.len());

    let program = Program::start(state.path()).await;
    // One that was stored and not answered any more is there as well.
    let count = program.count().await;
    assert!(
        count >= accepted.len() as u64,
        "{count} of {}",
        accepted.len()
    );
    assert_eq!(
        std::fs::read_dir(state.path().join("queue/new"))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(
        std::fs::read_dir(state.path().join("queue/dead"))
            .unwrap()
            .count(),
        0
    );
    let stored: BTreeSet<String> = std::fs::read_dir(&waiting)
        .unwrap()
        .map(|entry| call_id(&std::fs::read(entry.unwrap().path()).unwrap()))
        .collect();
    let lost: Vec<&String> = accepted.difference(&stored).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

/// The call id in a message's file, which has it behind the body.
fn call_id(file: &[u8]) -> String {
    let mark = b"\"x-call-id\":[\"";
    let place = file.windows(mark.len()).rposition(|window| window == mark);
    let rest = &file[place.unwrap() + mark.len()..];
    let end = rest.iter().position(|&byte| byte == b'"').unwrap();
    String::from_utf8(rest[..end].to_vec()).unwrap()
}
