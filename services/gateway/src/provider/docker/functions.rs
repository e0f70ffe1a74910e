//! Containers put together to functions.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use bollard::models::ContainerSummary;

use super::container::{self, Replica};
use crate::{
    model::{FunctionId, FunctionStatus, Map},
    provider::Route,
};

/// All functions, by name.
pub(super) type Functions = BTreeMap<FunctionId, Function>;

/// A function: the containers of its current revision, and what other revisions
/// left behind.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Function {
    /// In the order of their index; never empty.
    replicas: Vec<Replica>,
    /// Containers of an update that did not come to its end.
    leftovers: Vec<String>,
    annotations: Arc<Map>,
}

impl Function {
    pub(super) fn replicas(&self) -> &[Replica] {
        &self.replicas
    }

    pub(super) fn leftovers(&self) -> &[String] {
        &self.leftovers
    }

    /// All containers of the function.
    pub(super) fn containers(&self) -> impl Iterator<Item = &str> {
        self.replicas
            .iter()
            .map(|replica| replica.container.as_str())
            .chain(self.leftovers.iter().map(String::as_str))
    }

    /// Replicas that there are to be.
    pub(super) fn wanted(&self) -> u32 {
        count(self.replicas.iter().filter(|replica| replica.wanted))
    }

    /// The containers of the replicas that run.
    pub(super) fn running(&self) -> Vec<String> {
        let running = self.replicas.iter().filter(|it| it.endpoint.is_some());
        running.map(|replica| replica.container.clone()).collect()
    }

    pub(super) fn route(&self) -> Route {
        let endpoints = self.replicas.iter().filter_map(|replica| replica.endpoint);
        Route {
            endpoints: endpoints.collect(),
            annotations: Arc::clone(&self.annotations),
        }
    }

    pub(super) fn status(&self) -> FunctionStatus {
        let Some(first) = self.replicas.first() else {
            return FunctionStatus::default();
        };
        let created = Duration::from_secs(u64::try_from(first.created).unwrap_or_default());
        FunctionStatus {
            replicas: self.wanted(),
            available_replicas: count(self.replicas.iter().filter_map(|replica| replica.endpoint)),
            created_at: humantime::format_rfc3339_seconds(UNIX_EPOCH + created).to_string(),
            ..FunctionStatus::of(&first.deployment, &first.function.namespace)
        }
    }
}

fn count(items: impl Iterator) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

/// Puts the containers of the engine together.
pub(super) fn group(containers: Vec<ContainerSummary>) -> Functions {
    let mut by_function: BTreeMap<FunctionId, Vec<Replica>> = BTreeMap::new();
    for replica in containers.into_iter().filter_map(container::replica) {
        by_function
            .entry(replica.function.clone())
            .or_default()
            .push(replica);
    }
    by_function
        .into_iter()
        .map(|(id, replicas)| (id, function(replicas)))
        .collect()
}

/// The current revision is the newest with replicas that run; where none runs,
/// the newest. So an update takes effect when its replicas run, and one that a
/// power cut ended is either done or undone.
fn function(mut replicas: Vec<Replica>) -> Function {
    let newest = |wanted: bool| {
        replicas
            .iter()
            .filter(|replica| replica.wanted || !wanted)
            .map(|replica| replica.revision)
            .max()
    };
    let current = newest(true).or_else(|| newest(false));
    let (mut replicas, leftovers): (Vec<_>, Vec<_>) = replicas
        .drain(..)
        .partition(|replica| Some(replica.revision) == current);
    replicas.sort_by_key(|replica| replica.index);
    let annotations = replicas
        .first()
        .and_then(|it| it.deployment.annotations.clone());
    Function {
        annotations: Arc::new(annotations.unwrap_or_default()),
        replicas,
        leftovers: leftovers
            .into_iter()
            .map(|replica| replica.container)
            .collect(),
    }
}

/// A step towards a number of replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Start a container that is there.
    Start(String),
    /// Make a replica of this index and start it.
    Create(u32),
    /// Stop a container and keep it.
    Stop(String),
    /// Remove a container.
    Remove(String),
}

/// What leads from the replicas that there are to as many as there are to be.
/// The first container always stays: it is what the function is kept in.
pub(super) fn steps(replicas: &[Replica], target: u32) -> Vec<Step> {
    let target = usize::try_from(target).unwrap_or(usize::MAX);
    let mut steps = Vec::new();
    for (position, replica) in replicas.iter().enumerate() {
        let container = replica.container.clone();
        match (position < target, replica.wanted) {
            (true, true) => {}
            (true, false) => steps.push(Step::Start(container)),
            (false, true) if position == 0 => steps.push(Step::Stop(container)),
            (false, false) if position == 0 => {}
            (false, _) => steps.push(Step::Remove(container)),
        }
    }
    let taken = |index: u32| replicas.iter().any(|replica| replica.index == index);
    let missing = target.saturating_sub(replicas.len());
    steps.extend(
        (0..)
            .filter(|index| !taken(*index))
            .take(missing)
            .map(Step::Create),
    );
    steps
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::model::FunctionDeployment;

    fn replica(index: u32, revision: u64, wanted: bool) -> Replica {
        Replica {
            container: format!("c{index}r{revision}"),
            function: FunctionId::new("f", "fn"),
            index,
            revision,
            deployment: FunctionDeployment {
                service: "f".to_owned(),
                image: format!("image:{revision}"),
                ..FunctionDeployment::default()
            },
            created: 0,
            wanted,
            endpoint: wanted.then(|| SocketAddr::from(([172, 18, 0, 2], 8080))),
        }
    }

    fn containers(function: &Function) -> Vec<&str> {
        function
            .replicas()
            .iter()
            .map(|replica| replica.container.as_str())
            .collect()
    }

    #[test]
    fn the_newest_revision_that_runs_is_current() {
        let updating = function(vec![replica(0, 1, true), replica(0, 2, false)]);
        assert_eq!(containers(&updating), ["c0r1"]);
        assert_eq!(updating.leftovers(), ["c0r2"]);

        let updated = function(vec![replica(0, 1, true), replica(0, 2, true)]);
        assert_eq!(containers(&updated), ["c0r2"]);
        assert_eq!(updated.leftovers(), ["c0r1"]);

        let idle = function(vec![replica(0, 1, false), replica(0, 2, false)]);
        assert_eq!(containers(&idle), ["c0r2"]);
    }

    #[test]
    fn status_counts_the_current_revision() {
        let function = function(vec![
            replica(1, 2, false),
            replica(0, 2, true),
            replica(0, 1, true),
        ]);
        let status = function.status();
        assert_eq!((status.replicas, status.available_replicas), (1, 1));
        assert_eq!(status.image, "image:2");
        assert_eq!(status.created_at, "1970-01-01T00:00:00Z");
        assert_eq!(function.containers().count(), 3);
    }

    #[test]
    fn scaling_keeps_the_first_container_and_reuses_what_is_there() {
        let (stop, remove) = (
            |c: &str| Step::Stop(c.into()),
            |c: &str| Step::Remove(c.into()),
        );
        let start = |c: &str| Step::Start(c.into());
        let one = [replica(0, 1, true)];
        let idle = [replica(0, 1, false)];
        let three = [
            replica(0, 1, true),
            replica(1, 1, true),
            replica(2, 1, true),
        ];
        let hole = [replica(0, 1, true), replica(2, 1, false)];
        for (replicas, target, expected) in [
            (&one[..], 1, vec![]),
            (&one, 0, vec![stop("c0r1")]),
            (&one, 3, vec![Step::Create(1), Step::Create(2)]),
            (&idle, 0, vec![]),
            (&idle, 1, vec![start("c0r1")]),
            (&idle, 2, vec![start("c0r1"), Step::Create(1)]),
            (&three, 1, vec![remove("c1r1"), remove("c2r1")]),
            (
                &three,
                0,
                vec![stop("c0r1"), remove("c1r1"), remove("c2r1")],
            ),
            (&hole, 1, vec![remove("c2r1")]),
            (&hole, 3, vec![start("c2r1"), Step::Create(1)]),
        ] {
            assert_eq!(
                steps(replicas, target),
                expected,
                "{} -> {target}",
                replicas.len()
            );
        }
    }
}
