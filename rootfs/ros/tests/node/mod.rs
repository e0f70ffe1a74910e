//! A node as `ros` sees it: a folder with what it says of itself, and a socket
//! that answers from a list.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// A running daemon, one that failed, a oneshot that is done, and one that is
/// not enabled.
pub(crate) const SERVICES: &str = r#"[
  {"name":"network","description":"Addresses and routes","kind":"daemon","enabled":true,
   "state":"ready","pid":71,"started_us":2000000,"ready_us":2600000,"restarts":0,"exit":null,
   "memory":2097152,"reason":""},
  {"name":"ntp","description":"Network time","kind":"daemon","enabled":true,
   "state":"backoff","pid":null,"started_us":2000000,"ready_us":null,"restarts":3,
   "exit":{"code":1},"memory":null,"reason":"ended with status 1"},
  {"name":"coldplug","description":"Devices that are there at boot","kind":"oneshot",
   "enabled":true,"state":"done","pid":null,"started_us":1900000,"ready_us":2000000,
   "restarts":0,"exit":{"code":0},"memory":null,"reason":""},
  {"name":"nats","description":"Messages","kind":"daemon","enabled":false,"state":"stopped",
   "pid":null,"started_us":null,"ready_us":null,"restarts":0,"exit":null,"memory":null,
   "reason":""}
]"#;

/// A boot that went well.
pub(crate) const BOOT: &str = r#"{
  "steps":[
    {"stage":"initramfs","number":1,"name":"pseudo filesystems","start_us":1200000,"duration_us":4000},
    {"stage":"system","number":1,"name":"early modules","start_us":1500000,"duration_us":250000,
     "note":"passed over nvme"}],
  "runtime_us":1900000,
  "services":[
    {"name":"network","start_us":2000000,"ready_us":2600000,"state":"ready"},
    {"name":"docker","start_us":2600000,"ready_us":9800000,"state":"ready"}]}"#;

/// Two lines of a log.
pub(crate) const LOG: &str = concat!(
    r#"{"time":"2026-11-21T12:00:00.000Z","stream":"stdout","text":"one"}"#,
    "\n",
    r#"{"time":"2026-11-21T12:00:01.000Z","stream":"stderr","text":"two"}"#,
    "\n"
);

/// A node and what its runtime was asked.
pub(crate) struct Node {
    folder: tempfile::TempDir,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Node {
    /// A node whose runtime gives these answers: request line to status and
    /// body. To everything else it says 404.
    pub(crate) fn new(answers: &[(&'static str, u16, &'static str)]) -> Self {
        let node = Self::without_runtime();
        let listener = UnixListener::bind(node.socket()).unwrap();
        let answers: HashMap<_, _> = answers.iter().map(|&(k, s, b)| (k, (s, b))).collect();
        let requests = Arc::clone(&node.requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&stream.unwrap(), &answers, &requests);
            }
        });
        node
    }

    /// A node with services, a boot and a log.
    pub(crate) fn usual() -> Self {
        Self::new(&[
            ("GET /v1/services", 200, SERVICES),
            ("GET /v1/boot", 200, BOOT),
            ("GET /v1/services/network/logs", 200, LOG),
            ("GET /v1/services/network/logs?tail=2&follow=true", 200, LOG),
        ])
    }

    /// A node on whose socket nobody listens.
    pub(crate) fn without_runtime() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let node = Self {
            folder,
            requests: Arc::default(),
        };
        node.write(
            "usr/share/rubus/image.json",
            r#"{"board":"rpi4","version":"0.1.0","build_id":"5f0c2a91","timestamp":1760000000,
                "kernel":"6.12.57"}"#,
        );
        node.write(
            "proc/1/mountinfo",
            "30 22 179:3 / /run/rubus/slot ro - vfat /dev/mmcblk0p3 ro\n",
        );
        node.write("sys/dev/block/179:3/partition", "3\n");
        node.write(
            "proc/meminfo",
            "MemTotal: 1024000 kB\nMemFree: 1 kB\nMemAvailable: 921600 kB\n",
        );
        node.write("data/keep", "");
        node
    }

    /// Where a path of the node is.
    #[allow(dead_code, reason = "not every test looks at files")]
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file of the node.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// `ros` on this node.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ros"));
        command
            .arg("--socket")
            .arg(self.socket())
            .arg("--host")
            .arg(self.folder.path())
            .args(line.split_whitespace())
            .stdin(Stdio::null());
        command
    }

    /// How a command ends.
    pub(crate) fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// What a command that works prints.
    pub(crate) fn prints(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(stderr(&output), "", "{line}");
        assert_eq!(output.status.code(), Some(0), "{line}");
        stdout(&output)
    }

    /// The same, as JSON.
    pub(crate) fn json(&self, line: &str) -> serde_json::Value {
        serde_json::from_str(&self.prints(line)).unwrap()
    }

    /// The error of a command that fails: one line, and nothing on standard
    /// output.
    pub(crate) fn fails(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert_eq!(stdout(&output), "", "{line}");
        let error = stderr(&output);
        assert!(error.starts_with("ros: "), "{error}");
        assert_eq!(error.matches('\n').count(), 1, "{error}");
        error.trim_end().to_owned()
    }

    /// The requests so far, with their bodies.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: &UnixStream,
    answers: &HashMap<&str, (u16, &str)>,
    requests: &Mutex<Vec<String>>,
) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let request = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1");
    let body = String::from_utf8(body).unwrap();
    let asked = format!("{request} {body}").trim_end().to_owned();
    requests.lock().unwrap().push(asked);
    let (status, body) = answers
        .get(request)
        .copied()
        .unwrap_or((404, r#"{"error":"no such thing"}"#));
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n{body}"
    );
}

/// What a command printed.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command complained about.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
