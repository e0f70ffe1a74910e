//! What the runtime itself takes from the settings, and the end of a trial.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

use rubus_config::{effects::Effects, identity, settings::Settings, trial::Trial};
use rustix::process::{Pid, Signal};

use crate::{
    bundle,
    daemon::Daemon,
    machine::{Event, Micros},
    process,
    report::report,
};

impl Daemon {
    /// Reads the settings again: which services are enabled, whether logs are
    /// kept, what the node is called, and whether they are on trial.
    pub(crate) fn read_settings(&mut self, now: Micros) {
        if let Some(settings) = bundle::settings(&self.options) {
            self.supervisor.set_enabled(&settings.services);
            self.keeper.switch(settings.logging.persist, now);
            if let Err(error) = apply_identity(&self.options.etc, &settings) {
                report(format_args!("cannot apply the settings: {error}"));
            }
        }
        let trial = self.read_trial();
        if let Some(effects) = self.trial.see(trial) {
            report("settings that nobody confirmed were taken back");
            self.follow(&effects, now);
        }
    }

    fn read_trial(&self) -> Option<Trial> {
        let path = self.options.trial();
        let trial = fs::read(&path).and_then(|text| Ok(serde_json::from_slice(&text)?));
        trial
            .inspect_err(|error| {
                if error.kind() != io::ErrorKind::NotFound {
                    report(format_args!("cannot read {}: {error}", path.display()));
                }
            })
            .ok()
    }

    /// Does what follows from other settings.
    fn follow(&mut self, effects: &Effects, now: Micros) {
        for name in &effects.stop {
            if let Some(unit) = self.supervisor.index_of(name) {
                let stop = Event::Stop { kill_by: None };
                self.supervisor.dispatch(unit, stop, now);
            }
        }
        for name in &effects.start {
            if let Some(unit) = self.supervisor.index_of(name) {
                self.supervisor.dispatch(unit, Event::Start, now);
            }
        }
        for name in effects.restart.iter().chain(&effects.reload) {
            if let Some(unit) = self.supervisor.index_of(name) {
                self.reload(unit, now);
            }
        }
    }

    /// Makes a service read its settings anew. Whether that restarts it; one
    /// that is off reads them when it starts.
    pub(crate) fn reload(&mut self, unit: usize, now: Micros) -> bool {
        if let Err(failure) = self.check_not_switching(unit) {
            report(format_args!(
                "{}; it reads its settings then",
                failure.message
            ));
            return false;
        }
        let reloaded = self.supervisor.unit(unit);
        let signal = reloaded.service.reload_signal_number();
        match (signal, reloaded.machine.main) {
            (Some(signal), Some(main)) => {
                process::signal(main, signal);
                false
            }
            _ if !reloaded.machine.wanted => false,
            _ => {
                self.supervisor.dispatch(unit, Event::Restart, now);
                true
            }
        }
    }

    /// Takes settings back whose trial is over.
    pub(crate) fn end_trial(&mut self, now: Micros) {
        if let Some(pid) = self.trial.overdue(now).and_then(Pid::from_raw) {
            // It is our child and not reaped: the number cannot be another's.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        if !self.trial.is_due(now) {
            return;
        }
        let program = &self.options.configure;
        let child = Command::new(program)
            .arg("expire")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        match child {
            // All children are reaped by number, so the handle is not kept.
            Ok(child) => self.trial.started(child.id().cast_signed(), now),
            Err(error) => {
                report(format_args!("cannot run {}: {error}", program.display()));
                self.trial.failed(now);
            }
        }
    }

    /// Forgets a trial once what follows from its end is saved: a runtime that
    /// is killed before would have it done again.
    pub(crate) fn forget_trial(&mut self) {
        if self.trial.take_passed_on() {
            // There is nothing to do about one that is gone already.
            let _ = fs::remove_file(self.options.trial());
        }
    }
}

/// Gives the node its name and its time zone, where they are not what they
/// should be.
fn apply_identity(etc: &Path, settings: &Settings) -> io::Result<()> {
    let machine_id = fs::read_to_string(etc.join("machine-id")).unwrap_or_default();
    let name = identity::hostname(settings, machine_id.trim_end());
    if rustix::system::uname().nodename().to_bytes() != name.as_bytes() {
        rustix::system::sethostname(name.as_bytes())?;
        identity::write_name(etc, &name)?;
    }
    let zone = settings.timezone.as_str();
    let current = fs::read_to_string(etc.join(identity::TIMEZONE)).unwrap_or_default();
    if current.trim_end() != zone {
        identity::set_timezone(etc, zone)?;
    }
    Ok(())
}
