//! What is to be done: from a project and what the engine has to a list of
//! steps.

use std::collections::BTreeSet;

use crate::{
    project::{Condition, MountSource, Project},
    request::{self, Container},
};

/// What the engine has of a project, and of what it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// Containers of the project.
    pub containers: Vec<Existing>,
    /// Which of its images are there.
    pub images: BTreeSet<String>,
    /// Whether its network is there.
    pub network: bool,
    /// Volumes, all there are.
    pub volumes: BTreeSet<String>,
}

/// A container that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// Its number.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The service that it is of.
    pub service: String,
    /// What it was made from.
    pub hash: String,
    /// Whether it runs.
    pub running: bool,
}

/// A step, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Fetch an image.
    Pull(String),
    /// Make the network of the project.
    MakeNetwork,
    /// Make a volume, by its name in the file.
    MakeVolume(String),
    /// Stop a container.
    Stop(Existing),
    /// Stop and remove a container; its volumes stay.
    Remove(Existing),
    /// Make a container.
    Create(Box<Container>),
    /// Start a container, by its name.
    Start(String),
    /// Wait for what others need of a container.
    Wait(String, Condition),
    /// Remove the network of the project.
    RemoveNetwork,
}

/// Everything as the file says: what is right stays as it is.
///
/// # Errors
/// When a volume is missing that has to be there.
pub fn up(project: &Project, present: &Present) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let wanted: Vec<Container> = project
        .in_order()
        .into_iter()
        .map(|(name, service)| request::container(project, name, service))
        .collect();
    for (name, volume) in &project.volumes {
        let full = project.volume_name(name);
        if volume.external && !present.volumes.contains(&full) {
            return Err(format!(
                "there is no volume {full}; make it with `docker volume create {full}`"
            ));
        }
    }
    // First what may fail for want of a network: until then nothing changes.
    let mut images = BTreeSet::new();
    for container in &wanted {
        if !present.images.contains(&container.image) && images.insert(&container.image) {
            steps.push(Step::Pull(container.image.clone()));
        }
    }
    let shared = project
        .services
        .values()
        .any(|it| it.network_mode.is_none());
    if shared && !present.network {
        steps.push(Step::MakeNetwork);
    }
    for (name, volume) in &project.volumes {
        let used = project.services.values().any(|service| {
            let of = |source: &MountSource| *source == MountSource::Volume(name.clone());
            service.mounts.iter().any(|mount| of(&mount.source))
        });
        if used && !volume.external && !present.volumes.contains(&project.volume_name(name)) {
            steps.push(Step::MakeVolume(name.clone()));
        }
    }
    for existing in &present.containers {
        if !wanted.iter().any(|it| it.service == existing.service) {
            steps.push(Step::Remove(existing.clone()));
        }
    }
    for container in wanted {
        let name = container.name.clone();
        let service = container.service.clone();
        let mut same = present.containers.iter().filter(|it| it.service == service);
        let is_right = |it: &Existing| it.hash == container.hash && it.name == name;
        let right = same.clone().find(|it| is_right(it));
        steps.extend(
            same.by_ref()
                .filter(|it| !is_right(it))
                .cloned()
                .map(Step::Remove),
        );
        if right.is_none() {
            steps.push(Step::Create(Box::new(container)));
        }
        if right.is_none_or(|it| !it.running) {
            steps.push(Step::Start(name.clone()));
        }
        if let Some(condition) = asked_of(project, &service) {
            steps.push(Step::Wait(name, condition));
        }
    }
    Ok(steps)
}

/// The most that others ask of a service before they start.
fn asked_of(project: &Project, service: &str) -> Option<Condition> {
    let conditions = project
        .services
        .values()
        .filter_map(|it| it.depends_on.get(service));
    conditions.copied().find(|it| *it != Condition::Started)
}

/// Everything of the project gone, but for its volumes and images.
pub fn down(project: &Project, present: &Present) -> Vec<Step> {
    let mut steps = stopping(project, present, Step::Remove);
    if present.network {
        steps.push(Step::RemoveNetwork);
    }
    steps
}

/// All containers of the project stopped, those first that depend on others.
pub fn stop(project: &Project, present: &Present) -> Vec<Step> {
    let mut steps = stopping(project, present, Step::Stop);
    steps.retain(|step| !matches!(step, Step::Stop(it) if !it.running));
    steps
}

fn stopping(project: &Project, present: &Present, step: fn(Existing) -> Step) -> Vec<Step> {
    let order = project.in_order();
    let place = |existing: &Existing| {
        let found = order.iter().position(|(name, _)| *name == existing.service);
        // Those that the file no longer names, first.
        std::cmp::Reverse(found.unwrap_or(usize::MAX))
    };
    let mut containers = present.containers.clone();
    containers.sort_by_key(place);
    containers.into_iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;

    fn project(text: &str) -> Project {
        Project::parse("f", Name::Is("app"), text).unwrap()
    }

    const TWO: &str = "
services:
  web: {image: nginx, depends_on: {db: {condition: service_healthy}}, volumes: ['v:/v']}
  db: {image: postgres}
volumes: {v: , unused: }
";

    /// The engine after it has done all of this.
    fn after(project: &Project, steps: &[Step], mut present: Present) -> Present {
        for step in steps {
            match step {
                Step::Pull(image) => drop(present.images.insert(image.clone())),
                Step::MakeNetwork => present.network = true,
                Step::RemoveNetwork => present.network = false,
                Step::MakeVolume(name) => drop(present.volumes.insert(project.volume_name(name))),
                Step::Remove(gone) => present.containers.retain(|it| it.id != gone.id),
                Step::Create(made) => present.containers.push(Existing {
                    id: format!("id-{}-{}", made.name, made.hash),
                    name: made.name.clone(),
                    service: made.service.clone(),
                    hash: made.hash.clone(),
                    running: false,
                }),
                Step::Start(name) => set_running(&mut present, name, true),
                Step::Stop(stopped) => set_running(&mut present, &stopped.name, false),
                Step::Wait(..) => {}
            }
        }
        present
    }

    fn set_running(present: &mut Present, name: &str, running: bool) {
        let found = present.containers.iter_mut().find(|it| it.name == name);
        found.unwrap().running = running;
    }

    fn shown(steps: &[Step]) -> Vec<String> {
        let show = |step: &Step| match step {
            Step::Pull(image) => format!("pull {image}"),
            Step::MakeNetwork => "network".to_owned(),
            Step::RemoveNetwork => "no network".to_owned(),
            Step::MakeVolume(name) => format!("volume {name}"),
            Step::Stop(it) => format!("stop {}", it.service),
            Step::Remove(it) => format!("remove {}", it.service),
            Step::Create(it) => format!("create {}", it.service),
            Step::Start(name) => format!("start {name}"),
            Step::Wait(name, _) => format!("wait {name}"),
        };
        steps.iter().map(show).collect()
    }

    #[test]
    fn everything_is_made_once_in_order() {
        let project = project(TWO);
        let steps = up(&project, &Present::default()).unwrap();
        assert_eq!(
            shown(&steps),
            [
                "pull postgres",
                "pull nginx",
                "network",
                "volume v",
                "create db",
                "start app-db-1",
                "wait app-db-1",
                "create web",
                "start app-web-1",
            ]
        );
        let present = after(&project, &steps, Present::default());
        let again = up(&project, &present).unwrap();
        assert_eq!(
            shown(&again),
            ["wait app-db-1"],
            "nothing is to be done twice"
        );
    }

    #[test]
    fn what_changed_is_made_anew_and_what_is_gone_goes() {
        let old = project(TWO);
        let present = after(
            &old,
            &up(&old, &Present::default()).unwrap(),
            Present::default(),
        );
        let new = project("services: {db: {image: postgres, command: x}}");
        assert_eq!(
            shown(&up(&new, &present).unwrap()),
            ["remove web", "remove db", "create db", "start app-db-1"]
        );
        let renamed = project("services: {db: {image: postgres, container_name: pg}}");
        assert_eq!(
            shown(&up(&renamed, &present).unwrap()),
            ["remove web", "remove db", "create db", "start pg"]
        );
    }

    #[test]
    fn one_that_stands_still_is_started() {
        let project = project("services: {a: {image: x}}");
        let present = after(
            &project,
            &up(&project, &Present::default()).unwrap(),
            Present::default(),
        );
        let stopped = after(&project, &stop(&project, &present), present.clone());
        assert_eq!(shown(&up(&project, &stopped).unwrap()), ["start app-a-1"]);
        assert!(stop(&project, &stopped).is_empty());
    }

    #[test]
    fn those_that_depend_on_others_end_first() {
        let project = project(TWO);
        let present = after(
            &project,
            &up(&project, &Present::default()).unwrap(),
            Present::default(),
        );
        assert_eq!(shown(&stop(&project, &present)), ["stop web", "stop db"]);
        assert_eq!(
            shown(&down(&project, &present)),
            ["remove web", "remove db", "no network"]
        );
        assert!(down(&project, &Present::default()).is_empty());
    }

    #[test]
    fn a_volume_of_somebody_else_has_to_be_there() {
        let project = project(
            "services: {a: {image: x, volumes: ['v:/v'], network_mode: host}}\nvolumes: {v: {external: true}}",
        );
        let error = up(&project, &Present::default()).unwrap_err();
        assert!(error.contains("docker volume create v"), "{error}");
        let present = Present {
            volumes: BTreeSet::from(["v".to_owned()]),
            ..Present::default()
        };
        assert_eq!(
            shown(&up(&project, &present).unwrap()),
            ["pull x", "create a", "start app-a-1"]
        );
    }
}
