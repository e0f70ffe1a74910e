//! Carrying out what [`crate::switch`] decides, and asking it to.

use std::time::SystemTime;

use rubus_service::{
    Service,
    status::Exit,
    variants::{Choice, Source, UNNAMED, Variant, Variants},
};

use crate::{
    cause,
    daemon::Daemon,
    http::Failure,
    jobs::{Job, Role},
    machine::{Event, Micros},
    process,
    report::report,
    saved::Saved,
    switch::{Effect, Sight, Switch, SwitchRules},
    variants::{self, Found, Records},
};

impl Daemon {
    /// Makes every service the variant that it was for the former runtime, or
    /// that it is to be after a boot.
    pub(crate) fn take_over_switches(&mut self, saved: Option<&Saved>) {
        let path = self.options.variants_record();
        let (mut records, damage) = match variants::read_records(&path) {
            Ok(records) => (records, None),
            Err(why) => {
                report(format_args!("{why}; services are what the image has"));
                (Records::new(), Some(why))
            }
        };
        let time = now();
        let mut changed = false;
        let units: Vec<(String, bool)> = self
            .supervisor
            .units()
            .map(|(_, unit)| (unit.service.name.clone(), unit.enabled))
            .collect();
        for (unit, (name, enabled)) in units.into_iter().enumerate() {
            if self.is_added(unit) {
                self.switches.push(Switch::only());
                continue;
            }
            let own = self.supervisor.unit(unit).service.variant.clone();
            let own = own.unwrap_or_else(|| UNNAMED.to_owned());
            let written = records.remove(&name).unwrap_or_default();
            let mut switch = match saved.and_then(|it| it.switches.get(&name)) {
                Some(switch) => switch.clone(),
                // The state was lost, but a container was started: it may be
                // any variant.
                None if self.options.pid_file(&name).exists() => {
                    Switch::found(written.clone(), &own)
                }
                None if self.options.recovery => Switch::recover(&written, &own),
                None => {
                    let problem =
                        |variant: &str| variants::load(&self.options, &name, variant).err();
                    Switch::boot(written.clone(), &own, enabled, problem, &time)
                }
            };
            if let Some(why) = &damage
                && variants::list(&self.options, &name).len() > 1
            {
                switch.notice = format!("{own} runs: {why}");
            }
            if !switch.notice.is_empty() {
                report(format_args!("{name}: {}", switch.notice));
            }
            changed |= switch.record != written;
            self.switches.push(switch);
        }
        if changed && let Err(why) = self.write_records() {
            report(&why);
            if saved.is_none() {
                for switch in &mut self.switches {
                    switch.forget_trial(&why);
                }
            }
        }
        for unit in 0..self.switches.len() {
            if self.switches[unit].current != self.switches[unit].own {
                self.become_current(unit);
            }
            let name = &self.supervisor.unit(unit).service.name;
            for what in ["drain", "gate"] {
                process::kill_group_of(&self.options.exec_pid_file(name, what));
            }
            let effects = self.switches[unit].resume();
            self.add_effects(unit, effects);
        }
    }

    /// Makes a service the variant that its switch says, or the image's own
    /// where that is not possible.
    fn become_current(&mut self, unit: usize) {
        if let Err(why) = self.try_current(unit) {
            let name = &self.supervisor.unit(unit).service.name;
            let switch = &mut self.switches[unit];
            switch.notice = format!("{} runs instead: {why}", switch.own);
            report(format_args!("{name}: {}", switch.notice));
            switch.current.clone_from(&switch.own);
            // It could be read before; if not, the service stays what it is.
            let _ = self.try_current(unit);
        }
    }

    fn try_current(&mut self, unit: usize) -> Result<(), String> {
        let name = &self.supervisor.unit(unit).service.name;
        let variant = &self.switches[unit].current;
        let (mut service, folder) = variants::load(&self.options, name, variant)?;
        if service.variant.as_deref() == Some(UNNAMED) && *variant == self.switches[unit].own {
            service.variant = None;
        }
        self.supervisor.replace(unit, service);
        self.bundles[unit] = folder;
        Ok(())
    }

    fn write_records(&self) -> Result<(), String> {
        let records: Records = self
            .supervisor
            .units()
            .map(|(index, unit)| {
                (
                    unit.service.name.clone(),
                    self.switches[index].record.clone(),
                )
            })
            .filter(|(_, record)| *record != Default::default())
            .collect();
        variants::write_records(&self.options.variants_record(), &records)
    }

    /// Tells every switch under way how its service is.
    pub(crate) fn look_at_switches(&mut self, at: Micros) {
        // A boot that follows knows what to do.
        if self.supervisor.shutdown().is_some() {
            return;
        }
        for unit in 0..self.switches.len() {
            if self.switches[unit].attempt.is_none() {
                continue;
            }
            let rules = self.switch_rules(unit);
            let sight = self.sight(unit);
            let mut switch = self.switches[unit].clone();
            let effects = switch.seen(rules, sight, || self.what_is_wrong(unit), at, &now());
            if switch != self.switches[unit] {
                self.switches[unit] = switch;
                self.supervisor.mark_changed();
            }
            self.switch_effects
                .extend(effects.into_iter().map(|effect| (unit, effect)));
        }
    }

    fn add_effects(&mut self, unit: usize, effects: Vec<Effect>) {
        self.supervisor.mark_changed();
        self.switch_effects
            .extend(effects.into_iter().map(|effect| (unit, effect)));
    }

    fn switch_rules(&self, unit: usize) -> SwitchRules {
        SwitchRules::from(&self.supervisor.unit(unit).service)
    }

    fn sight(&self, unit: usize) -> Sight {
        let machine = &self.supervisor.unit(unit).machine;
        Sight {
            state: machine.state(),
            down: machine.is_down(),
            restarts: machine.restarts,
        }
    }

    fn what_is_wrong(&self, unit: usize) -> String {
        let reason = &self.supervisor.unit(unit).machine.reason;
        let attempt = self.switches[unit].attempt.as_ref();
        let since = attempt.map_or("", |it| it.since.as_str());
        let lines = self.log(unit).and_then(|log| {
            let cursor = log.ring.tail(cause::LINES).ok()?;
            log.ring.read_all(cursor).ok()
        });
        let complaints = cause::complaints(&lines.unwrap_or_default(), since);
        cause::sentence(reason, &complaints)
    }

    /// Does what a switch decided.
    pub(crate) fn carry_out(&mut self, unit: usize, effect: Effect, at: Micros) {
        match effect {
            Effect::Save => {
                if let Err(why) = self.write_records() {
                    report(format_args!("{why}; the next boot does not know of it"));
                }
            }
            Effect::Drain => self.run_around(unit, Role::Drain, at),
            Effect::Gate => self.run_around(unit, Role::Gate, at),
            Effect::Stop => {
                let stop = Event::Stop { kill_by: None };
                self.supervisor.dispatch(unit, stop, at);
            }
            Effect::Use => {
                let attempt = self.switches[unit].attempt.as_ref();
                if attempt.is_some_and(|it| it.back.is_none()) {
                    if let Err(why) = self.try_current(unit) {
                        let effects = self.switches[unit].unusable(&why, &now());
                        self.add_effects(unit, effects);
                    }
                } else {
                    self.become_current(unit);
                }
            }
            Effect::Start => self.supervisor.dispatch(unit, Event::Start, at),
            Effect::Report(line) => {
                let name = &self.supervisor.unit(unit).service.name;
                report(format_args!("{name}: {line}"));
            }
        }
    }

    fn run_around(&mut self, unit: usize, role: Role, at: Micros) {
        let attempt = self.switches[unit].attempt.as_ref();
        let is_back = attempt.is_some_and(|it| it.back.is_some());
        let direction = if is_back { "back" } else { "forward" };
        let service = &self.supervisor.unit(unit).service;
        if let Err(error) =
            self.jobs
                .around_switch(&self.options, unit, role, direction, service, at)
        {
            self.switch_command_result(unit, role, Err(format!("cannot run it: {error}")));
        }
    }

    /// A command around a switch ended.
    pub(crate) fn switch_command_ended(&mut self, job: &mut Job, exit: Exit) {
        let said = job.last_words();
        let result = match exit {
            Exit::Code(0) => Ok(said.unwrap_or_default()),
            _ if job.overdue => Err("its command took too long".to_owned()),
            _ => Err(said.unwrap_or_else(|| format!("its command {exit}"))),
        };
        self.switch_command_result(job.unit, job.role, result);
    }

    fn switch_command_result(&mut self, unit: usize, role: Role, result: Result<String, String>) {
        let rules = self.switch_rules(unit);
        let switch = &mut self.switches[unit];
        let effects = match role {
            Role::Drain => switch.drained(result.map(drop), &now()),
            _ => switch.gated(rules, result, &now()),
        };
        self.add_effects(unit, effects);
    }

    /// What the API tells of the variants of a service.
    pub(crate) fn variants(&self, unit: usize) -> Variants {
        let name = &self.supervisor.unit(unit).service.name;
        let switch = &self.switches[unit];
        let trial = switch.attempt.as_ref().map(|it| &it.trial.to);
        let next = switch.record.next.as_ref();
        let tell = |found: Found, checked: Result<Service, String>| Variant {
            state: if found.name == switch.current {
                Choice::Current
            } else if Some(&found.name) == next {
                Choice::Enabled
            } else {
                Choice::Disabled
            },
            trial: Some(&found.name) == trial,
            version: checked.as_ref().ok().and_then(|it| it.version.clone()),
            problem: checked.err().unwrap_or_default(),
            source: found.source,
            name: found.name,
        };
        Variants {
            service: name.clone(),
            variants: variants::list(&self.options, name)
                .into_iter()
                .map(|found| {
                    let checked = variants::check(&found, name);
                    tell(found, checked)
                })
                .collect(),
            switch: switch.progress(),
            last: switch.record.last.clone(),
            notice: switch.notice.clone(),
        }
    }

    /// Refuses to meddle with a service that is being switched.
    pub(crate) fn check_not_switching(&self, unit: usize) -> Result<(), Failure> {
        match self.switches[unit].progress() {
            None => Ok(()),
            Some(progress) => {
                let name = &self.supervisor.unit(unit).service.name;
                let to = if progress.back.is_some() {
                    progress.from
                } else {
                    progress.to
                };
                Err(Failure::new(
                    409,
                    format!("{name} is being switched to {to}; try again when that is done"),
                ))
            }
        }
    }

    /// Whether a variant is there and can be used.
    fn check_variant(&self, unit: usize, variant: &str) -> Result<(), Failure> {
        let name = &self.supervisor.unit(unit).service.name;
        let found = variants::list(&self.options, name);
        let Some(found) = found.into_iter().find(|it| it.name == variant) else {
            return Err(Failure::new(
                404,
                format!("{name} has no variant {variant}"),
            ));
        };
        variants::check(&found, name)
            .map(drop)
            .map_err(|why| Failure::new(409, why))
    }

    /// Begins a switch.
    pub(crate) fn begin_switch(&mut self, unit: usize, variant: &str) -> Result<(), Failure> {
        self.check_not_switching(unit)?;
        self.check_variant(unit, variant)?;
        let (rules, sight) = (self.switch_rules(unit), self.sight(unit));
        let wanted = self.supervisor.unit(unit).machine.wanted;
        let before = self.switches[unit].clone();
        let switch = &mut self.switches[unit];
        let effects = if switch.current == variant {
            // It runs already, but perhaps another was to.
            switch.choose_current();
            Vec::new()
        } else {
            switch.begin(rules, sight, wanted, variant, &now())
        };
        self.write_or_restore(unit, before)?;
        self.add_effects(unit, effects);
        Ok(())
    }

    /// Chooses what the next boot tries.
    pub(crate) fn enable_variant(&mut self, unit: usize, variant: &str) -> Result<(), Failure> {
        self.check_not_switching(unit)?;
        self.check_variant(unit, variant)?;
        let before = self.switches[unit].clone();
        self.switches[unit].enable(variant);
        self.write_or_restore(unit, before)?;
        self.supervisor.mark_changed();
        Ok(())
    }

    fn write_or_restore(&mut self, unit: usize, before: Switch) -> Result<(), Failure> {
        self.write_records().map_err(|why| {
            self.switches[unit] = before;
            Failure::new(500, why)
        })
    }

    /// Takes an added variant out of the list. Its files are moved aside, to
    /// the folder that is returned, and are the caller's to delete: that takes
    /// long.
    pub(crate) fn remove_variant(&self, unit: usize, variant: &str) -> Result<String, Failure> {
        let name = &self.supervisor.unit(unit).service.name;
        let refuse = |why: String| Err(Failure::new(409, why));
        let all = variants::list(&self.options, name);
        let Some(found) = all.into_iter().find(|it| it.name == variant) else {
            return Err(Failure::new(
                404,
                format!("{name} has no variant {variant}"),
            ));
        };
        let switch = &self.switches[unit];
        let trial = switch.attempt.as_ref().map(|it| &it.trial);
        if found.source == Source::Image {
            return refuse(format!("{variant} is part of the image"));
        }
        if switch.current == variant
            || trial.is_some_and(|it| it.from == variant || it.to == variant)
        {
            return refuse(format!("{variant} runs; switch to another one first"));
        }
        if switch.record.next.as_deref() == Some(variant) {
            return refuse(format!(
                "{variant} is enabled for the next boot; enable another one first"
            ));
        }
        let aside = found.folder.with_file_name(format!(".{variant}.removed"));
        std::fs::rename(&found.folder, &aside)
            .map_err(|error| Failure::new(500, format!("cannot move {variant} aside: {error}")))?;
        Ok(aside.to_string_lossy().into_owned())
    }
}

/// The time, as outcomes have it.
fn now() -> String {
    humantime::format_rfc3339_micros(SystemTime::now()).to_string()
}
