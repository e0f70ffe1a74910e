//! All services together: who may start, who stops before whom, and what the
//! API tells of them. Like [`crate::machine`], it touches nothing.

use std::collections::BTreeMap;

use rubus_config::power::PowerAction;
use rubus_service::{
    Service,
    status::{BootedService, State, Status},
};
use serde::{Deserialize, Serialize};

use crate::{
    bundle,
    machine::{Action, Event, Machine, Micros},
    rules::Rules,
};

/// How long all services together may take to stop before the machine goes
/// down.
const SHUTDOWN_TIME: Micros = 60_000_000;
/// What of that is left for what SIGKILL takes.
const KILL_TIME: Micros = 5_000_000;

/// One service and where it is in its life.
pub(crate) struct Unit {
    pub(crate) service: Service,
    pub(crate) enabled: bool,
    pub(crate) machine: Machine,
    rules: Rules,
    /// It was removed; its number stays, so that those of others do.
    removed: bool,
}

impl Unit {
    fn new(service: Service, enabled: bool) -> Unit {
        Unit {
            rules: Rules::from(&service),
            machine: Machine::new(),
            service,
            enabled,
            removed: false,
        }
    }
}

/// A shutdown under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shutdown {
    pub(crate) action: PowerAction,
    /// When the machine goes down, whatever still runs.
    deadline: Micros,
}

/// An action on a service, by its number.
pub(crate) type Effect = (usize, Action);

/// All services.
pub(crate) struct Supervisor {
    units: Vec<Unit>,
    by_name: BTreeMap<String, usize>,
    shutdown: Option<Shutdown>,
    effects: Vec<Effect>,
    changed: bool,
}

impl Supervisor {
    /// Takes services, each with whether it is enabled. Nothing starts yet.
    pub(crate) fn new(services: impl IntoIterator<Item = (Service, bool)>) -> Supervisor {
        let units: Vec<Unit> = services
            .into_iter()
            .map(|(service, enabled)| Unit::new(service, enabled))
            .collect();
        let by_name = units
            .iter()
            .enumerate()
            .map(|(index, unit)| (unit.service.name.clone(), index))
            .collect();
        Supervisor {
            units,
            by_name,
            shutdown: None,
            effects: Vec::new(),
            changed: true,
        }
    }

    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        let index = self.by_name.get(name).copied()?;
        (!self.units[index].removed).then_some(index)
    }

    pub(crate) fn unit(&self, index: usize) -> &Unit {
        &self.units[index]
    }

    /// All services that there are, each with its number.
    pub(crate) fn units(&self) -> impl Iterator<Item = (usize, &Unit)> {
        let all = self.units.iter().enumerate();
        all.filter(|(_, unit)| !unit.removed)
    }

    /// Adds a service, which takes the number of a former one of its name: of
    /// that, nothing may run. Nothing starts yet.
    pub(crate) fn add(&mut self, service: Service, enabled: bool) -> usize {
        self.changed = true;
        if let Some(&index) = self.by_name.get(&service.name) {
            self.units[index] = Unit::new(service, enabled);
            return index;
        }
        let index = self.units.len();
        self.by_name.insert(service.name.clone(), index);
        self.units.push(Unit::new(service, enabled));
        index
    }

    /// Removes a service of which nothing may run.
    pub(crate) fn remove(&mut self, index: usize) {
        self.changed = true;
        self.units[index].machine = Machine::new();
        self.units[index].removed = true;
    }

    /// Whether nothing of a service runs, and nothing will by itself.
    pub(crate) fn is_at_rest(&self, index: usize) -> bool {
        let machine = &self.units[index].machine;
        let ended = matches!(
            machine.state(),
            State::Stopped | State::Failed | State::Done
        );
        ended && machine.is_down()
    }

    /// Takes over which services the settings turn on or off. What runs now
    /// stays as it is.
    pub(crate) fn set_enabled(&mut self, chosen: &BTreeMap<String, bool>) {
        for unit in &mut self.units {
            unit.enabled = bundle::is_enabled(&unit.service, chosen);
        }
    }

    /// Puts a service back where a former runtime left it.
    pub(crate) fn restore(&mut self, index: usize, machine: Machine) {
        self.units[index].machine = machine;
    }

    /// Makes a service another variant of itself; nothing of it may run.
    pub(crate) fn replace(&mut self, index: usize, service: Service) {
        let unit = &mut self.units[index];
        unit.rules = Rules::from(&service);
        unit.service = service;
        self.changed = true;
    }

    /// Has [`Supervisor::take_changed`] say so.
    pub(crate) fn mark_changed(&mut self) {
        self.changed = true;
    }

    /// Goes on with a shutdown that a former runtime began.
    pub(crate) fn restore_shutdown(&mut self, shutdown: Option<Shutdown>) {
        self.shutdown = shutdown;
    }

    pub(crate) fn shutdown(&self) -> Option<Shutdown> {
        self.shutdown
    }

    /// Tells a service what happened to it.
    pub(crate) fn dispatch(&mut self, index: usize, event: Event, now: Micros) {
        if self.shutdown.is_some() && matches!(event, Event::Start | Event::Restart) {
            return;
        }
        let unit = &mut self.units[index];
        let actions = unit.machine.handle(&unit.rules, event, now);
        self.effects
            .extend(actions.into_iter().map(|action| (index, action)));
        self.changed = true;
    }

    /// Begins to stop everything. A second request changes only what happens
    /// at the end.
    pub(crate) fn begin_shutdown(&mut self, action: PowerAction, now: Micros) {
        let deadline = self
            .shutdown
            .map_or(now + SHUTDOWN_TIME, |shutdown| shutdown.deadline);
        self.shutdown = Some(Shutdown { action, deadline });
        self.changed = true;
    }

    /// The action to end with, once everything is down or its time is over.
    pub(crate) fn shutdown_complete(&self, now: Micros) -> Option<PowerAction> {
        let shutdown = self.shutdown?;
        let down = self.units.iter().all(|unit| unit.machine.is_down());
        (down || now >= shutdown.deadline).then_some(shutdown.action)
    }

    /// Follows from the state of all to what each has to hear: time that went
    /// by, dependencies that became ready, its turn to stop. Called after
    /// events; returns what to do.
    pub(crate) fn settle(&mut self, now: Micros) -> Vec<Effect> {
        for index in 0..self.units.len() {
            if self.units[index]
                .machine
                .deadline()
                .is_some_and(|at| now >= at)
            {
                self.dispatch(index, Event::Tick, now);
            }
        }
        match self.shutdown {
            Some(shutdown) => self.settle_shutdown(shutdown, now),
            None => self.settle_starts(now),
        }
        std::mem::take(&mut self.effects)
    }

    fn settle_starts(&mut self, now: Micros) {
        for index in 0..self.units.len() {
            if self.units[index].machine.state() != State::Waiting {
                continue;
            }
            let missing = self.missing(index);
            if missing.is_empty() {
                // Nothing happens while remains are being removed.
                if !self.units[index].machine.remains {
                    self.dispatch(index, Event::Proceed, now);
                }
                continue;
            }
            let reason = missing.join(", ");
            if self.units[index].machine.reason != format!("waits for {reason}") {
                self.dispatch(index, Event::Blocked(reason), now);
            }
        }
    }

    fn settle_shutdown(&mut self, shutdown: Shutdown, now: Micros) {
        let kill_by = Some(shutdown.deadline.saturating_sub(KILL_TIME));
        for index in 0..self.units.len() {
            let unit = &self.units[index];
            let settled = matches!(
                unit.machine.state(),
                State::Stopped | State::Failed | State::Done | State::Stopping
            ) || !unit.machine.wanted && unit.machine.state() == State::Starting;
            if !settled && !self.is_needed(&unit.service.name) {
                self.dispatch(index, Event::Stop { kill_by }, now);
            }
        }
    }

    /// Whether a service that waits for this one is still up.
    fn is_needed(&self, name: &str) -> bool {
        self.units
            .iter()
            .any(|unit| unit.service.after.iter().any(|it| it == name) && !unit.machine.is_down())
    }

    /// What a service waits for, each with what holds it up when that is more
    /// than time.
    fn missing(&self, index: usize) -> Vec<String> {
        self.units[index]
            .service
            .after
            .iter()
            .filter_map(|name| match self.index_of(name) {
                None => Some(format!("{name}, which does not exist")),
                Some(other) => match self.units[other].machine.state() {
                    state if state.is_ready() => None,
                    State::Waiting | State::Starting | State::Running => Some(name.clone()),
                    State::Stopped if !self.units[other].enabled => {
                        Some(format!("{name}, which is not enabled"))
                    }
                    state => Some(format!("{name}, which is in state {}", state.word())),
                },
            })
            .collect()
    }

    /// Whether a service that waits will not start by itself: something that
    /// it waits for is down and stays so unless somebody starts it.
    pub(crate) fn is_stuck(&self, index: usize) -> bool {
        // Bounded, because the definitions on a device could wait in a circle.
        self.is_stuck_within(index, self.units.len())
    }

    fn is_stuck_within(&self, index: usize, depth: usize) -> bool {
        let unit = &self.units[index];
        if unit.machine.state() != State::Waiting {
            return false;
        }
        unit.service.after.iter().any(|name| {
            self.index_of(name).is_none_or(|other| {
                let state = self.units[other].machine.state();
                matches!(state, State::Stopped | State::Failed)
                    || depth == 0
                    || self.is_stuck_within(other, depth - 1)
            })
        })
    }

    /// When [`Supervisor::settle`] is due although nothing happened.
    pub(crate) fn next_deadline(&self) -> Option<Micros> {
        let machines = self.units.iter().filter_map(|it| it.machine.deadline());
        machines.chain(self.shutdown.map(|it| it.deadline)).min()
    }

    /// Whether anything changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// What the API tells of a service, but for its memory.
    pub(crate) fn status(&self, index: usize) -> Status {
        let Unit {
            service,
            enabled,
            machine,
            ..
        } = &self.units[index];
        Status {
            name: service.name.clone(),
            description: service.description.clone(),
            kind: service.kind,
            enabled: *enabled,
            state: machine.state(),
            pid: machine.main.and_then(|main| main.pid.try_into().ok()),
            started_us: machine.started,
            ready_us: machine.ready,
            restarts: machine.restarts,
            exit: machine.exit,
            memory: None,
            reason: machine.reason.clone(),
            variant: service.variant.clone(),
            added: false,
            notice: String::new(),
        }
    }

    /// How the services came up at boot.
    pub(crate) fn booted(&self) -> Vec<BootedService> {
        let mut booted: Vec<BootedService> = self
            .units()
            .filter_map(|(_, unit)| {
                Some(BootedService {
                    name: unit.service.name.clone(),
                    start_us: unit.machine.first_started?,
                    ready_us: unit.machine.first_ready,
                    state: unit.machine.state(),
                })
            })
            .collect();
        booted.sort_by_key(|it| it.start_us);
        booted
    }
}

#[cfg(test)]
#[path = "supervisor_tests.rs"]
mod tests;
