//! Changing settings, and what follows from it.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use rubus_config::changes::Effects;
use rubus_config::edit::{EditError, Edited, Editor};
use rubus_config::keys::{Path, Schema};
use rubus_config::node::Node;
use rubus_service::Service;
use rubus_service::status::{State, Status};

use super::cli::How;
use crate::api::{self, Action};
use crate::client::Client;
use crate::host;
use crate::output::Output;

/// The service in which people log in: what restarts it ends their login.
const CONSOLE: &str = "console";

/// Changes the settings of a node.
pub(crate) struct Changer<'a> {
    schema: &'a Schema,
    node: &'a Node,
    client: &'a Client,
    output: Output,
}

impl<'a> Changer<'a> {
    /// For the node, whose runtime `client` speaks to.
    pub(crate) const fn new(
        schema: &'a Schema,
        node: &'a Node,
        client: &'a Client,
        output: Output,
    ) -> Self {
        Self {
            schema,
            node,
            client,
            output,
        }
    }

    /// Makes a change and does what follows from it.
    pub(crate) fn change(
        &self,
        how: How,
        edit: impl FnOnce(&Editor<'_>) -> Result<Edited, EditError>,
    ) -> Result<()> {
        let ends_us = how.ends_us(host::now_us());
        let effects = match ends_us {
            Some(ends_us) => {
                let watch = || self.watch_trial();
                self.node.try_change(self.schema, ends_us, edit, watch)?
            }
            None => self.node.change(self.schema, how.dry_run, edit)?,
        };
        if how.json {
            self.output.json(&effects)?;
        }
        // Who reads JSON gets nothing else.
        let say = |line: &str| {
            if how.json {
                Ok(())
            } else {
                self.output.line(line)
            }
        };
        if effects.changed.is_empty() {
            return Ok(say("nothing changed")?);
        }
        if how.dry_run {
            for (action, name) in steps(&effects) {
                say(&format!("would {} {name}", action.word()))?;
            }
        } else {
            self.carry_out(&effects, ends_us.is_some(), say)?;
        }
        for line in self.remarks(&effects) {
            say(&line)?;
        }
        for key in &effects.reboot {
            say(&format!("{key} counts from the next boot: `ros os reboot`"))?;
        }
        if let Some(ends_us) = ends_us {
            say(&format!(
                "on trial: taken back in {} s unless you keep it with `ros config confirm`",
                seconds_until(ends_us)
            ))?;
        }
        Ok(())
    }

    /// Keeps what is on trial.
    pub(crate) fn confirm(&self) -> Result<()> {
        let trial = self.node.confirm()?;
        // A runtime that is not told finds nothing to take back.
        let _ = self.client.read_settings();
        Ok(self
            .output
            .line(&format!("kept: {}", trial.keys.join(", ")))?)
    }

    /// Takes back what is on trial.
    pub(crate) fn revert(&self) -> Result<()> {
        let effects = self.node.revert(self.schema)?;
        self.carry_out(&effects, false, |line| self.output.line(line))?;
        let keys = effects.changed.join(", ");
        Ok(self.output.line(&format!("taken back: {keys}"))?)
    }

    /// Makes sure that the runtime looks at the clock of a trial.
    fn watch_trial(&self) -> Result<(), String> {
        let seen = self.client.read_settings().map_err(|e| e.to_string())?;
        match seen.trial_ends_us {
            Some(_) => Ok(()),
            None => Err("system-runtime does not see the settings on trial".to_owned()),
        }
    }

    /// Tells the runtime of a change and does what follows for services.
    fn carry_out(
        &self,
        effects: &Effects,
        on_trial: bool,
        say: impl Fn(&str) -> std::io::Result<()>,
    ) -> Result<()> {
        let stored = if on_trial { "on trial" } else { "stored" };
        self.client
            .read_settings()
            .with_context(|| format!("{stored}, but cannot tell system-runtime of it"))?;
        for (action, name) in steps(effects) {
            if action != Action::Start && !self.is_up(&name, stored)? {
                continue;
            }
            let ends_login = name == CONSOLE && action != Action::Reload;
            if ends_login {
                say(&format!("{} {name}; this ends your login", doing(action)))?;
            }
            self.client.act(&name, action).with_context(|| {
                format!(
                    "{stored}, but cannot {} {name}; `ros service {} {name}` tries again",
                    action.word(),
                    action.word()
                )
            })?;
            if !ends_login {
                say(&format!("{name} {}", done(action)))?;
            }
        }
        Ok(())
    }

    /// Whether a service runs or should: one that somebody stopped stays so.
    fn is_up(&self, name: &str, stored: &str) -> Result<bool> {
        let service: Status = self
            .client
            .service(name)
            .with_context(|| format!("{stored}, but cannot ask for the state of {name}"))?;
        Ok(!matches!(service.state, State::Stopped))
    }

    /// What a person should know of services that were turned on or off.
    fn remarks(&self, effects: &Effects) -> Vec<String> {
        let services = self.node.services();
        let settings = self.node.load(self.schema).merged.settings.services;
        let enabled = |service: &Service| {
            let chosen = settings.get(&service.name).copied();
            chosen.unwrap_or(service.enabled) && !effects.stop.contains(&service.name)
        };
        let mut lines = Vec::new();
        for stopped in &effects.stop {
            let waits = |it: &&Service| it.after.contains(stopped) && enabled(it);
            for service in services.iter().filter(waits) {
                let name = &service.name;
                lines.push(format!(
                    "{name} waits for {stopped}: it will not start at the next boot"
                ));
            }
        }
        let names: BTreeSet<&str> = services.iter().map(|it| it.name.as_str()).collect();
        let switched = effects.changed.iter().filter_map(|key| switch_of(key));
        for name in switched.filter(|name| !names.contains(name.as_str())) {
            lines.push(api::unknown_service(&name, names.iter().copied()));
        }
        lines
    }
}

/// The service that a key turns on or off.
fn switch_of(key: &str) -> Option<String> {
    match Path::parse(key).ok()?.parts() {
        [table, name] if table == "services" => Some(name.clone()),
        _ => None,
    }
}

fn seconds_until(us: u64) -> u64 {
    us.saturating_sub(host::now_us()).div_ceil(1_000_000)
}

/// What to do with which service, in order. The console comes last: `ros` may
/// run in it.
fn steps(effects: &Effects) -> Vec<(Action, String)> {
    let all = [
        (Action::Stop, &effects.stop),
        (Action::Start, &effects.start),
        (Action::Restart, &effects.restart),
        (Action::Reload, &effects.reload),
    ];
    let mut steps: Vec<(Action, String)> = all
        .into_iter()
        .flat_map(|(action, names)| names.iter().map(move |name| (action, name.clone())))
        .collect();
    steps.sort_by_key(|(_, name)| name == CONSOLE);
    steps
}

const fn doing(action: Action) -> &'static str {
    match action {
        Action::Start => "starting",
        Action::Stop => "stopping",
        Action::Restart => "restarting",
        Action::Reload => "reloading",
    }
}

const fn done(action: Action) -> &'static str {
    match action {
        Action::Start => "started",
        Action::Stop => "stopped",
        Action::Restart => "restarted",
        Action::Reload => "reloaded",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_comes_last_for_ros_may_run_in_it() {
        let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
        let effects = Effects {
            stop: names(&["nats"]),
            start: names(&["docker"]),
            restart: names(&["network", "console", "mdns"]),
            ..Effects::default()
        };
        let order: Vec<String> = steps(&effects)
            .into_iter()
            .map(|(action, name)| format!("{} {name}", action.word()))
            .collect();
        assert_eq!(
            order,
            [
                "stop nats",
                "start docker",
                "restart network",
                "restart mdns",
                "restart console"
            ]
        );
    }
}
