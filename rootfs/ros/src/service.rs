//! What services are like: the lists of `ros service`, and what came of an action.

use anyhow::Result;
use rubus_service::Kind;
use rubus_service::status::{State, Status};
use serde::Serialize;

use crate::api::{self, Action};
use crate::cli::Listing;
use crate::client::Client;
use crate::host;
use crate::output::{self, Output};
use crate::table::{Align, Cell, Paint, Style, Table};
use crate::text;

/// The kind of services that the engine runs.
const COMPOSE: &str = "compose";

/// Services of the image, and those of compose files.
pub(crate) struct All {
    pub(crate) system: Vec<Status>,
    pub(crate) compose: Vec<Status>,
}

/// A service as programs get it: the kind tells who runs it.
#[derive(Serialize)]
#[serde(untagged)]
enum Row<'a> {
    System(&'a Status),
    Compose {
        name: &'a str,
        description: &'a str,
        kind: &'static str,
        enabled: bool,
        state: State,
        reason: &'a str,
    },
}

impl All {
    /// `ros service list`
    pub(crate) fn list(&self, listing: Listing, output: Output) -> Result<()> {
        if listing.json {
            return output.json(&self.rows());
        }
        Ok(output.text(&all(&self.system, &self.compose, output.style()))?)
    }

    /// `ros service ps`
    pub(crate) fn ps(mut self, listing: Listing, output: Output) -> Result<()> {
        // One that keeps failing is what people look for here.
        let runs = |it: &Status| api::runs(it.state) || it.state == State::Backoff;
        self.system.retain(runs);
        self.compose
            .retain(|it| runs(it) || it.state == State::Failed);
        if listing.json {
            return output.json(&self.rows());
        }
        let services = [self.system, self.compose].concat();
        Ok(output.text(&running(&services, host::now_us(), output.style()))?)
    }

    /// What programs get.
    fn rows(&self) -> Vec<Row<'_>> {
        let system = self.system.iter().map(Row::System);
        let compose = self.compose.iter().map(|status| Row::Compose {
            name: &status.name,
            description: &status.description,
            kind: COMPOSE,
            enabled: status.enabled,
            state: status.state,
            reason: &status.reason,
        });
        system.chain(compose).collect()
    }
}

/// `ros service start`, `stop` and `restart` of a service of the image.
pub(crate) fn act(client: &Client, name: &str, action: Action, output: Output) -> Result<()> {
    // It may take a while; a script wants the outcome only.
    if output.is_terminal() {
        output::complain(&format!("{} {}", progress(action), text::printable(name)));
    }
    let service = client.act(name, action)?;
    output.line(&outcome(&service))?;
    Ok(())
}

/// What goes on during an action.
const fn progress(action: Action) -> &'static str {
    match action {
        Action::Start => "starting",
        Action::Stop => "stopping",
        Action::Restart => "restarting",
        Action::Reload => "reloading",
    }
}

/// How a state is coloured.
pub(crate) const fn paint(state: State) -> Paint {
    match state {
        State::Ready | State::Done => Paint::Good,
        State::Waiting | State::Starting | State::Running | State::Stopping => Paint::Busy,
        State::Unhealthy | State::Backoff | State::Failed => Paint::Bad,
        State::Stopped => Paint::Plain,
    }
}

fn all(system: &[Status], compose: &[Status], style: Style) -> String {
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("STATE", Align::Left),
        ("ENABLED", Align::Left),
        ("KIND", Align::Left),
        ("DESCRIPTION", Align::Left),
    ]);
    let kind = |service: &Status| match service.kind {
        Kind::Daemon => "daemon",
        Kind::Oneshot => "oneshot",
    };
    let system = system.iter().map(|service| (service, kind(service)));
    let services = system.chain(compose.iter().map(|service| (service, COMPOSE)));
    for (service, kind) in services.clone() {
        table.row(vec![
            service.name.as_str().into(),
            Cell::painted(service.state.word(), paint(service.state)),
            if service.enabled { "yes" } else { "no" }.into(),
            kind.into(),
            service.description.as_str().into(),
        ]);
    }
    table.render(style) + &reasons(services.map(|(service, _)| service))
}

fn running(services: &[Status], now_us: u64, style: Style) -> String {
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("STATE", Align::Left),
        ("PID", Align::Right),
        ("UP", Align::Left),
        ("MEMORY", Align::Right),
        ("RESTARTS", Align::Right),
    ]);
    for service in services {
        let up = service
            .started_us
            .filter(|_| service.state != State::Backoff)
            .map(|started| text::period(now_us.saturating_sub(started) / 1_000_000));
        table.row(vec![
            service.name.as_str().into(),
            Cell::painted(service.state.word(), paint(service.state)),
            service
                .pid
                .map(|pid| pid.to_string())
                .unwrap_or_default()
                .into(),
            up.unwrap_or_default().into(),
            service.memory.map(text::bytes).unwrap_or_default().into(),
            service.restarts.to_string().into(),
        ]);
    }
    table.render(style) + &reasons(services.iter())
}

/// Why services are as they are, and what else there is to know of them, below
/// a table: a reason is a sentence, too long for a column and too good to cut.
fn reasons<'a>(services: impl Iterator<Item = &'a Status>) -> String {
    let mut out = String::new();
    for service in services {
        for line in [&service.reason, &service.notice] {
            if line.is_empty() {
                continue;
            }
            if out.is_empty() {
                out.push('\n');
            }
            let (name, line) = (text::printable(&service.name), text::printable(line));
            out += &format!("{name}: {line}\n");
        }
    }
    out
}

/// What an action led to.
fn outcome(service: &Status) -> String {
    let name = text::printable(&service.name);
    match service.state {
        State::Ready => match (service.started_us, service.ready_us) {
            (Some(started), Some(ready)) if ready >= started => {
                format!("{name} is ready after {}", text::seconds(ready - started))
            }
            _ => format!("{name} is ready"),
        },
        state if service.reason.is_empty() => format!("{name} is {}", state.word()),
        state => format!(
            "{name} is {}: {}",
            state.word(),
            text::printable(&service.reason)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::service;

    const SECOND: u64 = 1_000_000;

    fn docker() -> Status {
        Status {
            description: "Docker engine".into(),
            pid: Some(312),
            started_us: Some(3 * SECOND),
            ready_us: Some(10 * SECOND),
            memory: Some(93 << 20),
            ..service("docker", State::Ready)
        }
    }

    fn udev() -> Status {
        Status {
            kind: Kind::Oneshot,
            description: "Names devices".into(),
            ..service("coldplug", State::Done)
        }
    }

    fn gateway() -> Status {
        Status {
            enabled: false,
            restarts: 4,
            reason: "ended with status 3".into(),
            description: "Functions".into(),
            ..service("gateway", State::Failed)
        }
    }

    #[test]
    fn a_list_names_every_service() {
        assert_eq!(
            all(&[docker(), udev()], &[], Style::default()),
            "\
NAME      STATE  ENABLED  KIND     DESCRIPTION
docker    ready  yes      daemon   Docker engine
coldplug  done   yes      oneshot  Names devices
"
        );
    }

    #[test]
    fn services_of_compose_files_are_listed_with_the_others() {
        let web = Status {
            description: "nginx".into(),
            ..service("web", State::Ready)
        };
        assert_eq!(
            all(&[docker()], std::slice::from_ref(&web), Style::default()),
            "\
NAME    STATE  ENABLED  KIND     DESCRIPTION
docker  ready  yes      daemon   Docker engine
web     ready  yes      compose  nginx
"
        );
        let services = All {
            system: vec![docker()],
            compose: vec![web],
        };
        let text = serde_json::to_string(&services.rows()).unwrap();
        // Programs that search the text find the name first.
        assert!(text.starts_with(r#"[{"name":"docker","#), "{text}");
        assert!(text.contains(r#"{"name":"web","description":"nginx","kind":"compose","#));
    }

    #[test]
    fn a_reason_is_told_below_the_table_in_full() {
        assert_eq!(
            all(&[docker(), gateway()], &[], Style::default()),
            "\
NAME     STATE   ENABLED  KIND    DESCRIPTION
docker   ready   yes      daemon  Docker engine
gateway  failed  no       daemon  Functions

gateway: ended with status 3
"
        );
    }

    #[test]
    fn running_services_are_shown_with_what_they_use() {
        let mut starting = service("ntp", State::Starting);
        starting.restarts = 2;
        assert_eq!(
            running(&[docker(), starting], 128 * SECOND, Style::default()),
            "\
NAME    STATE     PID  UP           MEMORY  RESTARTS
docker  ready     312  2 min 5 s  93.0 MiB         0
ntp     starting                                   2
"
        );
    }

    #[test]
    fn one_that_starts_again_in_a_while_has_its_restarts_and_its_reason() {
        let again = Status {
            started_us: Some(100 * SECOND),
            restarts: 3,
            reason: "ended with status 3; starts again after 8 s".into(),
            ..service("ntp", State::Backoff)
        };
        assert_eq!(
            running(&[again], 128 * SECOND, Style::default()),
            "\
NAME  STATE    RESTARTS
ntp   backoff         3

ntp: ended with status 3; starts again after 8 s
"
        );
    }

    #[test]
    fn a_state_has_the_colour_of_its_news() {
        let style = Style {
            colour: true,
            width: None,
        };
        let text = all(&[docker(), gateway()], &[], style);
        assert!(text.contains("\x1b[32mready\x1b[0m"));
        assert!(text.contains("\x1b[31mfailed\x1b[0m"));
    }

    #[test]
    fn an_action_ends_with_what_came_of_it() {
        assert_eq!(outcome(&docker()), "docker is ready after 7.0 s");
        assert_eq!(outcome(&udev()), "coldplug is done");
        assert_eq!(
            outcome(&gateway()),
            "gateway is failed: ended with status 3"
        );
        let stopped = service("ntp", State::Stopped);
        assert_eq!(outcome(&stopped), "ntp is stopped");
    }
}
