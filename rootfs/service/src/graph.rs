//! In which order services start and stop.

use std::collections::{BTreeMap, BTreeSet};

use crate::suggest;

/// Which service waits for which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    /// Every service, each after those that it waits for; by name where there
    /// is a choice.
    order: Vec<String>,
    /// The services that wait for a service.
    dependents: BTreeMap<String, Vec<String>>,
}

/// What makes an order impossible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// A service waits for one that does not exist.
    #[error("service {service}: `after` names \"{dependency}\", which does not exist{hint}")]
    Unknown {
        /// The service that waits.
        service: String,
        /// What it waits for.
        dependency: String,
        /// A suggestion, or empty.
        hint: String,
    },
    /// Services wait for each other.
    #[error("services wait for each other: {}; remove one of these from `after`", .0.join(" -> "))]
    Cycle(Vec<String>),
}

impl Graph {
    /// Orders services, each given by its name and its `after`.
    pub fn new<'a, A>(services: impl IntoIterator<Item = (&'a str, A)>) -> Result<Graph, GraphError>
    where
        A: IntoIterator<Item = &'a str>,
    {
        let after: BTreeMap<&str, BTreeSet<&str>> = services
            .into_iter()
            .map(|(name, after)| (name, after.into_iter().collect()))
            .collect();
        let mut dependents: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (&name, dependencies) in &after {
            for &dependency in dependencies {
                if !after.contains_key(dependency) {
                    return Err(GraphError::Unknown {
                        service: name.to_owned(),
                        dependency: dependency.to_owned(),
                        hint: suggest::hint(dependency, after.keys().copied()),
                    });
                }
                dependents
                    .entry(dependency.to_owned())
                    .or_default()
                    .push(name.to_owned());
            }
        }
        let mut order: Vec<String> = Vec::new();
        let mut placed = BTreeSet::new();
        while placed.len() < after.len() {
            let next = after
                .iter()
                .find(|(name, deps)| !placed.contains(*name) && deps.is_subset(&placed));
            let Some((&name, _)) = next else {
                return Err(GraphError::Cycle(cycle(&after, &placed)));
            };
            placed.insert(name);
            order.push(name.to_owned());
        }
        Ok(Graph { order, dependents })
    }

    /// Every service, each after those that it waits for.
    pub fn start_order(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(String::as_str)
    }

    /// Every service, each after those that wait for it.
    pub fn stop_order(&self) -> impl Iterator<Item = &str> {
        self.order.iter().rev().map(String::as_str)
    }

    /// The services that wait for one, by name.
    pub fn dependents<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.dependents
            .get(name)
            .into_iter()
            .flatten()
            .map(String::as_str)
    }
}

/// Whether a service can be added to others, each given by its name and its
/// `after`: what it waits for exists, and none of that waits for it. What else
/// is wrong among the others does not matter.
///
/// # Errors
/// When it cannot.
pub fn fits(
    name: &str,
    after: &[String],
    others: &BTreeMap<String, Vec<String>>,
) -> Result<(), GraphError> {
    if let Some(unknown) = after.iter().find(|it| !others.contains_key(*it)) {
        return Err(GraphError::Unknown {
            service: name.to_owned(),
            dependency: unknown.clone(),
            hint: suggest::hint(unknown, others.keys().map(String::as_str)),
        });
    }
    let mut paths: Vec<Vec<&str>> = after.iter().map(|it| vec![name, it.as_str()]).collect();
    let mut seen = BTreeSet::new();
    while let Some(path) = paths.pop() {
        let last = path.last().copied().unwrap_or_default();
        if last == name {
            return Err(GraphError::Cycle(
                path.into_iter().map(str::to_owned).collect(),
            ));
        }
        if seen.insert(last) {
            let further = others.get(last).into_iter().flatten();
            paths.extend(further.map(|it| [path.clone(), vec![it.as_str()]].concat()));
        }
    }
    Ok(())
}

/// A cycle among services of which none can be placed: each of them waits for
/// another of them, so following that leads in a circle.
fn cycle(after: &BTreeMap<&str, BTreeSet<&str>>, placed: &BTreeSet<&str>) -> Vec<String> {
    let mut path: Vec<&str> = Vec::new();
    let mut current = after.keys().copied().find(|name| !placed.contains(name));
    while let Some(name) = current {
        if let Some(start) = path.iter().position(|&it| it == name) {
            path.push(name);
            return path[start..].iter().map(|&it| it.to_owned()).collect();
        }
        path.push(name);
        current = after[name].iter().copied().find(|it| !placed.contains(it));
    }
    path.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(services: &[(&'static str, &[&'static str])]) -> Result<Graph, GraphError> {
        Graph::new(services.iter().map(|&(n, a)| (n, a.iter().copied())))
    }

    #[test]
    fn each_starts_after_what_it_waits_for_and_stops_before() {
        let graph = graph(&[
            ("gateway", &["docker"]),
            ("docker", &["network", "udev"]),
            ("console", &[]),
            ("network", &["udev"]),
            ("udev", &[]),
        ])
        .unwrap();
        let order: Vec<&str> = graph.start_order().collect();
        assert_eq!(order, ["console", "udev", "network", "docker", "gateway"]);
        let stop: Vec<&str> = graph.stop_order().collect();
        assert_eq!(stop, ["gateway", "docker", "network", "udev", "console"]);
        let dependents: Vec<&str> = graph.dependents("udev").collect();
        assert_eq!(dependents, ["docker", "network"]);
        assert_eq!(graph.dependents("console").count(), 0);
    }

    #[test]
    fn the_order_does_not_depend_on_the_order_of_the_input() {
        let one = graph(&[("a", &[]), ("b", &["a"]), ("c", &[])]).unwrap();
        let other = graph(&[("c", &[]), ("b", &["a"]), ("a", &[])]).unwrap();
        assert_eq!(one, other);
    }

    #[test]
    fn a_cycle_is_named_without_those_that_only_lead_to_it() {
        let error = graph(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &[])]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "services wait for each other: b -> c -> b; remove one of these from `after`"
        );
        assert_eq!(
            graph(&[("a", &["a"])]).unwrap_err(),
            GraphError::Cycle(vec!["a".into(), "a".into()])
        );
    }

    #[test]
    fn an_unknown_dependency_is_named_with_a_suggestion() {
        let error = graph(&[("a", &["netwrok"]), ("network", &[])]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "service a: `after` names \"netwrok\", which does not exist; did you mean `network`?"
        );
    }

    #[test]
    fn one_that_is_added_finds_what_it_waits_for_and_closes_no_circle() {
        let list =
            |names: &[&str]| -> Vec<String> { names.iter().map(|it| (*it).into()).collect() };
        let others: BTreeMap<String, Vec<String>> = [
            ("network", list(&[])),
            ("docker", list(&["network"])),
            ("mine", list(&["docker"])),
            // What was there before and is no good does not matter.
            ("orphan", list(&["gone"])),
            ("x", list(&["y"])),
            ("y", list(&["x"])),
        ]
        .map(|(name, after)| (name.to_owned(), after))
        .into();
        let fits = |name: &str, after: &[&str]| {
            super::fits(name, &list(after), &others).map_err(|error| error.to_string())
        };
        assert_eq!(fits("web", &["docker", "orphan", "x"]), Ok(()));
        assert_eq!(fits("mine", &["network"]), Ok(()), "in its own place");
        assert_eq!(
            fits("web", &["dcoker"]).unwrap_err(),
            "service web: `after` names \"dcoker\", which does not exist; did you mean `docker`?"
        );
        assert_eq!(
            fits("docker", &["mine"]).unwrap_err(),
            "services wait for each other: docker -> mine -> docker; remove one of these from `after`"
        );
        assert_eq!(
            fits("network", &["mine"]).unwrap_err(),
            "services wait for each other: network -> mine -> docker -> network; remove one of these from `after`"
        );
    }
}
