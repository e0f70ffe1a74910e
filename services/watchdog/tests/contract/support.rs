//! Starts the real program and speaks HTTP to it.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fwatchdog");

/// A running watchdog; killed when it goes out of scope.
pub(crate) struct Watchdog {
    child: Child,
    pub(crate) port: u16,
    pub(crate) metrics_port: u16,
    pub(crate) folder: PathBuf,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Watchdog {
    /// Starts a watchdog with these variables and waits until it is healthy.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        let watchdog = Self::launch(variables);
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", watchdog.port)) {
                send(&mut stream, "GET", "/_/health", &[], b"");
                if receive(&mut stream).status == 200
                    || variables.contains(&("suppress_lock", "true"))
                {
                    return watchdog;
                }
            }
            assert!(Instant::now() < deadline, "the watchdog did not start");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts a watchdog with these variables.
    pub(crate) fn launch(variables: &[(&str, &str)]) -> Self {
        let folder = folder();
        let (port, metrics_port) = (free_port(), free_port());
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let output = std::fs::File::create(folder.join("output")).unwrap();
        let child = Command::new(PROGRAM)
            .env("TMPDIR", &folder)
            .env("port", port.to_string())
            .env("metrics_port", metrics_port.to_string())
            .envs(variables.iter().copied())
            .stdout(output)
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            child,
            port,
            metrics_port,
            folder,
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.port)
    }

    /// One request over a connection of its own.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> Answer {
        let mut stream = self.connect();
        send(&mut stream, method, path, headers, body);
        receive_for(&mut stream, method)
    }

    pub(crate) fn post(&self, body: &[u8]) -> Answer {
        self.request("POST", "/", &[], body)
    }

    /// The program's number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Most memory that the program had at a time, in KiB.
    pub(crate) fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let number = line.unwrap().split_whitespace().nth(1);
        number.unwrap().parse().unwrap()
    }

    /// What the process of the function wrote to standard output, as far as that
    /// is passed on.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(self.folder.join("output")).unwrap()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap()
    }

    pub(crate) fn terminate(&self) {
        let status = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        assert!(status.unwrap().success());
    }

    /// Waits for its end; returns its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // What is killed cannot end its own processes.
        let groups = children(self.pid());
        let _ = self.child.kill();
        for (group, _) in groups {
            let _ = Command::new("kill")
                .args(["-KILL", "--", &format!("-{group}")])
                .stderr(Stdio::null())
                .status();
        }
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Runs the program to its end: exit code, standard output, standard error.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let output = Command::new(PROGRAM)
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// A new, empty folder.
pub(crate) fn folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("fwatchdog-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A port on which nobody listens.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("[::]:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

pub(crate) fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// Writes a request with its length, unless a header says that it is chunked.
pub(crate) fn send(
    stream: &mut TcpStream,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: node:8080\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    // The watchdog may answer, and close, before it has read everything.
    let _ = stream.write_all(body);
}

pub(crate) fn receive(stream: &mut TcpStream) -> Answer {
    receive_for(stream, "GET")
}

/// Reads an answer to a request of this method.
pub(crate) fn receive_for(stream: &mut TcpStream, method: &str) -> Answer {
    let mut answer = receive_head(stream);
    if method == "HEAD" {
        return answer;
    }
    if answer.header("transfer-encoding") == Some("chunked") {
        while let Some(chunk) = receive_chunk(stream) {
            answer.body.extend_from_slice(&chunk);
        }
        return answer;
    }
    let length: usize = answer
        .header("content-length")
        .map_or(0, |text| text.parse().unwrap());
    answer.body.resize(length, 0);
    stream.read_exact(&mut answer.body).unwrap();
    answer
}

/// Reads an answer up to its body.
pub(crate) fn receive_head(stream: &mut TcpStream) -> Answer {
    let head = read_line_end(stream, b"\r\n\r\n");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head,
        body: Vec::new(),
    }
}

/// Reads the next chunk of a chunked body; nothing for the last one.
pub(crate) fn receive_chunk(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let size = read_line_end(stream, b"\r\n");
    let size = usize::from_str_radix(size.trim(), 16).unwrap();
    let mut chunk = vec![0; size + 2];
    stream.read_exact(&mut chunk).unwrap();
    assert!(chunk.ends_with(b"\r\n"));
    chunk.truncate(size);
    (size > 0).then_some(chunk)
}

/// Reads up to `end`, and not a byte more.
fn read_line_end(stream: &mut TcpStream, end: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(end) {
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

/// Whether the other side closed the connection, and sent nothing before.
pub(crate) fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// Waits until something is so; `what` says what.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A script as a file of its own: `fprocess` knows no quotes.
pub(crate) fn script(text: &str) -> String {
    let path = folder().join("script");
    std::fs::write(&path, text).unwrap();
    format!("sh {}", path.display())
}

/// Whether a `sleep` with this argument runs.
pub(crate) fn running(argument: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        std::fs::read(entry.path().join("cmdline"))
            .is_ok_and(|line| line == format!("sleep\0{argument}\0").as_bytes())
    })
}

/// Number and state of every child of a process.
pub(crate) fn children(of: u32) -> Vec<(u32, String)> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
        .filter_map(|stat| {
            let (process, rest) = stat.rsplit_once(") ")?;
            let (number, _) = process.split_once(' ')?;
            let mut fields = rest.split(' ');
            let state = fields.next()?.to_owned();
            (fields.next()?.parse() == Ok(of)).then_some((number.parse().ok()?, state))
        })
        .collect()
}

/// An argument for `sleep` that no other test uses; it is more than a minute.
pub(crate) fn long_time() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}.{number}", 100 + std::process::id())
}
