//! How a project is, from what the engine says of its containers.

use std::collections::BTreeSet;

use rubus_compose::Project;
use rubus_service::Kind;
use rubus_service::status::{State, Status};

use crate::engine::Listed;

/// The state of a project in the words that services have. One that has
/// containers is enabled: the engine starts them at boot.
pub(crate) fn of(project: &Project, containers: &[Listed]) -> Status {
    let states: Vec<State> = containers.iter().map(state).collect();
    let any = |state| states.contains(&state);
    let all = |state| states.iter().all(|it| *it == state);
    let missing = project.services.len().saturating_sub(containers.len());
    let state = if states.is_empty() || all(State::Stopped) {
        State::Stopped
    } else if any(State::Backoff) {
        State::Backoff
    } else if any(State::Unhealthy) {
        State::Unhealthy
    } else if any(State::Failed) || missing > 0 {
        State::Failed
    } else if any(State::Starting) {
        State::Starting
    } else if all(State::Done) {
        State::Done
    } else {
        State::Ready
    };
    Status {
        name: project.name.clone(),
        description: project.description.clone().unwrap_or_else(|| {
            let images = project.services.values().map(|it| it.image.as_str());
            Vec::from_iter(BTreeSet::from_iter(images)).join(", ")
        }),
        kind: Kind::Daemon,
        enabled: !containers.is_empty(),
        state,
        pid: None,
        started_us: None,
        ready_us: None,
        restarts: 0,
        exit: None,
        memory: None,
        reason: reason(state, containers, missing),
        notice: String::new(),
        variant: None,
        added: false,
    }
}

fn state(container: &Listed) -> State {
    match container.state.as_str() {
        "running" if container.status.contains("(unhealthy)") => State::Unhealthy,
        "running" if container.status.contains("(health: starting)") => State::Starting,
        "running" => State::Ready,
        "restarting" => State::Backoff,
        "exited" if container.status.starts_with("Exited (0)") => State::Done,
        // 137 and 143: somebody stopped it.
        "exited"
            if ["Exited (137)", "Exited (143)"]
                .iter()
                .any(|it| container.status.starts_with(it)) =>
        {
            State::Stopped
        }
        "exited" | "dead" => State::Failed,
        _ => State::Stopped,
    }
}

/// What is not as it should be, by container.
fn reason(state: State, containers: &[Listed], missing: usize) -> String {
    if matches!(state, State::Ready | State::Done | State::Stopped) {
        return String::new();
    }
    let odd = containers
        .iter()
        .filter(|it| !matches!(self::state(it), State::Ready | State::Done));
    let mut reasons: Vec<String> = odd
        .map(|it| format!("{}: {}", name(it), it.status))
        .collect();
    match missing {
        0 => {}
        1 => reasons.push("one container is missing; enable it again".to_owned()),
        many => reasons.push(format!("{many} containers are missing; enable it again")),
    }
    reasons.join("; ")
}

/// The name of a container, which the engine writes with a slash.
pub(crate) fn name(container: &Listed) -> &str {
    let name = container.names.first().map_or("", String::as_str);
    name.trim_start_matches('/')
}

#[cfg(test)]
mod tests {
    use rubus_compose::Name;

    use super::*;

    fn listed(state: &str, status: &str) -> Listed {
        Listed {
            id: "1".into(),
            names: vec!["/web-a-1".into()],
            state: state.into(),
            status: status.into(),
            labels: Default::default(),
        }
    }

    fn project(services: usize) -> Project {
        let services: String = (0..services)
            .map(|i| format!("s{i}: {{image: x{i}}}, "))
            .collect();
        Project::parse("f", Name::Is("web"), &format!("services: {{{services}}}")).unwrap()
    }

    #[test]
    fn the_worst_of_its_containers_is_what_a_project_is() {
        for (containers, expected) in [
            (vec![], State::Stopped),
            (vec![("running", "Up 5 minutes")], State::Ready),
            (
                vec![
                    ("running", "Up (healthy)"),
                    ("exited", "Exited (0) 2 seconds ago"),
                ],
                State::Ready,
            ),
            (vec![("exited", "Exited (0)")], State::Done),
            (vec![("exited", "Exited (137)")], State::Stopped),
            (vec![("created", "Created")], State::Stopped),
            (
                vec![("running", "Up"), ("exited", "Exited (1)")],
                State::Failed,
            ),
            (
                vec![("running", "Up 1 second (health: starting)")],
                State::Starting,
            ),
            (
                vec![("running", "Up (unhealthy)"), ("running", "Up")],
                State::Unhealthy,
            ),
            (
                vec![("restarting", "Restarting (1)"), ("running", "Up")],
                State::Backoff,
            ),
        ] {
            let containers: Vec<_> = containers.into_iter().map(|(a, b)| listed(a, b)).collect();
            let status = of(&project(containers.len().max(1)), &containers);
            assert_eq!(status.state, expected, "{containers:?}");
            assert_eq!(status.enabled, !containers.is_empty());
        }
    }

    #[test]
    fn the_reason_names_the_container() {
        let status = of(&project(1), &[listed("exited", "Exited (1) 5 seconds ago")]);
        assert_eq!(status.reason, "web-a-1: Exited (1) 5 seconds ago");
        let status = of(&project(3), &[listed("running", "Up")]);
        assert_eq!(status.reason, "2 containers are missing; enable it again");
        assert_eq!(status.description, "x0, x1, x2");
    }
}
