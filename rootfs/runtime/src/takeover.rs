//! Taking over the services of a runtime that ended while they ran.

use rubus_service::status::Exit;

use crate::{
    daemon::{Daemon, Watch, WatchRole},
    machine::{Event, Machine, Micros, Phase},
    process,
    saved::Saved,
};

/// How long `init` may take to write down how a process ended.
const REAPED_WITHIN: Micros = 300_000;
/// How often is looked.
const LOOK_EVERY: Micros = 20_000;

impl Daemon {
    /// Puts every service where the former runtime left it; at boot, wants
    /// those that are enabled.
    pub(crate) fn take_over(&mut self, now: Micros) {
        let mut saved = Saved::read(&self.options.saved_state());
        if let Some(saved) = &saved {
            self.first_start = saved.runtime_us;
            self.supervisor.restore_shutdown(saved.shutdown);
        }
        self.take_over_switches(saved.as_ref());
        let units: Vec<(usize, String, bool)> = self
            .supervisor
            .units()
            .map(|(index, unit)| (index, unit.service.name.clone(), unit.enabled))
            .collect();
        for (unit, name, enabled) in units {
            let machine = saved.as_mut().and_then(|it| it.services.remove(&name));
            let has_run = self.options.pid_file(&name).exists();
            match machine {
                Some(machine) => self.resume(unit, &name, machine, now),
                // The state was lost, but a container was started: as if that
                // were just happening.
                None if has_run => {
                    let mut machine = Machine::new();
                    machine.wanted = enabled;
                    machine.phase = Phase::Starting;
                    self.resume(unit, &name, machine, now);
                }
                None if enabled => self.supervisor.dispatch(unit, Event::Start, now),
                None => {}
            }
        }
        // Before anybody looks at the service: one that is to be started is
        // not one that ended.
        for (unit, effect) in std::mem::take(&mut self.switch_effects) {
            self.carry_out(unit, effect, now);
        }
    }

    fn resume(&mut self, unit: usize, name: &str, machine: Machine, now: Micros) {
        process::kill_group_of(&self.options.exec_pid_file(name, "health"));
        let (phase, main) = (machine.phase, machine.main);
        let post_start = machine.post_start_pending;
        self.supervisor.restore(unit, machine);
        if phase == Phase::Starting {
            // The OCI runtime of then may still be at it.
            let at_it = process::with_argument(&self.options.pid_file(name));
            if !self.watch_any(unit, WatchRole::Launch, &at_it) {
                self.resume_launched(unit, now);
            }
            return;
        }
        self.supervisor.dispatch(unit, Event::Adopted, now);
        let Some(main) = main else {
            return;
        };
        if !process::is_alive(main) || !self.watch(unit, WatchRole::Main, main.pid) {
            let exit = process::reaped_exit(&self.options.reaped(), main.pid);
            self.main_ended(unit, exit, now);
        } else if post_start {
            let pid_file = self.options.exec_pid_file(name, "post-start");
            let at_it = process::with_argument(&pid_file);
            if !self.watch_any(unit, WatchRole::PostStart, &at_it) {
                self.post_start(unit, now);
            }
        }
    }

    fn watch_any(&mut self, unit: usize, role: WatchRole, pids: &[i32]) -> bool {
        pids.iter().any(|&pid| self.watch(unit, role, pid))
    }

    /// The former runtime's start of a container is over: it runs or not.
    fn resume_launched(&mut self, unit: usize, now: Micros) {
        let name = &self.supervisor.unit(unit).service.name;
        let main = process::read_pid_file(&self.options.pid_file(name)).and_then(process::identify);
        match main {
            Some(main) if self.watch(unit, WatchRole::Main, main.pid) => {
                self.supervisor.dispatch(unit, Event::Started(main), now);
            }
            _ => {
                let why = "the runtime was away when it started".to_owned();
                self.start_failed(unit, why, now);
            }
        }
    }

    /// A watched process ended.
    pub(crate) fn on_watch(&mut self, number: u32, now: Micros) {
        let Some(watch) = self.watches.get_mut(&number) else {
            return;
        };
        if watch.ended.is_some() {
            return;
        }
        watch.ended = Some(now);
        let (unit, role) = (watch.unit, watch.role);
        if role == WatchRole::Launch {
            self.watches.remove(&number);
            self.resume_launched(unit, now);
        }
    }

    /// Asks how watched processes ended, which `init` writes down a moment
    /// after the end can be seen.
    pub(crate) fn look_again(&mut self, now: Micros) {
        let ended: Vec<(u32, Micros)> = self
            .watches
            .iter()
            .filter_map(|(&number, watch)| Some((number, watch.ended?)))
            .collect();
        for (number, since) in ended {
            let Some(watch) = self.watches.get(&number) else {
                continue;
            };
            let exit = process::reaped_exit(&self.options.reaped(), watch.pid);
            if exit == Exit::Unknown && now < since + REAPED_WITHIN {
                continue;
            }
            let (unit, role) = (watch.unit, watch.role);
            self.watches.remove(&number);
            match role {
                WatchRole::Main => self.main_ended(unit, exit, now),
                WatchRole::PostStart if exit == Exit::Unknown => self.post_start(unit, now),
                WatchRole::PostStart => {
                    self.supervisor
                        .dispatch(unit, Event::PostStartEnded(exit), now);
                }
                WatchRole::Launch => {}
            }
        }
    }
}

impl Watch {
    /// When to ask again how it ended.
    pub(crate) fn next_look(&self, now: Micros) -> Option<Micros> {
        self.ended.map(|_| now + LOOK_EVERY)
    }
}
