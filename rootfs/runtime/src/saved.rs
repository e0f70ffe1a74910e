//! What the next runtime has to know when this one is killed.

use std::{collections::BTreeMap, fs, io, path::Path};

use rubus_config::files;
use serde::{Deserialize, Serialize};

use crate::{
    machine::{Machine, Micros},
    report::report,
    supervisor::{Shutdown, Supervisor},
    switch::Switch,
};

/// The saved state. It is written before what it says is done, so that the
/// next runtime never knows less than what happened.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// When the first runtime since the boot started.
    pub(crate) runtime_us: Micros,
    #[serde(default)]
    pub(crate) shutdown: Option<Shutdown>,
    pub(crate) services: BTreeMap<String, Machine>,
    /// Which variants the services are.
    #[serde(default)]
    pub(crate) switches: BTreeMap<String, Switch>,
}

impl Saved {
    /// What a supervisor has to pass on, with the switches of its services.
    pub(crate) fn of(supervisor: &Supervisor, switches: &[Switch], runtime_us: Micros) -> Saved {
        Saved {
            runtime_us,
            shutdown: supervisor.shutdown(),
            services: supervisor
                .units()
                .map(|(_, unit)| (unit.service.name.clone(), unit.machine.clone()))
                .collect(),
            switches: supervisor
                .units()
                .filter_map(|(index, unit)| {
                    Some((unit.service.name.clone(), switches.get(index)?.clone()))
                })
                .collect(),
        }
    }

    /// Reads what a former runtime left; `None`: there was none.
    pub(crate) fn read(path: &Path) -> Option<Saved> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                report(format_args!("cannot read {}: {error}", path.display()));
                return None;
            }
        };
        serde_json::from_slice(&text)
            .inspect_err(|error| {
                report(format_args!(
                    "cannot read {}: {error}; goes by what runs",
                    path.display()
                ));
            })
            .ok()
    }

    /// Writes it whole or not at all. It lies in memory: what survives is the
    /// end of the runtime, not that of the machine, so nothing is synced.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        files::replace_lazily(path, &serde_json::to_vec(self)?, 0o600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_as_it_was_and_a_broken_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runtime.json");
        assert!(Saved::read(&path).is_none());
        let mut saved = Saved {
            runtime_us: 7,
            ..Saved::default()
        };
        saved.services.insert("a".to_owned(), Machine::new());
        saved.write(&path).unwrap();
        let read = Saved::read(&path).unwrap();
        assert_eq!(read.runtime_us, 7);
        assert_eq!(read.services["a"], Machine::new());
        fs::write(&path, "{\"runtime").unwrap();
        assert!(Saved::read(&path).is_none());
    }
}
