//! Which variant of a service runs, and the change to another one: a pure
//! function, as [`crate::machine`] is for the life of one service.
//!
//! ```text
//! drain -> stop -> start -> gate -> done
//!   ^       ^        |        |
//!   |       +--------+--------+       on a failure: the same steps lead back
//!   +- of the new one, if it got ready
//! ```
//!
//! What must outlive the machine is the [`Record`]. It names a trial before
//! anything is stopped, and another choice only after the gate: a boot in
//! between starts what ran before.

use rubus_service::{
    Service,
    status::State,
    variants::{Outcome, Progress, Step, UNNAMED},
};
use serde::{Deserialize, Serialize};

use crate::machine::Micros;

const SECOND: Micros = 1_000_000;
/// How long a variant may take to become ready, unless its health check alone
/// gives it longer.
const START_TIME: Micros = 120 * SECOND;
/// How long one without a health check has to stay up.
const STAY_TIME: Micros = 5 * SECOND;
/// So many ends while it comes up are a failure; fewer may be chance.
const MOST_ENDS: u32 = 3;

/// What is remembered of the variants of a service over boots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The one that runs, where it is not the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chosen: Option<String>,
    /// A change that has not been decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trial: Option<Trial>,
    /// The one that the next boot tries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    /// How the last change ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<Outcome>,
}

/// A change from one variant to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trial {
    pub(crate) began: String,
    pub(crate) from: String,
    pub(crate) to: String,
}

/// A change under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) trial: Trial,
    pub(crate) step: Step,
    /// Why it goes back, once it does.
    pub(crate) back: Option<String>,
    /// Whether the service was meant to run before.
    wanted: bool,
    /// Whether the boot began it: then it waits for others first.
    boot: bool,
    /// Whether the new one got ready.
    was_ready: bool,
    /// Since when what the service complains of is the fault of the variant
    /// that starts.
    pub(crate) since: String,
    /// When the variant that starts has taken too long, and how often the
    /// service had been started again before.
    start: Option<(Micros, u32)>,
    /// Until when one without a health check has to stay up.
    stay: Option<Micros>,
}

/// What of the variant that the service is now decides over a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SwitchRules {
    /// Whether there is something to run before it is stopped.
    pub(crate) drain: bool,
    /// Whether there is something to run once it is ready.
    pub(crate) gate: bool,
    /// How long it may take to become ready.
    pub(crate) start_time: Micros,
    /// How long it has to stay up before it counts as ready.
    pub(crate) stay_time: Micros,
}

impl From<&Service> for SwitchRules {
    fn from(service: &Service) -> SwitchRules {
        let micros = |it: rubus_service::units::Period| {
            Micros::try_from(it.0.as_micros()).unwrap_or(START_TIME)
        };
        let checked = service.health.as_ref().map_or(0, |health| {
            // As long as it takes until a health check makes it unhealthy.
            let rounds = Micros::from(health.retries) + 1;
            micros(health.interval)
                .saturating_add(micros(health.timeout))
                .saturating_mul(rounds)
        });
        SwitchRules {
            drain: !service.switch.drain.is_empty(),
            gate: !service.switch.gate.is_empty(),
            start_time: START_TIME.max(checked),
            stay_time: if service.health.is_some() {
                0
            } else {
                STAY_TIME
            },
        }
    }
}

/// The service as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    pub(crate) state: State,
    /// Whether nothing of it is left.
    pub(crate) down: bool,
    pub(crate) restarts: u32,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Write the record down.
    Save,
    /// Run the drain command; answer [`Switch::drained`].
    Drain,
    /// Run the gate command; answer [`Switch::gated`].
    Gate,
    /// Stop the service.
    Stop,
    /// Make the service what [`Switch::current`] says. Where that cannot be,
    /// answer [`Switch::unusable`]; on the way back, take the image's own.
    Use,
    /// Start the service.
    Start,
    /// Tell people.
    Report(String),
}

/// The variants of one service: which one it is, and the change under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Switch {
    pub(crate) record: Record,
    /// The image's own variant.
    pub(crate) own: String,
    /// The variant that the service is now.
    pub(crate) current: String,
    pub(crate) attempt: Option<Attempt>,
    /// What people should know of it.
    #[serde(default)]
    pub(crate) notice: String,
}

impl Switch {
    /// That of a service that has no other variants.
    pub(crate) fn only() -> Switch {
        Switch {
            own: UNNAMED.to_owned(),
            current: UNNAMED.to_owned(),
            ..Switch::default()
        }
    }

    /// Decides at boot what a service is: `own` is the image's own variant,
    /// `problem` why another one cannot be used, `time` what the clock says. A
    /// record that is different afterwards has to be written before the
    /// service starts.
    pub(crate) fn boot(
        record: Record,
        own: &str,
        enabled: bool,
        problem: impl Fn(&str) -> Option<String>,
        time: &str,
    ) -> Switch {
        let mut switch = Switch {
            record,
            own: own.to_owned(),
            current: own.to_owned(),
            ..Switch::default()
        };
        let record = &mut switch.record;
        if let Some(trial) = record.trial.take() {
            let why = format!("the node went down before {} had proved itself", trial.to);
            record.last = Some(trial.ended(time, Err(why)));
        }
        if let Some(chosen) = &record.chosen {
            match problem(chosen) {
                None => switch.current.clone_from(chosen),
                Some(why) => {
                    switch.notice = format!("{own} runs instead of {chosen}: {why}");
                }
            }
        }
        // One that does not start at boot would never prove itself.
        if let Some(next) = record.next.take_if(|_| enabled) {
            let trial = Trial {
                began: time.to_owned(),
                from: switch.current.clone(),
                to: next,
            };
            if let Some(why) = problem(&trial.to) {
                record.last = Some(trial.ended(time, Err(why)));
            } else if trial.from != trial.to {
                switch.current.clone_from(&trial.to);
                record.trial = Some(trial.clone());
                switch.attempt = Some(Attempt::new(trial, Step::Start, true, true));
            }
        }
        switch
    }

    /// What a service is whose container was found by a runtime that knows
    /// nothing else: of a trial, it may be either, so it is stopped, and what
    /// ran before is started.
    pub(crate) fn found(record: Record, own: &str) -> Switch {
        let current = record.chosen.clone().unwrap_or_else(|| own.to_owned());
        let attempt = record.trial.clone().map(|trial| Attempt {
            back: Some("the runtime lost sight of it".to_owned()),
            ..Attempt::new(trial, Step::Stop, true, false)
        });
        let mut switch = Switch {
            record,
            own: own.to_owned(),
            current,
            attempt,
            notice: String::new(),
        };
        if let Some(attempt) = &switch.attempt {
            let why = attempt.back.clone().unwrap_or_default();
            let trial = attempt.trial.clone();
            switch.record.trial = None;
            switch.record.last = Some(trial.clone().ended(&trial.began, Err(why)));
        }
        switch
    }

    /// Takes back what [`Switch::boot`] decided, because it cannot be written
    /// down: a trial that nobody remembers would be made at every boot.
    pub(crate) fn forget_trial(&mut self, why: &str) {
        if let Some(attempt) = self.attempt.take() {
            let Trial { from, to, .. } = attempt.trial;
            self.notice = format!("{to} is not tried: {why}");
            self.current = from;
            self.record.trial = None;
        }
    }

    /// A boot for recovery: what was chosen is forgotten.
    pub(crate) fn recover(record: &Record, own: &str) -> Switch {
        let before = record.chosen.as_deref().filter(|it| *it != own);
        Switch {
            own: own.to_owned(),
            current: own.to_owned(),
            notice: before.map_or_else(String::new, |before| {
                format!("{own} runs instead of {before}: the node was started for recovery")
            }),
            ..Switch::default()
        }
    }

    /// What the API tells of the change under way.
    pub(crate) fn progress(&self) -> Option<Progress> {
        let attempt = self.attempt.as_ref()?;
        Some(Progress {
            began: attempt.trial.began.clone(),
            from: attempt.trial.from.clone(),
            to: attempt.trial.to.clone(),
            step: attempt.step,
            back: attempt.back.clone(),
        })
    }

    /// When [`Switch::seen`] is due although nothing happened.
    pub(crate) fn deadline(&self) -> Option<Micros> {
        let attempt = self.attempt.as_ref()?;
        if attempt.step != Step::Start {
            return None;
        }
        attempt.stay.or(attempt.start.map(|(deadline, _)| deadline))
    }

    /// Begins a change. The record has to be written before the effects are
    /// carried out.
    pub(crate) fn begin(
        &mut self,
        rules: SwitchRules,
        sight: Sight,
        wanted: bool,
        to: &str,
        time: &str,
    ) -> Vec<Effect> {
        let trial = Trial {
            began: time.to_owned(),
            from: self.current.clone(),
            to: to.to_owned(),
        };
        self.record.trial = Some(trial.clone());
        let mut attempt = Attempt::new(trial, Step::Stop, wanted, false);
        let effects = attempt.leave(rules.drain && is_up(sight.state));
        self.attempt = Some(attempt);
        effects
    }

    /// What has to be done again after the runtime was away; nothing of it
    /// does harm when it is done twice.
    pub(crate) fn resume(&self) -> Vec<Effect> {
        match self.attempt.as_ref().map(|it| it.step) {
            None => vec![],
            Some(Step::Drain) => vec![Effect::Drain],
            Some(Step::Stop) => vec![Effect::Stop],
            Some(Step::Start) => vec![Effect::Start],
            Some(Step::Gate) => vec![Effect::Gate],
        }
    }

    /// The drain command ended.
    pub(crate) fn drained(&mut self, result: Result<(), String>, time: &str) -> Vec<Effect> {
        let Some(attempt) = self.attempt.as_mut().filter(|it| it.step == Step::Drain) else {
            return vec![];
        };
        match result {
            // What is left of a failure is stopped however it is.
            Err(_) if attempt.back.is_some() => attempt.leave(false),
            Ok(()) => attempt.leave(false),
            Err(why) => {
                let why = format!("{} cannot make ready to stop: {why}", attempt.trial.from);
                let trial = attempt.trial.clone();
                self.attempt = None;
                self.decide(&trial, Err(why), time)
            }
        }
    }

    /// The gate command ended, with what it says.
    pub(crate) fn gated(
        &mut self,
        rules: SwitchRules,
        result: Result<String, String>,
        time: &str,
    ) -> Vec<Effect> {
        let Some(attempt) = self.attempt.as_ref().filter(|it| it.step == Step::Gate) else {
            return vec![];
        };
        match result {
            Ok(_) if attempt.back.is_some() => {
                self.attempt = None;
                vec![]
            }
            Err(why) if attempt.back.is_some() => {
                let why = format!("{} runs again, but {why}", attempt.trial.from);
                self.give_up(&why, time)
            }
            Ok(said) => {
                let trial = attempt.trial.clone();
                self.attempt = None;
                self.choose_current();
                self.decide(&trial, Ok(said), time)
            }
            Err(why) => self.go_back(rules, true, why, time),
        }
    }

    /// The variant that it is to be cannot be used after all.
    pub(crate) fn unusable(&mut self, why: &str, time: &str) -> Vec<Effect> {
        let Some(attempt) = self.attempt.as_mut().filter(|it| it.back.is_none()) else {
            return vec![];
        };
        attempt.back = Some(why.to_owned());
        self.current.clone_from(&attempt.trial.from);
        let wanted = attempt.wanted;
        let trial = attempt.trial.clone();
        let mut effects = self.decide(&trial, Err(why.to_owned()), time);
        effects.push(Effect::Use);
        if wanted {
            effects.push(Effect::Start);
        } else {
            self.attempt = None;
        }
        effects
    }

    /// Looks at the service. `why` finds out what is wrong with it.
    pub(crate) fn seen(
        &mut self,
        rules: SwitchRules,
        sight: Sight,
        why: impl FnOnce() -> String,
        now: Micros,
        time: &str,
    ) -> Vec<Effect> {
        let Some(attempt) = &mut self.attempt else {
            return vec![];
        };
        match attempt.step {
            // It ends by itself: then nothing is left to be drained.
            Step::Drain if !is_up(sight.state) => attempt.leave(false),
            Step::Drain => vec![],
            Step::Stop if sight.down && sight.state == State::Stopped => {
                attempt.step = Step::Start;
                time.clone_into(&mut attempt.since);
                let back = attempt.back.is_some();
                let target = if back {
                    &attempt.trial.from
                } else {
                    &attempt.trial.to
                };
                self.current.clone_from(target);
                if back && !attempt.wanted {
                    self.attempt = None;
                    return vec![Effect::Use];
                }
                vec![Effect::Use, Effect::Start]
            }
            Step::Stop if matches!(sight.state, State::Starting | State::Stopping) => vec![],
            Step::Stop if sight.state == State::Stopped => vec![],
            // Something else began to start it again.
            Step::Stop => vec![Effect::Stop],
            Step::Start => match attempt.judge(rules, sight, now) {
                Verdict::Open => vec![],
                Verdict::Ready => {
                    attempt.was_ready = attempt.back.is_none();
                    attempt.step = Step::Gate;
                    if rules.gate {
                        return vec![Effect::Gate];
                    }
                    self.gated(rules, Ok(String::new()), time)
                }
                Verdict::Failed if attempt.back.is_some() => self.stuck(&why(), time),
                Verdict::Failed => self.go_back(rules, is_up(sight.state), why(), time),
                Verdict::Late => {
                    let seconds = rules.start_time / SECOND;
                    let why = format!("it is not ready after {seconds} s: {}", why());
                    if attempt.back.is_some() {
                        self.stuck(&why, time)
                    } else {
                        self.go_back(rules, is_up(sight.state), why, time)
                    }
                }
            },
            Step::Gate if is_up(sight.state) => vec![],
            Step::Gate if attempt.back.is_some() => self.stuck(&why(), time),
            Step::Gate => self.go_back(rules, false, why(), time),
        }
    }

    /// The new one failed.
    fn go_back(&mut self, rules: SwitchRules, is_up: bool, why: String, time: &str) -> Vec<Effect> {
        let Some(attempt) = &mut self.attempt else {
            return vec![];
        };
        attempt.back = Some(why.clone());
        attempt.start = None;
        attempt.stay = None;
        let next = attempt.leave(rules.drain && attempt.was_ready && is_up);
        let trial = attempt.trial.clone();
        let mut effects = self.decide(&trial, Err(why), time);
        effects.extend(next);
        effects
    }

    /// The old one does not get ready again either: its restart policy goes on.
    fn stuck(&mut self, why: &str, time: &str) -> Vec<Effect> {
        let from = self.attempt.as_ref().map(|it| it.trial.from.clone());
        let from = from.unwrap_or_default();
        self.give_up(&format!("{from} is not ready again: {why}"), time)
    }

    /// Leaves it at that, and tells what is wrong besides the first reason.
    fn give_up(&mut self, what: &str, time: &str) -> Vec<Effect> {
        let Some(attempt) = self.attempt.take() else {
            return vec![];
        };
        let first = attempt.back.unwrap_or_default();
        let both = format!("{first}; {what}");
        self.decide(&attempt.trial, Err(both), time)
    }

    fn decide(&mut self, trial: &Trial, result: Result<String, String>, time: &str) -> Vec<Effect> {
        let Trial { from, to, .. } = trial;
        let line = match &result {
            Ok(said) if said.is_empty() => format!("{to} runs instead of {from}"),
            Ok(said) => format!("{to} runs instead of {from}: {said}"),
            Err(why) => format!("{to} does not replace {from}: {why}"),
        };
        self.record.trial = None;
        self.record.last = Some(trial.clone().ended(time, result));
        vec![Effect::Save, Effect::Report(line)]
    }

    /// Takes the current variant for good. The image's own is no choice: what
    /// that is, the next image decides.
    pub(crate) fn choose_current(&mut self) {
        self.record.chosen = (self.current != self.own).then(|| self.current.clone());
        self.notice.clear();
    }

    /// Chooses what the next boot tries; the current one: nothing new.
    pub(crate) fn enable(&mut self, name: &str) {
        self.record.next = (name != self.current).then(|| name.to_owned());
    }
}

impl Trial {
    fn ended(self, time: &str, result: Result<String, String>) -> Outcome {
        let done = result.is_ok();
        let (Ok(reason) | Err(reason)) = result;
        Outcome {
            began: self.began,
            ended: time.to_owned(),
            from: self.from,
            to: self.to,
            done,
            reason,
        }
    }
}

enum Verdict {
    Open,
    Ready,
    Failed,
    Late,
}

impl Attempt {
    fn new(trial: Trial, step: Step, wanted: bool, boot: bool) -> Attempt {
        Attempt {
            since: trial.began.clone(),
            trial,
            step,
            back: None,
            wanted,
            boot,
            was_ready: false,
            start: None,
            stay: None,
        }
    }

    /// Goes away from the variant that runs.
    fn leave(&mut self, drain: bool) -> Vec<Effect> {
        if drain {
            self.step = Step::Drain;
            return vec![Effect::Drain];
        }
        self.step = Step::Stop;
        vec![Effect::Stop]
    }

    /// Whether a variant that starts has got ready.
    fn judge(&mut self, rules: SwitchRules, sight: Sight, now: Micros) -> Verdict {
        // At boot, others come first, which is not held against it.
        if self.boot && self.start.is_none() && sight.state == State::Waiting {
            return Verdict::Open;
        }
        let first = (now.saturating_add(rules.start_time), sight.restarts);
        let (deadline, before) = *self.start.get_or_insert(first);
        let ends = sight.restarts.saturating_sub(before) + 1;
        match sight.state {
            State::Done => Verdict::Ready,
            State::Ready => {
                let stay = *self.stay.get_or_insert(now.saturating_add(rules.stay_time));
                if now >= stay {
                    Verdict::Ready
                } else {
                    Verdict::Open
                }
            }
            State::Failed | State::Stopped => Verdict::Failed,
            State::Backoff if ends >= MOST_ENDS => Verdict::Failed,
            _ if now >= deadline => Verdict::Late,
            _ => {
                self.stay = None;
                Verdict::Open
            }
        }
    }
}

/// Whether a command can be run inside.
fn is_up(state: State) -> bool {
    matches!(state, State::Running | State::Ready | State::Unhealthy)
}

#[cfg(test)]
#[path = "switch_tests.rs"]
mod tests;
