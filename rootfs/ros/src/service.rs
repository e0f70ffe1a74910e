//! `ros service`: list, ps, start, stop, restart.

use anyhow::Result;
use rubus_service::Kind;
use rubus_service::status::{State, Status};

use crate::api::{self, Action};
use crate::cli::{Listing, Names};
use crate::client::Client;
use crate::host;
use crate::output::{self, Output};
use crate::table::{Align, Cell, Paint, Style, Table};
use crate::text;

/// `ros service list`
pub(crate) fn list(client: &Client, listing: Listing, output: Output) -> Result<()> {
    let services = client.services()?;
    if listing.json {
        return output.json(&services);
    }
    Ok(output.text(&all(&services, output.style()))?)
}

/// `ros service ps`
pub(crate) fn ps(client: &Client, listing: Listing, output: Output) -> Result<()> {
    let mut services = client.services()?;
    // One that keeps failing is what people look for here.
    services.retain(|service| api::runs(service.state) || service.state == State::Backoff);
    if listing.json {
        return output.json(&services);
    }
    Ok(output.text(&running(&services, host::now_us(), output.style()))?)
}

/// `ros service start`, `stop` and `restart`: one service after the other, up
/// to the first that fails.
pub(crate) fn act(client: &Client, names: &Names, action: Action, output: Output) -> Result<()> {
    for name in &names.names {
        // It may take a while; a script wants the outcome only.
        if output.is_terminal() {
            output::complain(&format!("{} {}", progress(action), text::printable(name)));
        }
        let service = client.act(name, action)?;
        output.line(&outcome(&service))?;
    }
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

fn all(services: &[Status], style: Style) -> String {
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("STATE", Align::Left),
        ("ENABLED", Align::Left),
        ("KIND", Align::Left),
        ("DESCRIPTION", Align::Left),
    ]);
    for service in services {
        table.row(vec![
            service.name.as_str().into(),
            Cell::painted(service.state.word(), paint(service.state)),
            if service.enabled { "yes" } else { "no" }.into(),
            match service.kind {
                Kind::Daemon => "daemon",
                Kind::Oneshot => "oneshot",
            }
            .into(),
            service.description.as_str().into(),
        ]);
    }
    table.render(style) + &reasons(services)
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
    table.render(style) + &reasons(services)
}

/// Why services are as they are, and what else there is to know of them, below
/// a table: a reason is a sentence, too
/// long for a column and too good to cut.
fn reasons(services: &[Status]) -> String {
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
            all(&[docker(), udev()], Style::default()),
            "\
NAME      STATE  ENABLED  KIND     DESCRIPTION
docker    ready  yes      daemon   Docker engine
coldplug  done   yes      oneshot  Names devices
"
        );
    }

    #[test]
    fn a_reason_is_told_below_the_table_in_full() {
        assert_eq!(
            all(&[docker(), gateway()], Style::default()),
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
        let text = all(&[docker(), gateway()], style);
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
