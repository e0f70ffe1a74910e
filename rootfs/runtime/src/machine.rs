//! The life of one service, as a pure function: what happened and when in,
//! what to do out. Nothing here touches the system.
//!
//! ```text
//! stopped -> waiting -> starting -> running -> ready
//!               ^                      |         |
//!               +------ backoff <------+---------+--> done, failed
//! ```

use rubus_service::{
    Restart,
    status::{Exit, State},
};
use serde::{Deserialize, Serialize};

use crate::rules::Rules;

/// Microseconds since the kernel started.
pub(crate) type Micros = u64;

const SECOND: Micros = 1_000_000;
/// The first pause before a service starts again; each further one is twice
/// as long.
const SHORTEST_BACKOFF: Micros = SECOND;
/// The longest.
const LONGEST_BACKOFF: Micros = 60 * SECOND;
/// A service that ran this long has recovered: its next pause is the shortest.
const RECOVERED_AFTER: Micros = 60 * SECOND;
/// The first pause between probes while a service comes up; each further one
/// is twice as long.
const FIRST_PROBE_PAUSE: Micros = 50_000;
/// How long SIGKILL may take before it is sent again.
const KILL_AGAIN: Micros = 5 * SECOND;

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// When it started, in clock ticks since the kernel did.
    pub(crate) start: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Somebody wants it to run.
    Start,
    /// Somebody wants it not to run; it is killed at `kill_by` at the latest.
    Stop { kill_by: Option<Micros> },
    /// Somebody wants it to run anew.
    Restart,
    /// What it waits for is ready.
    Proceed,
    /// What it waits for is not ready: the names, for people.
    Blocked(String),
    /// Its container runs.
    Started(Process),
    /// Its container could not be started: why.
    StartFailed(String),
    /// Its first process ended; whether for want of memory.
    Exited { exit: Exit, out_of_memory: bool },
    /// The remains of its container are gone.
    Cleaned,
    /// Its `post_start` command ended.
    PostStartEnded(Exit),
    /// A probe was answered, or why not.
    Probed(Result<(), String>),
    /// Time went by.
    Tick,
    /// A new instance of the runtime took it over while it ran.
    Adopted,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start its container; answer [`Event::Started`] or [`Event::StartFailed`].
    Launch,
    /// Run its `post_start` command; answer [`Event::PostStartEnded`].
    PostStart,
    /// Try its health check; answer [`Event::Probed`].
    Probe,
    /// Ask its first process to stop.
    Signal,
    /// Kill its first process.
    Kill,
    /// Remove the remains of its container; answer [`Event::Cleaned`].
    Clean,
}

/// Where in its life a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    Stopped,
    Waiting,
    Starting,
    /// Runs and is not ready: `post_start` or the first good probe is missing.
    Running,
    Ready,
    Unhealthy,
    Backoff {
        until: Micros,
    },
    Failed,
    Done,
    Stopping {
        kill_at: Micros,
        then: Then,
    },
}

/// What follows a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Then {
    Stay,
    StartAgain,
    /// It was stopped because it failed: its restart policy decides.
    Fail,
}

/// The state of one service. All of it survives the runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) phase: Phase,
    /// Whether it is meant to run.
    pub(crate) wanted: bool,
    /// Its first process, while that lives.
    pub(crate) main: Option<Process>,
    /// A container that has ended and is not removed yet.
    pub(crate) remains: bool,
    pub(crate) started: Option<Micros>,
    pub(crate) ready: Option<Micros>,
    /// The same of its first start since the boot.
    pub(crate) first_started: Option<Micros>,
    pub(crate) first_ready: Option<Micros>,
    pub(crate) restarts: u32,
    pub(crate) exit: Option<Exit>,
    pub(crate) reason: String,
    /// How long the next pause before a start is.
    backoff: Micros,
    /// When its container ran.
    running_since: Option<Micros>,
    pub(crate) post_start_pending: bool,
    probing: bool,
    next_probe: Option<Micros>,
    probe_pause: Micros,
    healthy_once: bool,
    failures: u32,
}

impl Machine {
    /// A service that nobody wants yet.
    pub(crate) fn new() -> Machine {
        Machine {
            phase: Phase::Stopped,
            wanted: false,
            main: None,
            remains: false,
            started: None,
            ready: None,
            first_started: None,
            first_ready: None,
            restarts: 0,
            exit: None,
            reason: String::new(),
            backoff: SHORTEST_BACKOFF,
            running_since: None,
            post_start_pending: false,
            probing: false,
            next_probe: None,
            probe_pause: FIRST_PROBE_PAUSE,
            healthy_once: false,
            failures: 0,
        }
    }

    /// The state as the API tells it.
    pub(crate) fn state(&self) -> State {
        match self.phase {
            Phase::Stopped => State::Stopped,
            Phase::Waiting => State::Waiting,
            Phase::Starting => State::Starting,
            Phase::Running => State::Running,
            Phase::Ready => State::Ready,
            Phase::Unhealthy => State::Unhealthy,
            Phase::Backoff { .. } => State::Backoff,
            Phase::Failed => State::Failed,
            Phase::Done => State::Done,
            Phase::Stopping { .. } => State::Stopping,
        }
    }

    /// Whether nothing of it runs and nothing is under way.
    pub(crate) fn is_down(&self) -> bool {
        self.main.is_none()
            && !self.remains
            && !matches!(self.phase, Phase::Starting | Phase::Stopping { .. })
    }

    /// When [`Event::Tick`] is due.
    pub(crate) fn deadline(&self) -> Option<Micros> {
        match self.phase {
            Phase::Backoff { until } => Some(until),
            Phase::Stopping { kill_at, .. } => Some(kill_at),
            Phase::Running | Phase::Ready | Phase::Unhealthy => self.next_probe,
            _ => None,
        }
    }

    /// Takes in what happened; says what to do.
    pub(crate) fn handle(&mut self, rules: &Rules, event: Event, now: Micros) -> Vec<Action> {
        match event {
            Event::Start => self.on_start(),
            Event::Stop { kill_by } => self.on_stop(rules, kill_by, now),
            Event::Restart => self.on_restart(rules, now),
            Event::Proceed => self.on_proceed(now),
            Event::Blocked(names) => {
                if self.phase == Phase::Waiting {
                    self.reason = format!("waits for {names}");
                }
                vec![]
            }
            Event::Started(process) => self.on_started(rules, process, now),
            Event::StartFailed(why) => self.on_start_failed(rules, &why, now),
            Event::Exited {
                exit,
                out_of_memory,
            } => self.on_exited(rules, exit, out_of_memory, now),
            Event::Cleaned => self.on_cleaned(rules, now),
            Event::PostStartEnded(exit) => self.on_post_start_ended(rules, exit, now),
            Event::Probed(result) => self.on_probed(rules, result, now),
            Event::Tick => self.on_tick(now),
            Event::Adopted => self.on_adopted(now),
        }
    }

    fn on_start(&mut self) -> Vec<Action> {
        self.wanted = true;
        match &mut self.phase {
            Phase::Stopped | Phase::Failed | Phase::Done | Phase::Backoff { .. } => {
                self.backoff = SHORTEST_BACKOFF;
                self.enter(Phase::Waiting, "");
            }
            Phase::Stopping { then, .. } => *then = Then::StartAgain,
            Phase::Waiting | Phase::Starting => {}
            Phase::Running | Phase::Ready | Phase::Unhealthy => {}
        }
        vec![]
    }

    fn on_stop(&mut self, rules: &Rules, kill_by: Option<Micros>, now: Micros) -> Vec<Action> {
        self.wanted = false;
        match &mut self.phase {
            Phase::Running | Phase::Ready | Phase::Unhealthy => {
                self.stop(rules, Then::Stay, kill_by, now)
            }
            Phase::Starting => {
                self.reason = "stops as soon as it has started".to_owned();
                vec![]
            }
            Phase::Stopping { kill_at, then } => {
                *then = Then::Stay;
                *kill_at = kill_by.map_or(*kill_at, |by| by.min(*kill_at));
                vec![]
            }
            _ if self.remains => {
                let kill_at = now + rules.stop_timeout;
                let then = Then::Stay;
                self.enter(Phase::Stopping { kill_at, then }, "");
                vec![]
            }
            _ => {
                self.enter(Phase::Stopped, "");
                vec![]
            }
        }
    }

    fn on_restart(&mut self, rules: &Rules, now: Micros) -> Vec<Action> {
        match self.phase {
            Phase::Running | Phase::Ready | Phase::Unhealthy => {
                self.wanted = true;
                self.backoff = SHORTEST_BACKOFF;
                self.stop(rules, Then::StartAgain, None, now)
            }
            _ => self.on_start(),
        }
    }

    fn on_proceed(&mut self, now: Micros) -> Vec<Action> {
        if self.phase != Phase::Waiting || self.remains {
            return vec![];
        }
        self.started = Some(now);
        self.first_started.get_or_insert(now);
        self.ready = None;
        self.running_since = None;
        self.post_start_pending = false;
        self.probing = false;
        self.next_probe = None;
        self.probe_pause = FIRST_PROBE_PAUSE;
        self.healthy_once = false;
        self.failures = 0;
        self.enter(Phase::Starting, "");
        vec![Action::Launch]
    }

    fn on_started(&mut self, rules: &Rules, process: Process, now: Micros) -> Vec<Action> {
        if self.phase != Phase::Starting {
            return vec![];
        }
        self.main = Some(process);
        self.running_since = Some(now);
        self.enter(Phase::Running, "");
        if !self.wanted {
            return self.stop(rules, Then::Stay, None, now);
        }
        if rules.post_start {
            self.post_start_pending = true;
            self.reason = "its post_start command runs".to_owned();
            return vec![Action::PostStart];
        }
        self.come_up(rules, now)
    }

    /// All that was to be run has run: ready, or as soon as a probe is good.
    fn come_up(&mut self, rules: &Rules, now: Micros) -> Vec<Action> {
        if rules.health.is_some() {
            self.probing = true;
            self.next_probe = None;
            self.reason = "its health check has not succeeded yet".to_owned();
            return vec![Action::Probe];
        }
        if rules.oneshot {
            self.reason = String::new();
        } else {
            self.become_ready(Phase::Ready, now);
        }
        vec![]
    }

    fn on_start_failed(&mut self, rules: &Rules, why: &str, now: Micros) -> Vec<Action> {
        if self.phase != Phase::Starting {
            return vec![];
        }
        self.remains = true;
        self.exit = None;
        self.fail(rules, format!("could not be started: {why}"), now);
        vec![Action::Clean]
    }

    fn on_exited(
        &mut self,
        rules: &Rules,
        exit: Exit,
        out_of_memory: bool,
        now: Micros,
    ) -> Vec<Action> {
        if self.main.take().is_none() {
            return vec![];
        }
        self.exit = Some(exit);
        self.remains = true;
        self.next_probe = None;
        self.post_start_pending = false;
        if !matches!(self.phase, Phase::Stopping { .. }) {
            self.ended(rules, exit, out_of_memory, now);
        }
        vec![Action::Clean]
    }

    /// It ended by itself.
    fn ended(&mut self, rules: &Rules, exit: Exit, out_of_memory: bool, now: Micros) {
        let reason = match &rules.memory {
            Some(limit) if out_of_memory => {
                format!("was killed: it went beyond its memory limit of {limit}")
            }
            _ if out_of_memory => "was killed: the node ran out of memory".to_owned(),
            _ => exit.to_string(),
        };
        if !exit.is_success() {
            self.fail(rules, reason, now);
        } else if rules.oneshot {
            self.become_ready(Phase::Done, now);
        } else if rules.restart == Restart::Always {
            self.back_off(reason, now);
        } else {
            self.wanted = false;
            self.enter(Phase::Stopped, &reason);
        }
    }

    /// It failed: again after a while, or never.
    fn fail(&mut self, rules: &Rules, reason: String, now: Micros) {
        if !self.wanted {
            self.enter(Phase::Stopped, &reason);
        } else if rules.restart == Restart::Never {
            self.enter(Phase::Failed, &reason);
        } else {
            self.back_off(reason, now);
        }
    }

    fn back_off(&mut self, reason: String, now: Micros) {
        if self
            .running_since
            .is_some_and(|since| now.saturating_sub(since) >= RECOVERED_AFTER)
        {
            self.backoff = SHORTEST_BACKOFF;
        }
        let until = now + self.backoff;
        let pause = self.backoff / SECOND;
        self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
        self.enter(
            Phase::Backoff { until },
            &format!("{reason}; starts again after {pause} s"),
        );
    }

    fn on_cleaned(&mut self, rules: &Rules, now: Micros) -> Vec<Action> {
        self.remains = false;
        if self.main.is_some() {
            return vec![];
        }
        if let Phase::Stopping { then, .. } = self.phase {
            match then {
                Then::Stay => self.enter(Phase::Stopped, ""),
                Then::StartAgain => self.enter(Phase::Waiting, ""),
                Then::Fail => {
                    let reason = std::mem::take(&mut self.reason);
                    self.fail(rules, reason, now);
                }
            }
        }
        vec![]
    }

    fn on_post_start_ended(&mut self, rules: &Rules, exit: Exit, now: Micros) -> Vec<Action> {
        if self.phase != Phase::Running || !self.post_start_pending {
            return vec![];
        }
        self.post_start_pending = false;
        if exit.is_success() {
            return self.come_up(rules, now);
        }
        let actions = self.stop(rules, Then::Fail, None, now);
        self.reason = format!("its post_start command {exit}");
        actions
    }

    fn on_probed(&mut self, rules: &Rules, result: Result<(), String>, now: Micros) -> Vec<Action> {
        let up = matches!(self.phase, Phase::Running | Phase::Ready | Phase::Unhealthy);
        let (true, true, Some(health)) = (up, self.probing, &rules.health) else {
            return vec![];
        };
        self.probing = false;
        let Err(why) = result else {
            self.failures = 0;
            self.healthy_once = true;
            self.next_probe = Some(now + health.interval);
            if self.phase != Phase::Ready {
                self.become_ready(Phase::Ready, now);
            }
            self.reason.clear();
            return vec![];
        };
        // While it comes up, a failure is not held against it for the length
        // of one interval, and the next probe follows soon.
        let since = self.running_since.unwrap_or(now);
        if !self.healthy_once && now.saturating_sub(since) < health.interval {
            self.next_probe = Some(now + self.probe_pause);
            self.probe_pause = (self.probe_pause * 2)
                .min(health.longest_pause)
                .min(health.interval);
            self.reason = format!("its health check has not succeeded yet: {why}");
            return vec![];
        }
        self.failures += 1;
        self.next_probe = Some(now + health.interval);
        self.reason = format!("its health check failed {}: {why}", times(self.failures));
        if self.failures < health.retries {
            return vec![];
        }
        self.phase = Phase::Unhealthy;
        if rules.restart == Restart::Never {
            return vec![];
        }
        let reason = std::mem::take(&mut self.reason);
        let actions = self.stop(rules, Then::Fail, None, now);
        self.reason = reason;
        actions
    }

    fn on_tick(&mut self, now: Micros) -> Vec<Action> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return vec![];
        }
        match &mut self.phase {
            Phase::Backoff { .. } => {
                self.restarts = self.restarts.saturating_add(1);
                self.phase = Phase::Waiting;
                vec![]
            }
            Phase::Stopping { kill_at, .. } => {
                *kill_at = now + KILL_AGAIN;
                if self.main.is_some() {
                    vec![Action::Kill]
                } else {
                    vec![]
                }
            }
            _ => {
                self.probing = true;
                self.next_probe = None;
                vec![Action::Probe]
            }
        }
    }

    /// What was under way when the former runtime ended is begun anew; each of
    /// these does no harm when it is done twice.
    fn on_adopted(&mut self, now: Micros) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.remains {
            actions.push(Action::Clean);
        }
        if self.main.is_some() && matches!(self.phase, Phase::Stopping { .. }) {
            actions.push(Action::Signal);
        }
        if self.probing {
            self.probing = false;
            self.next_probe = Some(now);
        }
        actions
    }

    fn stop(
        &mut self,
        rules: &Rules,
        then: Then,
        kill_by: Option<Micros>,
        now: Micros,
    ) -> Vec<Action> {
        let kill_at = now + rules.stop_timeout;
        let kill_at = kill_by.map_or(kill_at, |by| by.min(kill_at));
        self.probing = false;
        self.post_start_pending = false;
        self.enter(Phase::Stopping { kill_at, then }, "");
        vec![Action::Signal]
    }

    fn become_ready(&mut self, phase: Phase, now: Micros) {
        self.ready = Some(now);
        self.first_ready.get_or_insert(now);
        self.enter(phase, "");
    }

    fn enter(&mut self, phase: Phase, reason: &str) {
        self.phase = phase;
        reason.clone_into(&mut self.reason);
    }
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{count} times"),
    }
}

#[cfg(test)]
#[path = "machine_tests/mod.rs"]
mod tests;
