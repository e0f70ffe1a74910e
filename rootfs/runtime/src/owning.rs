//! Taking in services that are added on the node, and letting go of them.

use std::path::PathBuf;

use rubus_service::own::{begun, is_own_name};

use crate::{
    bundle,
    daemon::{Daemon, open_log},
    http::Failure,
    logs,
    machine::{Event, Micros},
    own,
    switch::Switch,
};

impl Daemon {
    /// Whether a service was added on the node.
    pub(crate) fn is_added(&self, unit: usize) -> bool {
        self.bundles[unit].starts_with(self.options.own_services())
    }

    /// Whether a service of the image stands where one was added.
    pub(crate) fn is_shadowing(&self, name: &str) -> bool {
        let is_of_image = self.options.services.join(name).exists();
        is_of_image && self.options.own_services().join(name).exists()
    }

    /// Takes in a service whose bundle was begun: it exists from now on, in the
    /// place of a former one that was added under its name, and starts if it is
    /// enabled.
    pub(crate) fn add_service(&mut self, name: &str, now: Micros) -> Result<usize, Failure> {
        if self.supervisor.shutdown().is_some() {
            return Err(Failure::new(409, "the machine is going down"));
        }
        if !is_own_name(name) {
            return Err(Failure::new(400, format!("{name} cannot name a service")));
        }
        if self.options.services.join(name).exists() {
            return Err(Failure::new(
                409,
                format!("{name} is a service of the image; choose another name"),
            ));
        }
        if let Some(former) = self.supervisor.index_of(name) {
            self.must_be_at_rest(former)?;
        }
        let folder = self.options.own_services();
        let service = own::check(&folder.join(begun(name)), name)
            .map_err(|why| Failure::new(409, format!("{name} cannot be added: {why}")))?;
        own::place(&folder, name)
            .map_err(|error| Failure::new(500, format!("cannot add {name}: {error}")))?;

        let chosen = bundle::settings(&self.options).map(|it| it.services);
        let enabled = bundle::is_enabled(&service, &chosen.unwrap_or_default());
        let unit = self.supervisor.add(service, enabled);
        // By number, as everything that is known of services.
        if unit == self.bundles.len() {
            self.bundles.push(PathBuf::new());
            self.switches.push(Switch::only());
            self.logs.push(None);
        }
        self.bundles[unit] = folder.join(name);
        if self.logs[unit].is_none() {
            self.logs[unit] = open_log(&self.options, &self.reactor, unit, name);
        }
        if enabled {
            self.supervisor.dispatch(unit, Event::Start, now);
        }
        Ok(unit)
    }

    /// Lets go of a service that was added and does not run. Its files lie in
    /// the folder that is returned.
    pub(crate) fn remove_service(&mut self, name: &str) -> Result<PathBuf, Failure> {
        let unit = self.find(name)?;
        let is_added = self.is_added(unit);
        if is_added {
            self.must_be_at_rest(unit)?;
        } else if !self.is_shadowing(name) {
            return Err(Failure::new(
                409,
                format!(
                    "{name} is a service of the image and cannot be removed; \
                     `ros service disable {name}` ends it"
                ),
            ));
        }
        let aside = own::take_out(&self.options.own_services(), name)
            .map_err(|error| Failure::new(500, format!("cannot remove {name}: {error}")))?;
        if is_added {
            self.supervisor.remove(unit);
            self.clients.end_logs(unit);
            self.logs[unit] = None;
            logs::remove(&self.options.logs(), name);
            self.keeper.forget(name);
        }
        Ok(aside)
    }

    fn must_be_at_rest(&self, unit: usize) -> Result<(), Failure> {
        if self.supervisor.is_at_rest(unit) {
            return Ok(());
        }
        let name = &self.supervisor.unit(unit).service.name;
        Err(Failure::new(
            409,
            format!("{name} runs; stop it first with `ros service stop {name}`"),
        ))
    }
}
