//! The server of a function, played by the test: what it sees of the watchdog is
//! looked at from its side.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// A server that the test plays.
pub(crate) struct Upstream {
    pub(crate) url: String,
    connections: Arc<AtomicUsize>,
}

/// One request as the server sees it.
#[derive(Debug)]
pub(crate) struct Request {
    /// Request line and headers, as they came.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// One connection of the watchdog.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    /// The head of the next request; nothing when the connection is closed.
    pub(crate) fn head(&mut self) -> Option<Request> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        Some(Request {
            head,
            body: Vec::new(),
        })
    }

    /// The next request with its body.
    pub(crate) fn request(&mut self) -> Option<Request> {
        let mut request = self.head()?;
        if request.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                request.body.extend(chunk);
            }
        } else if let Some(length) = request.header("content-length") {
            request.body.resize(length.parse().unwrap(), 0);
            self.0.read_exact(&mut request.body).unwrap();
        }
        Some(request)
    }

    /// The next chunk of a chunked body; nothing for the last one.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut size = String::new();
        self.0.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.0.read_exact(&mut chunk).unwrap();
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> usize {
        self.0.read(buffer).unwrap_or(0)
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        // The watchdog may have hung up; what it saw is the test's to check.
        let _ = self.0.get_mut().write_all(bytes.as_ref());
    }

    /// Answers with this body.
    pub(crate) fn answer(&mut self, body: &str) {
        let length = body.len();
        self.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    }
}

impl Upstream {
    /// A server that does this with every connection.
    pub(crate) fn start(serve: impl Fn(&mut Connection) + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), serve)
    }

    /// The same on a socket that listens already.
    pub(crate) fn on(
        listener: TcpListener,
        serve: impl Fn(&mut Connection) + Send + Sync + 'static,
    ) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let (counter, serve) = (Arc::clone(&connections), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let (counter, serve) = (Arc::clone(&counter), Arc::clone(&serve));
                thread::spawn(move || {
                    // The watchdog looks whether somebody listens; that is no
                    // connection to serve.
                    if matches!(stream.peek(&mut [0]), Ok(1)) {
                        counter.fetch_add(1, Ordering::Relaxed);
                        serve(&mut Connection(BufReader::new(stream)));
                    }
                });
            }
        });
        Self { url, connections }
    }

    /// A server that answers every request with this.
    pub(crate) fn answering(answer: &'static str) -> Self {
        Self::start(move |connection| {
            while connection.request().is_some() {
                connection.write(answer);
            }
        })
    }

    /// A server that answers a request with what it saw of it.
    pub(crate) fn mirror() -> Self {
        Self::start(|connection| {
            while let Some(request) = connection.request() {
                let body = String::from_utf8_lossy(&request.body).into_owned();
                connection.answer(&(request.head + &body));
            }
        })
    }

    /// How many connections brought requests.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}
