//! What a watchdog costs: CPU of a request in http mode and of one that forks,
//! the latter beside a bare loop that does no more than start, feed and wait for
//! the same program, and memory at rest.
//!
//! `cargo bench -p watchdog [-- PROGRAM...]`, by `bench/functions`: PROGRAM is
//! another watchdog with the same environment, such as upstream's; all take
//! turns. Times are those of the kernel's accounting, so that other programs
//! disturb them little.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const ROUNDS: usize = 3;
const CONNECTIONS: usize = 10;
const REQUESTS: usize = 30_000;
const FORKS: usize = 1_000;
/// A tick of the times in `/proc/PID/stat`, in microseconds.
const TICK: f64 = 10_000.0;
/// The program of a forking function.
const PROGRAM: &str = "cat";

fn main() {
    let given = std::env::args().skip(1).filter(|it| it != "--bench");
    let mut programs: Vec<String> = given.collect();
    if programs.is_empty() {
        programs.push(env!("CARGO_BIN_EXE_fwatchdog").to_owned());
    }
    let upstream = upstream();
    for round in 1..=ROUNDS {
        println!("round {round}");
        let bare = bare();
        println!("  bare loop: {bare:.0} us CPU to start and wait for {PROGRAM}");
        for program in &programs {
            println!("  {program}");
            measure(program, upstream, bare);
        }
    }
}

fn measure(program: &str, upstream: u16, bare: f64) {
    let url = format!("http://127.0.0.1:{upstream}");
    let http = Watchdog::start(
        program,
        &[
            ("mode", "http"),
            ("fprocess", "sleep 1000000"),
            ("upstream_url", &url),
        ],
    );
    println!("    http: {} KiB resident at rest", http.resident());
    http.load(REQUESTS / 10);
    let (cpu, start) = (http.own_cpu(), Instant::now());
    http.load(REQUESTS);
    let rate = REQUESTS as f64 / start.elapsed().as_secs_f64();
    let cpu = (http.own_cpu() - cpu) / REQUESTS as f64;
    println!(
        "    http: {cpu:.1} us CPU a request at {CONNECTIONS} connections, {rate:.0} requests/s"
    );
    println!("    http: {} KiB resident afterwards", http.resident());
    drop(http);

    let forking = Watchdog::start(program, &[("mode", "serializing"), ("fprocess", PROGRAM)]);
    forking.call(FORKS / 10);
    let cpu = ticks(forking.child.id());
    forking.call(FORKS);
    let cpu = (ticks(forking.child.id()) - cpu) / FORKS as f64;
    println!(
        "    forking: {cpu:.0} us CPU a request, {:.2} of the bare loop",
        cpu / bare
    );
}

/// Starts and feeds the program as a watchdog does, and nothing else; returns
/// microseconds of CPU a time.
fn bare() -> f64 {
    let own = std::process::id();
    let before = ticks(own);
    for _ in 0..FORKS {
        let (input, mut stdin) = io::pipe().unwrap();
        let (mut stdout, output) = io::pipe().unwrap();
        let (mut stderr, errors) = io::pipe().unwrap();
        let mut command = Command::new(PROGRAM);
        command.stdin(input).stdout(output).stderr(errors);
        let mut child = command.process_group(0).spawn().unwrap();
        drop(command);
        stdin.write_all(b"hello").unwrap();
        drop(stdin);
        let mut text = Vec::new();
        stdout.read_to_end(&mut text).unwrap();
        stderr.read_to_end(&mut text).unwrap();
        child.wait().unwrap();
    }
    (ticks(own) - before) / FORKS as f64
}

/// A server that answers everything with five bytes; returns its port.
fn upstream() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                stream.set_nodelay(true).unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut stream = stream;
                while read_message(&mut reader).is_some() {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// Reads a request or an answer whose length is told; nothing at the end.
fn read_message(reader: &mut BufReader<TcpStream>) -> Option<()> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        } else if line == "\r\n" {
            return reader.read_exact(&mut vec![0; length]).ok();
        }
    }
}

/// User and system time of a process and of the children that it waited for, in
/// microseconds.
fn ticks(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let times = fields.split(' ').skip(11).take(4);
    times.map(|time| time.parse::<f64>().unwrap()).sum::<f64>() * TICK
}

struct Watchdog {
    child: Child,
    port: u16,
}

impl Watchdog {
    fn start(program: &str, variables: &[(&str, &str)]) -> Self {
        let free = || TcpListener::bind("[::]:0").unwrap().local_addr().unwrap();
        let (port, metrics_port) = (free().port(), free().port());
        let child = Command::new(program)
            .envs(variables.iter().copied())
            .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
            .env("healthcheck_interval", "1ms")
            .env("port", port.to_string())
            .env("metrics_port", metrics_port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let watchdog = Self { child, port };
        let limit = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < limit, "{program} does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(Duration::from_millis(500));
        watchdog
    }

    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.unwrap().split_whitespace().nth(1);
        number.unwrap().parse().unwrap()
    }

    /// What all threads have used, in microseconds.
    fn own_cpu(&self) -> f64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let used = tasks.flatten().map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap();
            let nanoseconds = text.split(' ').next().unwrap().parse::<f64>().unwrap();
            nanoseconds / 1000.0
        });
        used.sum()
    }

    /// This many requests over all connections.
    fn load(&self, requests: usize) {
        thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| self.call(requests / CONNECTIONS));
            }
        });
    }

    /// This many requests over one connection.
    fn call(&self, requests: usize) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        for _ in 0..requests {
            let request = b"POST /path HTTP/1.1\r\nHost: node:8080\r\nUser-Agent: bench\r\nX-Call-Id: 0b8f1d3a\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
            stream.write_all(request).unwrap();
            read_message(&mut reader).expect("an answer");
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Not killed, so that it ends its own process.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}
