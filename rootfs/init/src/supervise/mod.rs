//! Process 1 from then on: reaps, supervises the system runtime, pings the
//! watchdog, saves the time, and takes the machine down in order.
//!
//! What is decided is in [`agenda`]; here is what listens and acts. Between
//! events the process sleeps in one `poll`.

mod agenda;
mod backoff;
mod output;
mod reaped;
mod request;

use std::convert::Infallible;
use std::io::{PipeReader, PipeWriter, Read, pipe};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rubus_config::paths;
use rubus_config::power::PowerAction;

use crate::cmdline::Cmdline;
use crate::log;
use crate::sys::process::{self, Reaped};
use crate::sys::watchdog::Watchdog;
use crate::{shutdown, steps, system};
use agenda::{Action, Agenda, Event};
use output::Lines;
use reaped::Orphans;

/// The name under which the runtime's output is logged.
const RUNTIME: &str = "system-runtime";

/// Signals that process 1 acts on.
const SIGNALS: [Signal; 4] = [
    Signal::SIGCHLD,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGUSR2,
];

/// Launches the system runtime and stays.
pub(crate) fn run(watchdog: Option<Watchdog>) -> Result<Infallible> {
    let mut supervisor = Supervisor::new(watchdog)?;
    loop {
        supervisor.turn();
    }
}

struct Supervisor {
    agenda: Agenda,
    signals: SignalFd,
    /// What the runtime prints. `init` holds the other end as well, so that
    /// this one never closes.
    output: PipeReader,
    output_writer: PipeWriter,
    lines: Lines,
    orphans: Orphans,
    watchdog: Option<Watchdog>,
}

impl Supervisor {
    fn new(watchdog: Option<Watchdog>) -> Result<Self> {
        let mask: SigSet = SIGNALS.into_iter().collect();
        mask.thread_block().context("cannot block signals")?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .context("cannot listen for signals")?;
        let (output, output_writer) = pipe().context("cannot make a pipe")?;
        fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("cannot set up a pipe")?;
        Ok(Self {
            agenda: Agenda::new(now_ms(), watchdog.is_some()),
            signals,
            output,
            output_writer,
            lines: Lines::default(),
            orphans: Orphans::default(),
            watchdog,
        })
    }

    /// Waits for something to do and does it.
    fn turn(&mut self) {
        let wait = self.agenda.next_at().saturating_sub(now_ms());
        self.wait(wait);
        self.log_output();
        self.reap();
        self.read_signals();
        self.handle(Event::Time);
    }

    fn wait(&self, milliseconds: u64) {
        let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
        let mut fds = [
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.output.as_fd(), PollFlags::POLLIN),
        ];
        // Whatever made it return is looked for anyway.
        let _ = poll(&mut fds, timeout);
    }

    fn log_output(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.output.read(&mut buffer)
            && length > 0
        {
            for (level, line) in self.lines.feed(&buffer[..length]) {
                log::log_as(RUNTIME, level, &line);
            }
        }
    }

    fn reap(&mut self) {
        let mut orphans = Vec::new();
        while let Reaped::One(ended) = process::reap() {
            if self.agenda.is_runtime(ended.pid) {
                self.log_output();
                self.handle(Event::RuntimeEnded(ended.status));
            } else {
                orphans.push(ended);
            }
        }
        if !orphans.is_empty() {
            self.orphans.record(&orphans);
        }
    }

    fn read_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let signal = signal
                .ssi_signo
                .try_into()
                .ok()
                .and_then(|number: i32| Signal::try_from(number).ok());
            match signal {
                Some(Signal::SIGTERM | Signal::SIGINT) => {
                    self.handle(Event::Asked(PowerAction::Reboot));
                }
                Some(Signal::SIGUSR2) => {
                    self.handle(Event::Asked(PowerAction::Poweroff));
                }
                // Children are reaped in every turn.
                _ => {}
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for action in self.agenda.handle(now_ms(), event) {
                events.extend(self.act(action));
            }
        }
    }

    /// Carries out an action; its result may be an event.
    fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::StartRuntime => Some(match self.start_runtime() {
                Ok(pid) => Event::RuntimeStarted(pid),
                Err(error) => {
                    log::error(&format!("{error:#}"));
                    Event::RuntimeNotStarted
                }
            }),
            Action::PingWatchdog => {
                if let Some(Err(error)) = self.watchdog.as_ref().map(Watchdog::ping) {
                    log::error(&format!("cannot ping the watchdog: {error}"));
                }
                None
            }
            Action::SaveTime => {
                system::save_time();
                None
            }
            Action::Log(text) => {
                log::error(&text);
                None
            }
            Action::AskRuntime(action) => request::power(action).err().map(|error| {
                log::error(&format!("the system runtime does not answer: {error:#}"));
                Event::RuntimeDeaf
            }),
            Action::TakeDown(action) => {
                shutdown::carry_out(action, self.watchdog.take(), system::save_time)
            }
        }
    }

    fn start_runtime(&self) -> Result<i32> {
        let output = || {
            self.output_writer
                .try_clone()
                .map(Stdio::from)
                .context("cannot pass on a pipe")
        };
        let mut command = Command::new(paths::SYSTEM_RUNTIME);
        if Cmdline::of_kernel().recovery {
            command.arg("--recovery");
        }
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin")
            .stdin(Stdio::null())
            .stdout(output()?)
            .stderr(output()?);
        // What is blocked here would stay blocked there, and the runtime would
        // never hear of the end of a service.
        //
        // SAFETY: between fork and exec only sigprocmask(2) is called, which is
        // safe there and allocates nothing.
        unsafe {
            command.pre_exec(|| Ok(SigSet::empty().thread_set_mask()?));
        }
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", paths::SYSTEM_RUNTIME))?;
        Ok(child.id().cast_signed())
    }
}

fn now_ms() -> u64 {
    steps::now_us() / 1000
}
