//! The clock of settings on trial: when they are taken back, and what is left to
//! do then. All of it follows from the file of the trial, so that it survives
//! the runtime; nothing here touches the system.

use rubus_config::{effects::Effects, trial::Trial};

use crate::machine::Micros;

/// How long taking back may take before it is given up and tried again.
const LONGEST: Micros = 60_000_000;
/// The pause after it went wrong.
const AGAIN: Micros = 5_000_000;

/// The clock.
#[derive(Debug, Default)]
pub(crate) struct TrialClock {
    /// When the trial ends.
    ends: Option<Micros>,
    /// It went wrong: not again before this.
    not_before: Micros,
    /// The process that takes the settings back, and when it has taken too
    /// long.
    child: Option<(i32, Micros)>,
    /// What was left to do has been passed on.
    passed_on: bool,
}

impl TrialClock {
    /// Takes in what the file of the trial says. Returns what is left to do
    /// after one that was taken back.
    pub(crate) fn see(&mut self, trial: Option<Trial>) -> Option<Effects> {
        self.ends = None;
        let trial = trial?;
        if trial.taken_back.is_none() {
            self.ends = Some(trial.ends_us);
        } else {
            self.passed_on = true;
        }
        trial.taken_back
    }

    /// When the trial ends, while there is one.
    pub(crate) fn ends(&self) -> Option<Micros> {
        self.ends
    }

    /// Whether the settings are to be taken back now.
    pub(crate) fn is_due(&self, now: Micros) -> bool {
        let due = self.ends.map(|it| it.max(self.not_before));
        self.child.is_none() && due.is_some_and(|it| now >= it)
    }

    /// A process takes them back.
    pub(crate) fn started(&mut self, pid: i32, now: Micros) {
        self.child = Some((pid, now + LONGEST));
    }

    /// No process could be started for it.
    pub(crate) fn failed(&mut self, now: Micros) {
        self.not_before = now + AGAIN;
    }

    /// The process to kill: it has taken too long.
    pub(crate) fn overdue(&mut self, now: Micros) -> Option<i32> {
        let (pid, kill_at) = self.child.as_mut()?;
        if now < *kill_at {
            return None;
        }
        *kill_at = now + LONGEST;
        Some(*pid)
    }

    /// A process ended. Whether it was that one; then the file is to be read.
    pub(crate) fn ended(&mut self, pid: i32, now: Micros) -> bool {
        let is_it = self.child.is_some_and(|(child, _)| child == pid);
        if is_it {
            self.child = None;
            // Counts only where the trial is still there.
            self.failed(now);
        }
        is_it
    }

    /// Whether the file can go. Called when the state of the services has been
    /// saved.
    pub(crate) fn take_passed_on(&mut self) -> bool {
        std::mem::take(&mut self.passed_on)
    }

    /// When something is due although nothing happened.
    pub(crate) fn deadline(&self) -> Option<Micros> {
        match self.child {
            Some((_, kill_at)) => Some(kill_at),
            None => self.ends.map(|it| it.max(self.not_before)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;

    fn trial(ends_us: Micros) -> Option<Trial> {
        Some(Trial {
            layer: serde_json::Value::Null,
            keys: Vec::new(),
            ends_us,
            taken_back: None,
        })
    }

    fn taken_back() -> Option<Trial> {
        let effects = Effects {
            restart: vec!["network".to_owned()],
            ..Effects::default()
        };
        trial(0).map(|it| Trial {
            taken_back: Some(effects),
            ..it
        })
    }

    #[test]
    fn nothing_is_due_without_a_trial() {
        let mut clock = TrialClock::default();
        assert_eq!(clock.see(None), None);
        assert_eq!((clock.deadline(), clock.ends()), (None, None));
        assert!(!clock.is_due(Micros::MAX));
        assert!(!clock.ended(7, 0));
        assert!(!clock.take_passed_on());
    }

    #[test]
    fn settings_are_taken_back_once_and_what_follows_is_done_once() {
        let mut clock = TrialClock::default();
        assert_eq!(clock.see(trial(9 * SECOND)), None);
        assert_eq!(clock.deadline(), Some(9 * SECOND));
        assert!(!clock.is_due(9 * SECOND - 1));
        assert!(clock.is_due(9 * SECOND));
        clock.started(7, 9 * SECOND);
        assert!(!clock.is_due(10 * SECOND), "it is at it");
        assert!(!clock.ended(8, 10 * SECOND), "another process");
        assert!(clock.ended(7, 10 * SECOND));
        let effects = clock.see(taken_back()).unwrap();
        assert_eq!(effects.restart, ["network"]);
        assert_eq!((clock.deadline(), clock.ends()), (None, None));
        assert!(clock.take_passed_on());
        assert!(!clock.take_passed_on());
    }

    #[test]
    fn a_trial_that_was_confirmed_or_reverted_is_over() {
        let mut clock = TrialClock::default();
        clock.see(trial(9 * SECOND));
        clock.see(None);
        assert!(!clock.is_due(10 * SECOND));
    }

    #[test]
    fn it_is_tried_again_when_it_goes_wrong() {
        let mut clock = TrialClock::default();
        clock.see(trial(9 * SECOND));
        clock.started(7, 9 * SECOND);
        assert!(clock.ended(7, 10 * SECOND));
        clock.see(trial(9 * SECOND));
        assert!(!clock.is_due(15 * SECOND - 1));
        assert_eq!(clock.deadline(), Some(15 * SECOND));
        assert!(clock.is_due(15 * SECOND));
        clock.failed(15 * SECOND);
        assert!(!clock.is_due(16 * SECOND));
    }

    #[test]
    fn a_process_that_hangs_is_killed() {
        let mut clock = TrialClock::default();
        clock.see(trial(0));
        clock.started(7, 0);
        assert_eq!(clock.deadline(), Some(LONGEST));
        assert_eq!(clock.overdue(LONGEST - 1), None);
        assert_eq!(clock.overdue(LONGEST), Some(7));
        assert_eq!(clock.overdue(LONGEST + 1), None, "not over and over");
    }

    #[test]
    fn a_new_runtime_goes_by_the_file() {
        let mut clock = TrialClock::default();
        clock.see(trial(SECOND));
        assert!(clock.is_due(2 * SECOND), "its time was over meanwhile");
        let mut clock = TrialClock::default();
        assert!(clock.see(taken_back()).is_some());
    }
}
