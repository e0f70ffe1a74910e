//! Child processes that do something for a service: the OCI runtime, by its
//! command line.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    os::fd::OwnedFd,
    path::Path,
    process::{Command, Stdio},
};

use rubus_service::{Probe, Service};
use rustix::process::{Pid, Signal};

use crate::{logs, machine::Micros, options::Options, process};

/// How long the OCI runtime may take to start a container.
const LAUNCH_TIME: Micros = 60_000_000;
/// How long it may take to remove one.
const CLEAN_TIME: Micros = 30_000_000;
/// How long a command around a switch may take: it may have to wait until all
/// containers of an engine run again, on a slow card.
const SWITCH_TIME: Micros = 180_000_000;

/// As much as a pipe holds.
const MOST_SAID: u64 = 64 * 1024;

/// What a child process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Launch,
    PostStart,
    Probe,
    Clean,
    /// A service makes ready for a switch.
    Drain,
    /// After a switch it looks whether all is well.
    Gate,
}

impl Role {
    /// What commands inside a service are told apart by.
    fn word(self) -> Option<&'static str> {
        match self {
            Role::PostStart => Some("post-start"),
            Role::Probe => Some("health"),
            Role::Drain => Some("drain"),
            Role::Gate => Some("gate"),
            Role::Launch | Role::Clean => None,
        }
    }
}

/// A child process at work.
pub(crate) struct Job {
    pub(crate) unit: usize,
    pub(crate) role: Role,
    /// When it has taken too long.
    deadline: Option<Micros>,
    /// Whether it was killed for that.
    pub(crate) overdue: bool,
    /// What a command inside a service says.
    said: Option<File>,
}

/// All child processes at work, by number.
#[derive(Default)]
pub(crate) struct Jobs(BTreeMap<i32, Job>);

impl Jobs {
    /// Starts a container.
    pub(crate) fn launch(
        &mut self,
        options: &Options,
        unit: usize,
        bundle: &Path,
        service: &Service,
        now: Micros,
    ) -> io::Result<()> {
        let pid_file = options.pid_file(&service.name);
        remove(&pid_file)?;
        let mut command = oci_runtime(options);
        command
            .args(["run", "--detach", "--pid-file"])
            .arg(&pid_file)
            .arg("--bundle")
            .arg(bundle)
            .arg(&service.name);
        write_to_log(&mut command, options, service)?;
        self.spawn(command, unit, Role::Launch, Some(now + LAUNCH_TIME), None)
    }

    /// Runs the `post_start` command inside a container.
    pub(crate) fn post_start(
        &mut self,
        options: &Options,
        unit: usize,
        service: &Service,
    ) -> io::Result<()> {
        let mut command = exec(options, service, "post-start", &service.post_start)?;
        write_to_log(&mut command, options, service)?;
        self.spawn(command, unit, Role::PostStart, None, None)
    }

    /// Runs a health check inside a container.
    pub(crate) fn probe(
        &mut self,
        options: &Options,
        unit: usize,
        service: &Service,
        deadline: Micros,
    ) -> io::Result<()> {
        let Some(Probe::Exec(args)) = service.health.as_ref().map(|it| &it.probe) else {
            return Ok(());
        };
        let mut command = exec(options, service, "health", args)?;
        let (said, stderr) = pipe()?;
        command.stdout(Stdio::null()).stderr(stderr);
        self.spawn(command, unit, Role::Probe, Some(deadline), Some(said))
    }

    /// Runs a command around a switch inside a container.
    pub(crate) fn around_switch(
        &mut self,
        options: &Options,
        unit: usize,
        role: Role,
        direction: &str,
        service: &Service,
        now: Micros,
    ) -> io::Result<()> {
        let (what, args) = match role {
            Role::Drain => ("drain", &service.switch.drain),
            _ => ("gate", &service.switch.gate),
        };
        let mut command = exec(options, service, what, args)?;
        command.arg(direction);
        let (said, writer) = pipe()?;
        command.stdout(writer.try_clone()?).stderr(writer);
        self.spawn(command, unit, role, Some(now + SWITCH_TIME), Some(said))
    }

    /// Removes what is left of a container.
    pub(crate) fn clean(
        &mut self,
        options: &Options,
        unit: usize,
        service: &Service,
        now: Micros,
    ) -> io::Result<()> {
        remove(&options.pid_file(&service.name))?;
        let mut command = oci_runtime(options);
        command
            .args(["delete", "--force", &service.name])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.spawn(command, unit, Role::Clean, Some(now + CLEAN_TIME), None)
    }

    fn spawn(
        &mut self,
        mut command: Command,
        unit: usize,
        role: Role,
        deadline: Option<Micros>,
        said: Option<File>,
    ) -> io::Result<()> {
        let child = command.stdin(Stdio::null()).spawn()?;
        let job = Job {
            unit,
            role,
            deadline,
            overdue: false,
            said,
        };
        // All children are reaped by number, so the handle is not kept.
        self.0.insert(child.id().cast_signed(), job);
        Ok(())
    }

    /// Takes out the job of a process that ended.
    pub(crate) fn take(&mut self, pid: i32) -> Option<Job> {
        self.0.remove(&pid)
    }

    /// Whether containers are being started: then processes end that nobody
    /// knows yet.
    pub(crate) fn is_launching(&self) -> bool {
        self.0.values().any(|job| job.role == Role::Launch)
    }

    /// When a job has taken too long.
    pub(crate) fn deadline(&self) -> Option<Micros> {
        self.0.values().filter_map(|job| job.deadline).min()
    }

    /// Kills the jobs that have taken too long; their end is reported as any.
    pub(crate) fn kill_overdue(
        &mut self,
        options: &Options,
        name_of: impl Fn(usize) -> String,
        now: Micros,
    ) {
        for (&pid, job) in &mut self.0 {
            if job.deadline.is_some_and(|deadline| now >= deadline) {
                job.deadline = None;
                job.overdue = true;
                kill(options, pid, job, &name_of(job.unit));
            }
        }
    }

    /// Ends the commands that run inside a service, and forgets them.
    pub(crate) fn cancel_commands(&mut self, options: &Options, unit: usize, name: &str) {
        self.0.retain(|&pid, job| {
            let inside = job.unit == unit && job.role.word().is_some();
            if inside {
                kill(options, pid, job, name);
            }
            !inside
        });
    }
}

impl Job {
    /// The last line that a command inside a service said.
    pub(crate) fn last_words(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        // Others that hold its other end do not matter: what is there, counts.
        let _ = self.said.as_mut()?.take(MOST_SAID).read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
        Some(line.trim().chars().take(200).collect())
    }
}

/// Kills a child, and what it started inside a container: that is not a child
/// of ours, and would live on.
fn kill(options: &Options, pid: i32, job: &Job, name: &str) {
    if let Some(what) = job.role.word() {
        process::kill_group_of(&options.exec_pid_file(name, what));
    }
    if let Some(pid) = Pid::from_raw(pid) {
        // It is our child and not reaped: the number cannot be another's.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

fn oci_runtime(options: &Options) -> Command {
    let mut command = Command::new(&options.oci_runtime);
    command.arg("--root").arg(options.oci_state());
    command
}

fn exec(options: &Options, service: &Service, what: &str, args: &[String]) -> io::Result<Command> {
    let pid_file = options.exec_pid_file(&service.name, what);
    remove(&pid_file)?;
    let mut command = oci_runtime(options);
    command
        .args(["exec", "--pid-file"])
        .arg(pid_file)
        .arg(&service.name)
        .args(args);
    Ok(command)
}

/// A pipe whose reader does not wait.
fn pipe() -> io::Result<(File, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    Ok((File::from(reader), writer))
}

fn write_to_log(command: &mut Command, options: &Options, service: &Service) -> io::Result<()> {
    let folder = options.logs();
    command
        .stdout(logs::writer(&folder, &service.name, "stdout")?)
        .stderr(logs::writer(&folder, &service.name, "stderr")?);
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
