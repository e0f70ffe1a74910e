//! `ros service`: services of the image and of the user's own, which the runtime
//! runs, and those of compose files, which the engine runs, under the same
//! verbs.

use std::path::Path;

use anyhow::{Result, bail};

use crate::api::Action;
use crate::cli::{Logs, Names, Service, Switch};
use crate::client::Client;
use crate::compose::{Change, Projects};
use crate::given::{Given, Kind};
use crate::output::Output;
use crate::own::Own;
use crate::service::{self, All};
use crate::{config, exec, inspect, logs};

/// Does what is asked for.
pub(crate) fn run(client: &Client, host: &Path, command: &Service, output: Output) -> Result<()> {
    let projects = Projects::of(host);
    let all = || -> Result<All> {
        Ok(All {
            system: client.services()?,
            compose: projects.statuses()?,
        })
    };
    let each = |names: &Names, action, change| -> Result<()> {
        for name in &names.names {
            if projects.has(name)? {
                projects.change(name, change, output)?;
            } else {
                service::act(client, name, action, output)?;
            }
        }
        Ok(())
    };
    match command {
        Service::List(listing) => all()?.list(*listing, output),
        Service::Ps(listing) => all()?.ps(*listing, output),
        Service::Start(names) => each(names, Action::Start, Change::Up),
        Service::Stop(names) => each(names, Action::Stop, Change::Stop),
        Service::Restart(names) => each(names, Action::Restart, Change::Restart),
        Service::Enable(switch) => enable(client, host, &projects, switch, true, output),
        Service::Disable(switch) => enable(client, host, &projects, switch, false, output),
        Service::Add(add) => {
            let given = Given::read(&add.file, add.name.as_deref())?;
            match given.kind() {
                Kind::Service => Own::of(client, host).add(&given, &projects, output),
                Kind::Compose => {
                    let system = client.services()?.into_iter().map(|it| it.name).collect();
                    projects.add(&given, &system, output)
                }
            }
        }
        Service::Remove(names) => names.names.iter().try_for_each(|name| {
            if projects.has(name)? {
                projects.remove(name, output)
            } else {
                Own::of(client, host).remove(name, output)
            }
        }),
        Service::Inspect(options) if projects.has(&options.name)? => {
            projects.inspect(&options.name, options.json, output)
        }
        Service::Inspect(options) => inspect::run(client, options, output),
        Service::Logs(options) => logs(client, host, options, output),
        Service::Exec(options) if projects.has(&options.name)? => bail!(
            "the containers of {name} are the engine's; use `docker exec -it CONTAINER ...`, \
             `ros service inspect {name}` names them",
            name = options.name
        ),
        Service::Exec(options) => exec::run(client, options),
    }
}

/// `ros logs`
pub(crate) fn logs(client: &Client, host: &Path, options: &Logs, output: Output) -> Result<()> {
    let projects = Projects::of(host);
    if projects.has(&options.name)? {
        projects.logs(options, output)
    } else {
        logs::run(client, options, output)
    }
}

/// `ros service enable` and `disable`
fn enable(
    client: &Client,
    host: &Path,
    projects: &Projects,
    switch: &Switch,
    on: bool,
    output: Output,
) -> Result<()> {
    let known = projects.names()?;
    let (compose, system): (Vec<_>, Vec<_>) = switch
        .names
        .names
        .iter()
        .cloned()
        .partition(|name| known.contains_key(name));
    if let (Some(name), true) = (compose.first(), switch.how.is_tentative()) {
        bail!("{name} is of a compose file, which knows neither `--try` nor `--dry-run`");
    }
    if !system.is_empty() {
        let names = Names { names: system };
        let how = switch.how;
        config::switch(client, host, &Switch { how, names }, on, output)?;
    }
    let change = if on { Change::Up } else { Change::Down };
    let mut names = compose.iter();
    names.try_for_each(|name| projects.change(name, change, output))
}
