//! Keeps programs running: what ends is started again, ever later when it does
//! not last.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, Command},
    time::Duration,
};

use nix::{
    sys::signal::{SigSet, Signal, kill},
    unistd::Pid,
};

/// A program that ran this long is started again at once: a user who logged
/// out wants the prompt back.
const LASTING: Duration = Duration::from_secs(5);
/// First pause before a program that did not last; doubles with every try.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A program to keep running.
pub(crate) struct Program {
    /// What it is known by.
    pub(crate) name: String,
    /// How it is started.
    pub(crate) command: Command,
    /// What makes it end.
    pub(crate) stop_signal: Signal,
}

/// When a program is started next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Schedule {
    pause: Duration,
    started: Duration,
    next: Duration,
}

impl Schedule {
    const fn new() -> Self {
        Self {
            pause: Duration::ZERO,
            started: Duration::ZERO,
            next: Duration::ZERO,
        }
    }

    /// It was started, or could not be.
    fn start(&mut self, now: Duration) {
        self.started = now;
    }

    /// It ended.
    fn end(&mut self, now: Duration) {
        self.pause = if now.saturating_sub(self.started) >= LASTING {
            Duration::ZERO
        } else {
            (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE)
        };
        self.next = now + self.pause;
    }
}

/// Has a program start with no signal blocked: it would inherit those that
/// this program waits for, and nobody could end it.
pub(crate) fn unblock_signals(command: &mut Command) {
    // SAFETY: between fork and exec nothing but one system call is made.
    unsafe {
        command.pre_exec(|| SigSet::empty().thread_set_mask().map_err(io::Error::from));
    }
}

struct Kept {
    program: Program,
    schedule: Schedule,
    child: Option<Child>,
}

/// Programs that are kept running. Times are those of a clock that never goes
/// back.
pub(crate) struct Supervisor {
    kept: Vec<Kept>,
}

impl Supervisor {
    /// Keeps nothing yet.
    pub(crate) fn new() -> Self {
        Self { kept: Vec::new() }
    }

    /// Keeps a program from now on; one of this name is kept already.
    pub(crate) fn add(&mut self, mut program: Program) {
        if self
            .kept
            .iter()
            .all(|kept| kept.program.name != program.name)
        {
            unblock_signals(&mut program.command);
            self.kept.push(Kept {
                program,
                schedule: Schedule::new(),
                child: None,
            });
        }
    }

    /// Starts what is due.
    pub(crate) fn start_due(&mut self, now: Duration) {
        for kept in &mut self.kept {
            if kept.child.is_some() || kept.schedule.next > now {
                continue;
            }
            kept.schedule.start(now);
            match kept.program.command.spawn() {
                Ok(child) => kept.child = Some(child),
                Err(error) => {
                    eprintln!("cannot start {}: {error}", kept.program.name);
                    kept.schedule.end(now);
                }
            }
        }
    }

    /// When something is due next; `None` while everything runs.
    pub(crate) fn next_start(&self) -> Option<Duration> {
        self.kept
            .iter()
            .filter(|kept| kept.child.is_none())
            .map(|kept| kept.schedule.next)
            .min()
    }

    /// Takes note of programs that ended. Only our own children are waited
    /// for: the process numbers here are the node's.
    pub(crate) fn reap(&mut self, now: Duration) {
        for kept in &mut self.kept {
            let Some(child) = &mut kept.child else {
                continue;
            };
            let ended = match child.try_wait() {
                Ok(None) => continue,
                Ok(Some(status)) => status.to_string(),
                Err(error) => error.to_string(),
            };
            kept.child = None;
            kept.schedule.end(now);
            // A terminal ends with every login; that is nothing to tell.
            if kept.schedule.pause > Duration::ZERO {
                eprintln!("{} ended ({ended})", kept.program.name);
            }
        }
    }

    /// Sends a signal to a program, if it runs.
    pub(crate) fn signal(&self, name: &str, signal: Signal) {
        for kept in &self.kept {
            if let Some(child) = &kept.child
                && kept.program.name == name
            {
                // It may have ended by itself.
                let _ = kill(Pid::from_raw(child.id().cast_signed()), signal);
            }
        }
    }

    /// Asks everything to end. Who still runs then, sessions too, ends with the
    /// container.
    pub(crate) fn stop(&mut self) {
        for kept in &mut self.kept {
            if let Some(child) = &kept.child {
                let pid = Pid::from_raw(child.id().cast_signed());
                // It may have ended by itself.
                let _ = kill(pid, kept.program.stop_signal);
            }
        }
        for kept in &mut self.kept {
            if let Some(child) = &mut kept.child {
                // It fails only when the child was waited for already.
                let _ = child.wait();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn program(name: &str, command: &str) -> Program {
        Program {
            name: name.to_owned(),
            command: Command::new(command),
            stop_signal: Signal::SIGTERM,
        }
    }

    /// Waits until the program has ended, as SIGCHLD would tell.
    fn reap(supervisor: &mut Supervisor, now: Duration) {
        for _ in 0..500 {
            supervisor.reap(now);
            if supervisor.next_start().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it did not end");
    }

    #[test]
    fn a_program_that_does_not_last_is_started_ever_later() {
        let mut schedule = Schedule::new();
        let mut pauses = Vec::new();
        let mut now = at(100);
        for _ in 0..8 {
            schedule.start(now);
            schedule.end(now);
            pauses.push((schedule.next - now).as_secs());
            now = schedule.next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_program_that_lasted_comes_back_at_once_and_starts_afresh() {
        let mut schedule = Schedule::new();
        for _ in 0..5 {
            schedule.start(at(0));
            schedule.end(at(0));
        }
        schedule.start(at(100));
        schedule.end(at(105));
        assert_eq!(schedule.next, at(105));
        schedule.start(at(105));
        schedule.end(at(106));
        assert_eq!(schedule.next, at(107));
    }

    #[test]
    fn what_ended_is_started_again_when_it_is_due() {
        let mut supervisor = Supervisor::new();
        supervisor.add(program("true", "true"));
        supervisor.start_due(at(0));
        assert_eq!(supervisor.next_start(), None);
        reap(&mut supervisor, at(0));
        assert_eq!(supervisor.next_start(), Some(at(1)));
        supervisor.start_due(at(0));
        assert_eq!(supervisor.next_start(), Some(at(1)));
        supervisor.start_due(at(1));
        assert_eq!(supervisor.next_start(), None);
        supervisor.stop();
    }

    #[test]
    fn a_program_that_is_not_there_is_tried_again() {
        let mut supervisor = Supervisor::new();
        supervisor.add(program("none", "/nonexistent"));
        supervisor.start_due(at(0));
        assert_eq!(supervisor.next_start(), Some(at(1)));
    }

    #[test]
    fn a_name_is_kept_once() {
        let mut supervisor = Supervisor::new();
        supervisor.add(program("x", "true"));
        supervisor.add(program("x", "false"));
        assert_eq!(supervisor.kept.len(), 1);
    }

    #[test]
    fn stopping_ends_what_runs() {
        let mut supervisor = Supervisor::new();
        let mut command = Command::new("sleep");
        command.arg("600");
        supervisor.add(Program {
            name: "sleep".to_owned(),
            command,
            stop_signal: Signal::SIGHUP,
        });
        supervisor.start_due(at(0));
        supervisor.stop();
    }
}
