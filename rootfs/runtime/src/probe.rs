//! Health checks over a socket. They never block: the loop says when there is
//! something to write or read.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rubus_service::{
    Probe,
    syntax::{Address, HttpTarget},
};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, send,
        socket_with, sockopt,
    },
};

/// The first line of an answer is shorter than this.
const LONGEST_STATUS_LINE: usize = 256;

/// A health check under way.
pub(crate) struct SocketProbe {
    socket: OwnedFd,
    stage: Stage,
    /// What to send once connected; empty for a check of the port alone.
    request: Vec<u8>,
    answer: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Answering,
}

/// What a step of a health check came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Wait until the socket is ready again.
    Wait,
    /// It is over.
    Over(Result<(), String>),
}

impl SocketProbe {
    /// Begins to connect.
    pub(crate) fn start(probe: &Probe) -> Result<SocketProbe, String> {
        let (address, request) = match probe {
            Probe::Exec(_) => return Err("is not a check over a socket".to_owned()),
            Probe::Tcp(port) => (Address::Tcp(([127, 0, 0, 1], *port).into()), Vec::new()),
            Probe::Http(url) => {
                let target: HttpTarget = url.parse()?;
                let request = format!(
                    "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nUser-Agent: rubus\r\n\r\n",
                    target.path, target.host
                );
                (target.address, request.into_bytes())
            }
        };
        let socket = match &address {
            Address::Tcp(address) => connect_tcp(*address),
            Address::Unix(path) => SocketAddrUnix::new(path).and_then(|address| {
                let socket = new_socket(AddressFamily::UNIX)?;
                started(connect(&socket, &address)).map(|()| socket)
            }),
        };
        Ok(SocketProbe {
            socket: socket.map_err(|error| cannot_connect(error.into()))?,
            stage: Stage::Connecting,
            request,
            answer: Vec::new(),
        })
    }

    /// What to listen to, for writing and for reading.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Goes on as far as it can.
    pub(crate) fn advance(&mut self) -> Progress {
        if self.stage == Stage::Connecting {
            match sockopt::socket_error(&self.socket) {
                Ok(Ok(())) => {}
                Ok(Err(error)) | Err(error) => {
                    return Progress::Over(Err(cannot_connect(error.into())));
                }
            }
            if rustix::net::getpeername(&self.socket).is_err() {
                return Progress::Wait;
            }
            if self.request.is_empty() {
                return Progress::Over(Ok(()));
            }
            match send(&self.socket, &self.request, SendFlags::NOSIGNAL) {
                Ok(count) if count == self.request.len() => self.stage = Stage::Answering,
                // A request of a few hundred bytes fits into an empty buffer.
                Ok(_) => return Progress::Over(Err("does not take the request".to_owned())),
                Err(error) => return Progress::Over(Err(cannot_connect(error.into()))),
            }
        }
        self.read_answer()
    }

    fn read_answer(&mut self) -> Progress {
        let mut buffer = [0; LONGEST_STATUS_LINE];
        loop {
            match recv(&self.socket, &mut buffer, rustix::net::RecvFlags::empty()) {
                Ok((0, _)) => {
                    return Progress::Over(Err("closed the connection without an answer".into()));
                }
                Ok((count, _)) => self.answer.extend(&buffer[..count]),
                Err(Errno::AGAIN) => return Progress::Wait,
                Err(Errno::INTR) => continue,
                Err(error) => {
                    return Progress::Over(Err(format!(
                        "broke off the connection: {}",
                        io::Error::from(error)
                    )));
                }
            }
            if let Some(verdict) = judge(&self.answer) {
                return Progress::Over(verdict);
            }
        }
    }
}

fn connect_tcp(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = new_socket(family)?;
    started(connect(&socket, &address))?;
    Ok(socket)
}

fn new_socket(family: AddressFamily) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    socket_with(family, SocketType::STREAM, flags, None)
}

fn started(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::INPROGRESS) => Ok(()),
        other => other,
    }
}

fn cannot_connect(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refuses connections".to_owned(),
        io::ErrorKind::NotFound => "has not made its socket".to_owned(),
        _ => format!("cannot be connected to: {error}"),
    }
}

/// Reads the status line of an answer; `None`: it is not whole yet.
fn judge(answer: &[u8]) -> Option<Result<(), String>> {
    let Some(end) = answer.iter().position(|&byte| byte == b'\n') else {
        return (answer.len() >= LONGEST_STATUS_LINE)
            .then(|| Err("does not answer in HTTP".to_owned()));
    };
    let line = String::from_utf8_lossy(&answer[..end]);
    let mut words = line.split_ascii_whitespace();
    let version = words.next().unwrap_or_default();
    let status = words.next().and_then(|it| it.parse::<u16>().ok());
    Some(match status {
        Some(200..=399) if version.starts_with("HTTP/") => Ok(()),
        Some(status) if version.starts_with("HTTP/") => {
            Err(format!("answered with status {status}"))
        }
        _ => Err("does not answer in HTTP".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        os::unix::net::UnixListener,
        time::{Duration, Instant},
    };

    use super::*;

    fn run(probe: &Probe) -> Result<(), String> {
        let mut it = SocketProbe::start(probe)?;
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            if let Progress::Over(result) = it.advance() {
                return result;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err("did not answer".to_owned())
    }

    fn serve(answer: &'static [u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer).unwrap();
        });
        port
    }

    #[test]
    fn an_answer_is_judged_by_its_status() {
        let http = |answer| {
            run(&Probe::Http(format!(
                "http://127.0.0.1:{}/x",
                serve(answer)
            )))
        };
        assert_eq!(http(b"HTTP/1.1 200 OK\r\n\r\n"), Ok(()));
        assert_eq!(http(b"HTTP/1.0 302 Found\r\n"), Ok(()));
        assert_eq!(
            http(b"HTTP/1.1 503 Busy\r\n\r\n"),
            Err("answered with status 503".to_owned())
        );
        assert_eq!(
            http(b"SSH-2.0-x\r\n"),
            Err("does not answer in HTTP".to_owned())
        );
        assert_eq!(
            http(&[b'x'; 4096]),
            Err("does not answer in HTTP".to_owned())
        );
        assert!(http(b"").unwrap_err().contains("without an answer"));
    }

    #[test]
    fn a_port_is_good_when_it_is_open() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(run(&Probe::Tcp(port)), Ok(()));
        drop(listener);
        assert_eq!(
            run(&Probe::Tcp(port)),
            Err("refuses connections".to_owned())
        );
    }

    #[test]
    fn a_unix_socket_is_asked_like_a_port() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let probe = Probe::Http(format!("http://unix:{}:/_ping", path.display()));
        assert_eq!(
            SocketProbe::start(&probe).err().unwrap(),
            "has not made its socket"
        );
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let count = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            request[..count].to_vec()
        });
        assert_eq!(run(&probe), Ok(()));
        assert!(
            server
                .join()
                .unwrap()
                .starts_with(b"GET /_ping HTTP/1.1\r\n")
        );
    }

    #[test]
    fn one_that_never_answers_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let probe = Probe::Http(format!("http://127.0.0.1:{port}/"));
        let mut it = SocketProbe::start(&probe).unwrap();
        for _ in 0..5 {
            assert_eq!(it.advance(), Progress::Wait);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
