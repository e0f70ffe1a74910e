//! When wpa_supplicant is started for which interface: a pure function of which
//! interfaces there are, of ends, and of time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::interfaces::Interface;

/// The first pause after one ended; each further one is twice as long.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// One that ran this long has recovered: its next pause is the shortest.
const RECOVERED_AFTER: Duration = Duration::from_secs(60);

/// What has to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Start one for this interface.
    Start(Interface),
    /// End the one of this interface, which is gone.
    End(Interface),
}

/// What is under way for one interface.
enum Phase {
    Runs { since: Duration },
    Pauses { until: Duration },
}

struct Served {
    phase: Phase,
    /// How long the next pause is.
    pause: Duration,
}

/// All interfaces that are served.
#[derive(Default)]
pub(crate) struct Plan {
    served: BTreeMap<Interface, Served>,
}

impl Plan {
    /// What has to be done while there are these interfaces.
    pub(crate) fn steps(&mut self, now: Duration, there: &BTreeSet<Interface>) -> Vec<Step> {
        let mut steps = Vec::new();
        self.served.retain(|interface, served| {
            let stays = there.contains(interface);
            if !stays && matches!(served.phase, Phase::Runs { .. }) {
                steps.push(Step::End(interface.clone()));
            }
            stays
        });
        for interface in there {
            let served = self.served.entry(interface.clone()).or_insert(Served {
                phase: Phase::Pauses { until: now },
                pause: SHORTEST_PAUSE,
            });
            if matches!(served.phase, Phase::Pauses { until } if until <= now) {
                served.phase = Phase::Runs { since: now };
                steps.push(Step::Start(interface.clone()));
            }
        }
        steps
    }

    /// The one of this interface ended, or could not be started. Gives the
    /// pause before the next.
    pub(crate) fn ended(&mut self, now: Duration, interface: &Interface) -> Duration {
        let Some(served) = self.served.get_mut(interface) else {
            return Duration::ZERO;
        };
        if let Phase::Runs { since } = served.phase
            && now.saturating_sub(since) >= RECOVERED_AFTER
        {
            served.pause = SHORTEST_PAUSE;
        }
        let pause = served.pause;
        served.phase = Phase::Pauses { until: now + pause };
        served.pause = (pause * 2).min(LONGEST_PAUSE);
        pause
    }

    /// When [`Plan::steps`] is due although nothing happened.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let pauses = self.served.values().filter_map(|it| match it.phase {
            Phase::Pauses { until } => Some(until),
            Phase::Runs { .. } => None,
        });
        pauses.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn wlan(index: u32) -> Interface {
        Interface {
            index,
            name: "wlan0".to_owned(),
        }
    }

    #[test]
    fn one_runs_for_each_interface_as_long_as_that_is_there() {
        let mut plan = Plan::default();
        assert_eq!(plan.steps(at(0), &[].into()), []);
        let both = [wlan(3), wlan(4)].into();
        assert_eq!(
            plan.steps(at(1), &both),
            [Step::Start(wlan(3)), Step::Start(wlan(4))]
        );
        assert_eq!(plan.steps(at(2), &both), []);
        assert_eq!(plan.deadline(), None);
        // The driver was loaded anew: the name is the same, the interface is not.
        assert_eq!(
            plan.steps(at(3), &[wlan(3), wlan(5)].into()),
            [Step::End(wlan(4)), Step::Start(wlan(5))]
        );
        assert_eq!(plan.steps(at(4), &[].into()).len(), 2);
        assert_eq!(plan.steps(at(5), &[].into()), []);
    }

    #[test]
    fn one_that_ends_comes_back_after_growing_pauses() {
        let mut plan = Plan::default();
        let there = [wlan(3)].into();
        let mut now = at(0);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(plan.steps(now, &there), [Step::Start(wlan(3))]);
            assert_eq!(plan.ended(now, &wlan(3)), at(pause));
            assert_eq!(plan.steps(now, &there), []);
            now += at(pause);
            assert_eq!(plan.deadline(), Some(now));
        }
        // It ran for a while.
        assert_eq!(plan.steps(now, &there), [Step::Start(wlan(3))]);
        assert_eq!(plan.ended(now + RECOVERED_AFTER, &wlan(3)), at(1));
    }

    #[test]
    fn a_pause_ends_with_its_interface() {
        let mut plan = Plan::default();
        plan.steps(at(0), &[wlan(3)].into());
        plan.ended(at(0), &wlan(3));
        assert_eq!(plan.steps(at(0), &[].into()), []);
        assert_eq!(plan.deadline(), None);
        assert_eq!(plan.ended(at(1), &wlan(3)), at(0));
    }
}
