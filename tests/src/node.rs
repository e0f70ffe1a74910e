//! A running machine.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use crate::tools::{must, rubus, run, ssh_key};

/// How a machine is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The machine, where it is not the board's own.
    pub machine: Option<&'static str>,
    /// The disk that is kept.
    pub state: Option<PathBuf>,
    /// Size of the disk.
    pub disk: Option<&'static str>,
    /// Added to the kernel's command line.
    pub append: Option<&'static str>,
}

/// A running machine; it is switched off hard when this is dropped.
#[derive(Debug)]
pub struct Node {
    child: Child,
    stdin: ChildStdin,
    console: Arc<Mutex<String>>,
    ssh_port: u16,
    gateway_port: u16,
}

impl Node {
    /// Boots an image.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn boot(image: &Path, options: &Options) -> Self {
        use std::os::unix::process::CommandExt;

        let (ssh_port, gateway_port) = (free_port(), free_port());
        let mut command = rubus();
        command
            .arg("run")
            .arg(image)
            .args(["--forward", &format!("{ssh_port}:22")])
            .args(["--forward", &format!("{gateway_port}:8080")]);
        if let Some(machine) = options.machine {
            command.args(["--machine", machine]);
        }
        if let Some(state) = &options.state {
            command.arg("--state").arg(state);
        }
        if let Some(disk) = options.disk {
            command.args(["--disk", disk]);
        }
        if let Some(append) = options.append {
            command.args(["--append", append]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its own group, so that QEMU ends with it.
            .process_group(0)
            .spawn()
            .expect("rubus run starts");
        let console = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().expect("stdout is piped"), &console);
        collect(child.stderr.take().expect("stderr is piped"), &console);
        let stdin = child.stdin.take().expect("stdin is piped");
        Self {
            child,
            stdin,
            console,
            ssh_port,
            gateway_port,
        }
    }

    /// What the serial console has shown so far.
    pub fn console(&self) -> String {
        self.console.lock().expect("no reader panicked").clone()
    }

    /// Types on the serial console.
    ///
    /// # Panics
    /// When the machine is gone.
    pub fn type_line(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").expect("the machine runs");
    }

    /// Waits until the console shows a text.
    ///
    /// # Panics
    /// When it does not in time, or the machine ends first.
    pub fn wait_console(&mut self, text: &str, limit: Duration) {
        self.wait(&format!("{text:?} on the console"), limit, |node| {
            node.console().contains(text)
        });
    }

    /// Waits until somebody can log in.
    ///
    /// # Panics
    /// When nobody can in time.
    pub fn wait_ssh(&mut self, limit: Duration) {
        self.wait("a login over ssh", limit, |node| {
            run(node.ssh_command().arg("true")).status.success()
        });
    }

    /// Runs a command on the node; it has to succeed.
    ///
    /// # Panics
    /// When it fails.
    pub fn ssh(&self, command: &str) -> String {
        must(self.ssh_command().arg(command))
    }

    /// Runs a command on the node.
    pub fn try_ssh(&self, command: &str) -> Output {
        run(self.ssh_command().arg(command))
    }

    /// Waits until a command on the node succeeds.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn wait_ssh_command(&mut self, command: &str, limit: Duration) {
        self.wait(&format!("`{command}`"), limit, |node| {
            node.try_ssh(command).status.success()
        });
    }

    /// Calls the gateway with curl: a path and further arguments; returns the
    /// body and the status.
    pub fn curl(&self, path: &str, args: &[&str]) -> (String, u16) {
        let url = format!("http://127.0.0.1:{}{path}", self.gateway_port);
        let output = run(Command::new("curl")
            .args([
                "--silent",
                "--max-time",
                "120",
                "--write-out",
                "\n%{http_code}",
            ])
            .args(args)
            .arg(url));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap_or((&text, "0"));
        (body.to_owned(), status.parse().unwrap_or(0))
    }

    /// Waits for the machine to end by itself.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn wait_end(&mut self, limit: Duration) -> ExitStatus {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return status;
            }
            thread::sleep(Duration::from_millis(200));
        }
        panic!("the machine does not end\n{}", self.tail());
    }

    /// Pulls the plug.
    pub fn cut_power(mut self) {
        self.kill();
    }

    fn kill(&mut self) {
        let group = format!("-{}", self.child.id());
        // The group is gone already where the machine ended by itself.
        let _ = Command::new("kill")
            .args(["-KILL", "--", &group])
            .stderr(Stdio::null())
            .status();
        let _ = self.child.wait();
    }

    fn wait(&mut self, what: &str, limit: Duration, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + limit;
        while !done(self) {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                panic!(
                    "the machine ended with {status} before {what}\n{}",
                    self.tail()
                );
            }
            assert!(
                Instant::now() < end,
                "no {what} within {} s\n{}",
                limit.as_secs(),
                self.tail()
            );
            thread::sleep(Duration::from_millis(500));
        }
    }

    fn tail(&self) -> String {
        let console = self.console();
        let lines: Vec<&str> = console.lines().collect();
        let from = lines.len().saturating_sub(60);
        format!("--- console ---\n{}\n---", lines[from..].join("\n"))
    }

    /// Runs a command on the node as a user other than `rubus`.
    pub fn try_ssh_as(&self, user: &str, command: &str) -> Output {
        run(self.login(user).arg(command))
    }

    /// The start of a command line that logs in; what follows runs on the node.
    pub fn ssh_command(&self) -> Command {
        self.login("rubus")
    }

    /// Writes a file on the node.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, path: &str, text: &str) {
        let mut child = self
            .ssh_command()
            .arg(format!("cat > {path}"))
            .stdin(Stdio::piped())
            .spawn()
            .expect("ssh starts");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin.write_all(text.as_bytes()).expect("ssh reads");
        drop(stdin);
        assert!(child.wait().expect("ssh ends").success(), "{path}");
    }

    /// What a command on the node says that has to fail, with status 1.
    ///
    /// # Panics
    /// When it succeeds, or fails in another way.
    pub fn complaint(&self, command: &str) -> String {
        let output = self.try_ssh(command);
        assert_eq!(output.status.code(), Some(1), "{command}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Brings a port of the node to this host, until what is returned is
    /// killed.
    ///
    /// # Panics
    /// When ssh cannot be started.
    pub fn tunnel(&self, port: u16) -> (u16, Child) {
        let here = free_port();
        let child = self
            .ssh_command()
            .args(["-N", "-o", "ExitOnForwardFailure=yes"])
            .args(["-L", &format!("{here}:127.0.0.1:{port}")])
            .stdin(Stdio::null())
            .spawn();
        (here, child.expect("ssh starts"))
    }

    fn login(&self, user: &str) -> Command {
        let mut command = Command::new("ssh");
        command
            .args(["-p", &self.ssh_port.to_string(), "-i"])
            .arg(ssh_key())
            .args(["-o", "BatchMode=yes"])
            .args(["-o", "ConnectTimeout=20"])
            .args(["-o", "IdentitiesOnly=yes"])
            .args(["-o", "LogLevel=ERROR"])
            .args(["-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null"])
            .arg(format!("{user}@127.0.0.1"));
        command
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn collect(stream: impl Read + Send + 'static, into: &Arc<Mutex<String>>) {
    let into = Arc::clone(into);
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        loop {
            let mut bytes = Vec::new();
            // Prompts end without a line feed: take what is there.
            let count = match reader.fill_buf() {
                Ok([]) | Err(_) => return,
                Ok(buffer) => {
                    bytes.extend_from_slice(buffer);
                    buffer.len()
                }
            };
            reader.consume(count);
            into.lock()
                .expect("no reader panicked")
                .push_str(&String::from_utf8_lossy(&bytes));
        }
    });
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port is free")
        .port()
}
