//! Services that compose files define: the engine runs them.

mod files;
mod logs;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use rubus_compose::plan::{self, Existing, Present, Step};
use rubus_compose::{Condition, Name, Project, request};
use rubus_config::paths;
use rubus_service::status::{State, Status};
use serde_json::json;

use crate::cli::Logs;
use crate::engine::{Engine, Listed, Progress};
use crate::given::Given;
use crate::output::{self, Output};
use crate::text;

pub(crate) use files::{Files, Origin};

/// Between two looks at a container that others wait for.
const PAUSE: Duration = Duration::from_millis(500);
/// Where root's logins to registries are.
const LOGINS: &str = "/root/.docker/config.json";

/// All projects, and the engine that runs them.
#[derive(Clone, Debug)]
pub(crate) struct Projects {
    files: Files,
    engine: Engine,
}

/// What can be done with a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Everything as its file says.
    Up,
    /// Nothing runs; the containers stay.
    Stop,
    /// Both.
    Restart,
    /// Nothing is left but volumes and images.
    Down,
}

impl Projects {
    /// Those of the node whose filesystem is at `host`.
    pub(crate) fn of(host: &Path) -> Self {
        let socket = host.join(paths::ENGINE_SOCKET.trim_start_matches('/'));
        Self {
            files: Files::of(host),
            engine: Engine::new(&socket),
        }
    }

    /// Whether there is one of this name.
    pub(crate) fn has(&self, name: &str) -> Result<bool> {
        Ok(self.files.names()?.contains_key(name))
    }

    /// The names of all.
    pub(crate) fn names(&self) -> Result<BTreeMap<String, Origin>> {
        self.files.names()
    }

    /// How all are. What is wrong with one stands in its reason.
    pub(crate) fn statuses(&self) -> Result<Vec<Status>> {
        let names = self.files.names()?;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let containers = self.engine.containers(request::PROJECT, None);
        let statuses = names.iter().map(|(name, origin)| {
            let project = match self.load(name) {
                Ok(project) => project,
                Err(error) => return broken(name, &format!("{error:#}")),
            };
            match (&containers, origin) {
                (Ok(containers), _) => state::of(&project, &of_project(containers, name)),
                // Most of these nobody has asked for.
                (Err(_), Origin::Catalogue) => state::of(&project, &[]),
                (Err(error), Origin::Own) => Status {
                    state: State::Waiting,
                    reason: error.to_string(),
                    ..state::of(&project, &[])
                },
            }
        });
        Ok(statuses.collect())
    }

    /// `ros service add`
    pub(crate) fn add(
        &self,
        given: &Given,
        system: &BTreeSet<String>,
        output: Output,
    ) -> Result<()> {
        let name = given.name.as_deref();
        let name = name.map_or(Name::OrElse(&given.usual_name), Name::Is);
        let (shown, text) = (given.shown(), &given.text);
        let project = Project::parse(&shown, name, text)?;
        let name = &project.name;
        if system.contains(name) {
            bail!("{name} is a system service; choose another name with `--name`");
        }
        let replaced = self.files.keep(&project, text)?;
        let done = if replaced { "is replaced" } else { "is added" };
        output.line(&format!(
            "{name} {done}; `ros service enable {name}` starts it"
        ))?;
        Ok(())
    }

    /// `ros service remove`
    pub(crate) fn remove(&self, name: &str, output: Output) -> Result<()> {
        match self.files.names()?.get(name) {
            Some(Origin::Own) => {}
            Some(Origin::Catalogue) => bail!(
                "{name} is a service of the image and cannot be removed; \
                 `ros service disable {name}` ends it"
            ),
            None => bail!("{name} was not added; `ros service list` shows what is there"),
        }
        self.change(name, Change::Down, output)?;
        self.files.forget(name)?;
        output.line(&format!("{name} is removed; its volumes stay"))?;
        Ok(())
    }

    /// Starts, stops or ends a project, and says what came of it.
    pub(crate) fn change(&self, name: &str, change: Change, output: Output) -> Result<()> {
        let project = self.load(name)?;
        let mut present = self.present(&project)?;
        if matches!(change, Change::Stop | Change::Restart) {
            self.execute(&project, plan::stop(&project, &present), output)?;
            // The engine's list is late: what has just stopped may still run there.
            for container in &mut present.containers {
                container.running = false;
            }
        }
        let steps = match change {
            Change::Up | Change::Restart => {
                present.images = self.images(&project)?;
                plan::up(&project, &present).map_err(|error| anyhow!("{name}: {error}"))?
            }
            Change::Down => plan::down(&project, &present),
            Change::Stop => {
                output.line(&format!("{name} is {}", State::Stopped.word()))?;
                return Ok(());
            }
        };
        self.execute(&project, steps, output)?;
        let status = self.settled(&project)?;
        let reason = text::printable(&status.reason);
        match (change, status.state) {
            (Change::Down, _) => output.line(&format!("{name} is disabled"))?,
            (_, state @ (State::Ready | State::Done)) => {
                output.line(&format!("{name} is {}", state.word()))?;
            }
            (_, state) => bail!("{name} is {}: {reason}", state.word()),
        }
        Ok(())
    }

    /// How a project is once nothing of it is starting any more.
    fn settled(&self, project: &Project) -> Result<Status> {
        loop {
            let containers = self
                .engine
                .containers(request::PROJECT, Some(&project.name))?;
            let status = state::of(project, &containers);
            if status.state != State::Starting {
                return Ok(status);
            }
            thread::sleep(PAUSE);
        }
    }

    /// `ros logs`
    pub(crate) fn logs(&self, options: &Logs, output: Output) -> Result<()> {
        let containers = self
            .engine
            .containers(request::PROJECT, Some(&options.name))?;
        if containers.is_empty() {
            bail!(
                "{name} has no containers; start it with `ros service enable {name}`",
                name = options.name
            );
        }
        logs::run(&self.engine, &containers, options, output)
    }

    /// `ros service inspect`
    pub(crate) fn inspect(&self, name: &str, json: bool, output: Output) -> Result<()> {
        let project = self.load(name)?;
        let file = self.files.find(name)?.unwrap_or_default();
        let containers = self.engine.containers(request::PROJECT, Some(name))?;
        let status = state::of(&project, &containers);
        if json {
            let containers: Vec<_> = containers
                .iter()
                .map(
                    |it| json!({ "name": state::name(it), "state": it.state, "status": it.status }),
                )
                .collect();
            return output
                .json(&json!({ "status": status, "file": file, "containers": containers }));
        }
        let mut out = format!(
            "state        {}\nenabled      {}\nfile         {}\n",
            status.state.word(),
            if status.enabled { "yes" } else { "no" },
            file.display()
        );
        for service in project.services.keys() {
            let full = project.container_name(service);
            let found = containers.iter().find(|it| state::name(it) == full);
            let status = found.map_or("not there", |it| it.status.as_str());
            out += &format!("container    {full}: {}\n", text::printable(status));
        }
        Ok(output.text(&out)?)
    }

    /// The project of a name.
    pub(crate) fn load(&self, name: &str) -> Result<Project> {
        let project = self.files.load(name)?;
        project.with_context(|| format!("there is no service {name}"))
    }

    /// What there is of a project, but for images.
    fn present(&self, project: &Project) -> Result<Present> {
        let listed = self
            .engine
            .containers(request::PROJECT, Some(&project.name))?;
        let label = |it: &Listed, label: &str| it.labels.get(label).cloned().unwrap_or_default();
        let containers = listed.iter().map(|it| Existing {
            id: it.id.clone(),
            name: state::name(it).to_owned(),
            service: label(it, request::SERVICE),
            hash: label(it, request::HASH),
            running: matches!(it.state.as_str(), "running" | "restarting"),
        });
        Ok(Present {
            containers: containers.collect(),
            images: BTreeSet::new(),
            network: self.engine.has_network(&project.network_name())?,
            volumes: self.engine.volumes()?.into_iter().collect(),
        })
    }

    /// Which images of a project the engine has.
    fn images(&self, project: &Project) -> Result<BTreeSet<String>> {
        let mut images = BTreeSet::new();
        for service in project.services.values() {
            if self.engine.has_image(&service.image)? {
                images.insert(service.image.clone());
            }
        }
        Ok(images)
    }

    fn execute(&self, project: &Project, steps: Vec<Step>, output: Output) -> Result<()> {
        for step in steps {
            if output.is_terminal()
                && let Some(line) = shown(project, &step)
            {
                output::complain(&line);
            }
            self.step(project, &step, output)
                .with_context(|| failed(project, &step))?;
        }
        Ok(())
    }

    fn step(&self, project: &Project, step: &Step, output: Output) -> Result<()> {
        let engine = &self.engine;
        match step {
            Step::Pull(image) => pull(engine, image, output)?,
            Step::MakeNetwork => engine.make_network(&request::network(project))?,
            Step::RemoveNetwork => engine.remove_network(&project.network_name())?,
            Step::MakeVolume(name) => engine.make_volume(&request::volume(project, name))?,
            Step::Stop(container) => engine.stop(&container.id)?,
            Step::Remove(container) => {
                engine.stop(&container.id)?;
                engine.remove(&container.id)?;
            }
            Step::Create(container) => engine.create(&container.name, &container.body)?,
            Step::Start(name) => engine.start(name)?,
            Step::Wait(name, condition) => self.wait(name, *condition)?,
        }
        Ok(())
    }

    /// Waits for as long as it takes: whoever asked can stop that.
    fn wait(&self, name: &str, condition: Condition) -> Result<()> {
        loop {
            let state = self.engine.container(name)?.state;
            let health = state.health.as_ref().map(|it| it.status.as_str());
            match condition {
                Condition::Started => return Ok(()),
                Condition::Completed if !state.running && state.exit_code == 0 => return Ok(()),
                Condition::Completed if !state.running => {
                    bail!("{name} ended with status {}", state.exit_code)
                }
                Condition::Healthy if health == Some("healthy") => return Ok(()),
                Condition::Healthy if health == Some("unhealthy") => {
                    let said = state.health.as_ref().map_or("", |it| it.last());
                    bail!("{name} is unhealthy: {said}")
                }
                Condition::Healthy if !state.running => bail!("{name} does not run"),
                Condition::Healthy if health.is_none() => bail!("{name} has no health check"),
                _ => thread::sleep(PAUSE),
            }
        }
    }
}

/// Has the engine fetch an image, with root's logins, and shows how far it is.
pub(crate) fn pull(engine: &Engine, image: &str, output: Output) -> Result<()> {
    let mut layers: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let watch = |progress: &Progress| {
        let Some(id) = &progress.id else { return };
        if progress.status != "Downloading" || !output.is_terminal() {
            return;
        }
        let detail = progress.progress_detail;
        layers.insert(id.clone(), (detail.current, detail.total));
        let (now, all) = layers
            .values()
            .fold((0, 0), |(now, all), layer| (now + layer.0, all + layer.1));
        output::rewrite(&format!(
            "{image}: {} of {}",
            text::bytes(now),
            text::bytes(all)
        ));
    };
    let logins = fs::read(LOGINS).unwrap_or_default();
    let outcome = engine.pull(image, login(&logins, image).as_deref(), watch);
    if output.is_terminal() {
        output::rewrite("");
    }
    Ok(outcome?)
}

/// The login of an image's registry, as the engine takes it in a header.
fn login(logins: &[u8], image: &str) -> Option<String> {
    let logins: serde_json::Value = serde_json::from_slice(logins).ok()?;
    let first = image.split('/').next().unwrap_or_default();
    let registry = if image.contains('/') && first.contains(['.', ':']) {
        first
    } else {
        "https://index.docker.io/v1/"
    };
    let auth = logins.get("auths")?.get(registry)?.get("auth")?.as_str()?;
    // What `docker login` keeps is `user:password` in base64.
    let pair = String::from_utf8(STANDARD.decode(auth).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    let json = json!({
        "username": user, "password": password, "serveraddress": registry,
    });
    Some(URL_SAFE.encode(json.to_string()))
}

fn of_project(containers: &[Listed], name: &str) -> Vec<Listed> {
    let is_of = |it: &&Listed| it.labels.get(request::PROJECT).is_some_and(|of| of == name);
    containers.iter().filter(is_of).cloned().collect()
}

fn broken(name: &str, why: &str) -> Status {
    let nothing = Project {
        name: name.to_owned(),
        description: None,
        services: BTreeMap::new(),
        volumes: BTreeMap::new(),
    };
    Status {
        state: State::Failed,
        reason: why.to_owned(),
        ..state::of(&nothing, &[])
    }
}

/// What goes on during a step.
fn shown(project: &Project, step: &Step) -> Option<String> {
    Some(match step {
        Step::Pull(image) => format!("fetching {image}"),
        Step::MakeNetwork => format!("making the network {}", project.network_name()),
        Step::MakeVolume(name) => format!("making the volume {}", project.volume_name(name)),
        Step::Stop(it) => format!("stopping {}", it.name),
        Step::Remove(it) => format!("removing {}", it.name),
        Step::Start(name) => format!("starting {name}"),
        Step::Wait(name, _) => format!("waiting for {name}"),
        Step::Create(_) | Step::RemoveNetwork => return None,
    })
}

/// What did not work when a step fails.
fn failed(project: &Project, step: &Step) -> String {
    let what = match step {
        Step::Pull(image) => format!("cannot fetch {image}"),
        Step::MakeNetwork => format!("cannot make the network {}", project.network_name()),
        Step::RemoveNetwork => format!("cannot remove the network {}", project.network_name()),
        Step::MakeVolume(name) => format!("cannot make the volume {}", project.volume_name(name)),
        Step::Stop(it) => format!("cannot stop {}", it.name),
        Step::Remove(it) => format!("cannot remove {}", it.name),
        Step::Create(it) => format!("cannot make {}", it.name),
        Step::Start(name) => format!("cannot start {name}"),
        Step::Wait(name, _) => format!("what depends on {name} is not started"),
    };
    format!("{}: {what}", project.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_of_the_registry_goes_along() {
        let logins = br#"{"auths": {
            "reg.example:5000": {"auth": "YW5uYTpzZWNyZXQ="},
            "https://index.docker.io/v1/": {"auth": "aHViOnB3"},
            "broken": {"auth": "*"}
        }}"#;
        let of = |image| {
            let bytes = URL_SAFE.decode(login(logins, image)?).unwrap();
            let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            Some(json["username"].as_str().unwrap().to_owned())
        };
        assert_eq!(of("reg.example:5000/a/b:1").as_deref(), Some("anna"));
        assert_eq!(of("nginx").as_deref(), Some("hub"));
        assert_eq!(of("library/nginx:1").as_deref(), Some("hub"));
        assert_eq!(of("other.example/x"), None);
        assert_eq!(login(b"not json", "nginx"), None);
    }
}
