//! What process 1 has to do, and when. Pure: time and events go in, actions
//! come out.

use std::process::ExitStatus;

use rubus_config::power::PowerAction;

use super::backoff::Backoff;

/// Watchdogs wait at least 15 seconds.
const PING_MS: u64 = 5_000;
/// How often the time is saved: often enough for a floor, and a handful of
/// blocks a day for the card.
const SAVE_MS: u64 = 600_000;
/// How long the runtime may take to stop all services.
const STOP_MS: u64 = 90_000;

/// Something has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Time has passed.
    Time,
    /// The runtime was started and has this process id.
    RuntimeStarted(i32),
    /// The runtime could not be started.
    RuntimeNotStarted,
    /// The runtime has ended.
    RuntimeEnded(ExitStatus),
    /// The runtime does not take requests.
    RuntimeDeaf,
    /// A signal asks for the machine to go down.
    Asked(PowerAction),
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Start the runtime, and say how that went.
    StartRuntime,
    /// Ping the watchdog.
    PingWatchdog,
    /// Save the time.
    SaveTime,
    /// Show a person what happened.
    Log(String),
    /// Ask the runtime to stop the services and end.
    AskRuntime(PowerAction),
    /// Take the machine down; there is nothing after it.
    TakeDown(PowerAction),
}

/// Where the runtime is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runtime {
    /// To be started at that time.
    Due(u64),
    /// Being started.
    Starting,
    /// Running since then.
    Running { pid: i32, since: u64 },
}

/// The state of process 1.
#[derive(Debug)]
pub(super) struct Agenda {
    runtime: Runtime,
    backoff: Backoff,
    /// What was asked for, and when patience with the runtime ends.
    going_down: Option<(PowerAction, u64)>,
    next_ping: Option<u64>,
    next_save: u64,
}

impl Agenda {
    /// At the start the runtime is due.
    pub(super) fn new(now: u64, has_watchdog: bool) -> Self {
        Self {
            runtime: Runtime::Due(now),
            backoff: Backoff::default(),
            going_down: None,
            next_ping: has_watchdog.then_some(now),
            next_save: now + SAVE_MS,
        }
    }

    /// When [`Event::Time`] is due at the latest.
    pub(super) fn next_at(&self) -> u64 {
        let start = match self.runtime {
            Runtime::Due(at) => Some(at),
            Runtime::Starting | Runtime::Running { .. } => None,
        };
        let patience = self.going_down.map(|(_, at)| at);
        [start, patience, self.next_ping]
            .into_iter()
            .flatten()
            .fold(self.next_save, u64::min)
    }

    /// Whether this is the runtime's process.
    pub(super) fn is_runtime(&self, pid: i32) -> bool {
        matches!(self.runtime, Runtime::Running { pid: runtime, .. } if runtime == pid)
    }

    /// What follows from an event.
    pub(super) fn handle(&mut self, now: u64, event: Event) -> Vec<Action> {
        match event {
            Event::Time => self.time(now),
            Event::RuntimeStarted(pid) => {
                self.runtime = Runtime::Running { pid, since: now };
                Vec::new()
            }
            Event::RuntimeNotStarted => self.restart(now, 0, "it cannot be started"),
            Event::RuntimeEnded(status) => self.ended(now, status),
            Event::RuntimeDeaf => self.take_down(),
            Event::Asked(action) => self.asked(now, action),
        }
    }

    fn time(&mut self, now: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.next_ping.is_some_and(|at| now >= at) {
            self.next_ping = Some(now + PING_MS);
            actions.push(Action::PingWatchdog);
        }
        if now >= self.next_save {
            self.next_save = now + SAVE_MS;
            actions.push(Action::SaveTime);
        }
        if matches!(self.runtime, Runtime::Due(at) if now >= at) {
            self.runtime = Runtime::Starting;
            actions.push(Action::StartRuntime);
        }
        if let Some((_, at)) = self.going_down
            && now >= at
        {
            actions.push(Action::Log(
                "the services do not stop in time; going on without them".to_owned(),
            ));
            actions.extend(self.take_down());
        }
        actions
    }

    fn ended(&mut self, now: u64, status: ExitStatus) -> Vec<Action> {
        if let Some(action) = status.code().and_then(PowerAction::from_exit_code) {
            return vec![Action::TakeDown(action)];
        }
        if self.going_down.is_some() {
            return self.take_down();
        }
        let ran = match self.runtime {
            Runtime::Running { since, .. } => now.saturating_sub(since),
            Runtime::Due(_) | Runtime::Starting => 0,
        };
        self.restart(now, ran, &format!("it ended: {status}"))
    }

    fn restart(&mut self, now: u64, ran: u64, why: &str) -> Vec<Action> {
        if self.going_down.is_some() {
            return self.take_down();
        }
        let pause = self.backoff.next(ran);
        self.runtime = Runtime::Due(now + pause);
        vec![Action::Log(format!(
            "the system runtime is started again in {pause} ms: {why}"
        ))]
    }

    fn asked(&mut self, now: u64, action: PowerAction) -> Vec<Action> {
        // The first one counts: services are stopping already.
        if self.going_down.is_some() {
            return Vec::new();
        }
        self.going_down = Some((action, now + STOP_MS));
        match self.runtime {
            Runtime::Running { .. } => vec![Action::AskRuntime(action)],
            Runtime::Due(_) | Runtime::Starting => self.take_down(),
        }
    }

    fn take_down(&self) -> Vec<Action> {
        self.going_down
            .map(|(action, _)| Action::TakeDown(action))
            .into_iter()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn exit(code: i32) -> Event {
        Event::RuntimeEnded(ExitStatus::from_raw(code << 8))
    }

    fn killed(signal: i32) -> Event {
        Event::RuntimeEnded(ExitStatus::from_raw(signal))
    }

    /// An agenda whose runtime runs as process 50 since 0.
    fn running() -> Agenda {
        let mut agenda = Agenda::new(0, false);
        assert_eq!(agenda.handle(0, Event::Time), [Action::StartRuntime]);
        assert_eq!(agenda.handle(0, Event::RuntimeStarted(50)), []);
        agenda
    }

    #[test]
    fn an_idle_machine_wakes_to_save_the_time_only() {
        let mut agenda = running();
        assert_eq!(agenda.next_at(), SAVE_MS);
        assert_eq!(agenda.handle(SAVE_MS - 1, Event::Time), []);
        assert_eq!(agenda.handle(SAVE_MS, Event::Time), [Action::SaveTime]);
        assert_eq!(agenda.next_at(), 2 * SAVE_MS);
    }

    #[test]
    fn a_watchdog_is_pinged_three_times_as_often_as_it_asks() {
        let mut agenda = Agenda::new(0, true);
        assert_eq!(
            agenda.handle(0, Event::Time),
            [Action::PingWatchdog, Action::StartRuntime]
        );
        agenda.handle(0, Event::RuntimeStarted(50));
        assert_eq!(agenda.next_at(), PING_MS);
        assert_eq!(agenda.handle(PING_MS, Event::Time), [Action::PingWatchdog]);
    }

    #[test]
    fn a_runtime_that_dies_is_started_again_after_a_pause_that_grows() {
        let mut agenda = running();
        assert!(agenda.is_runtime(50));
        let mut now = 100;
        let mut pauses = Vec::new();
        for end in [exit(0), exit(1), killed(9), killed(6)] {
            let actions = agenda.handle(now, end);
            assert!(matches!(&actions[..], [Action::Log(_)]), "{actions:?}");
            assert!(!agenda.is_runtime(50));
            let at = agenda.next_at();
            pauses.push(at - now);
            assert_eq!(agenda.handle(at - 1, Event::Time), []);
            assert_eq!(agenda.handle(at, Event::Time), [Action::StartRuntime]);
            assert_eq!(agenda.handle(at, Event::Time), [], "only once");
            agenda.handle(at, Event::RuntimeStarted(50));
            now = at;
        }
        assert!(pauses.is_sorted() && pauses[0] < pauses[3], "{pauses:?}");
    }

    #[test]
    fn a_runtime_that_cannot_be_started_is_tried_again() {
        let mut agenda = Agenda::new(0, false);
        agenda.handle(0, Event::Time);
        let actions = agenda.handle(0, Event::RuntimeNotStarted);
        assert!(matches!(&actions[..], [Action::Log(_)]));
        let at = agenda.next_at();
        assert_eq!(agenda.handle(at, Event::Time), [Action::StartRuntime]);
    }

    #[test]
    fn exit_codes_of_the_runtime_take_the_machine_down() {
        for action in [PowerAction::Reboot, PowerAction::Poweroff] {
            let end = exit(action.exit_code());
            assert_eq!(running().handle(5, end), [Action::TakeDown(action)]);
        }
    }

    #[test]
    fn a_signal_asks_the_runtime_first() {
        let mut agenda = running();
        assert_eq!(
            agenda.handle(10, Event::Asked(PowerAction::Poweroff)),
            [Action::AskRuntime(PowerAction::Poweroff)]
        );
        assert_eq!(
            agenda.handle(11, Event::Asked(PowerAction::Reboot)),
            [],
            "once is enough"
        );
        assert_eq!(
            agenda.handle(500, exit(101)),
            [Action::TakeDown(PowerAction::Poweroff)]
        );
    }

    #[test]
    fn the_machine_goes_down_without_the_runtime_when_it_must() {
        let take_down = [Action::TakeDown(PowerAction::Reboot)];
        let asked = || {
            let mut agenda = running();
            agenda.handle(10, Event::Asked(PowerAction::Reboot));
            agenda
        };
        assert_eq!(asked().handle(11, Event::RuntimeDeaf), take_down);
        assert_eq!(asked().handle(11, killed(9)), take_down);
        assert_eq!(asked().handle(11, exit(0)), take_down);

        let mut slow = asked();
        assert_eq!(slow.next_at(), 10 + STOP_MS);
        assert_eq!(slow.handle(9 + STOP_MS, Event::Time), []);
        let actions = slow.handle(10 + STOP_MS, Event::Time);
        assert!(matches!(
            &actions[..],
            [Action::Log(_), Action::TakeDown(_)]
        ));

        let mut dead = running();
        dead.handle(10, killed(9));
        assert_eq!(
            dead.handle(11, Event::Asked(PowerAction::Reboot)),
            take_down
        );
    }
}
