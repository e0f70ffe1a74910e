//! `ros service`.

use std::path::Path;

use rubus_service::{
    Kind,
    status::{State, Status},
};

use crate::{
    cli::ServiceCommand,
    client, enter, logs, node,
    table::{Cell, Table, plain},
    terminal::{self, Style},
};

pub(crate) fn run(run: &Path, command: ServiceCommand) -> anyhow::Result<()> {
    match command {
        ServiceCommand::List(output) => list(run, output.json),
        ServiceCommand::Ps(output) => ps(run, output.json),
        ServiceCommand::Start(names) => change(run, "start", &names.names),
        ServiceCommand::Stop(names) => change(run, "stop", &names.names),
        ServiceCommand::Restart(names) => change(run, "restart", &names.names),
        ServiceCommand::Logs(options) => logs::show(run, &options),
        ServiceCommand::Exec { name, command } => {
            // The runtime names a service that does not exist better.
            let _: Status = client::get(run, &format!("/v1/services/{name}"))?;
            enter::exec(run, &name, &command)
        }
    }
}

/// `ros ps`: what runs or should.
pub(crate) fn ps(run: &Path, json: bool) -> anyhow::Result<()> {
    let mut all: Vec<Status> = client::get(run, "/v1/services")?;
    all.retain(|it| !matches!(it.state, State::Stopped | State::Done));
    if json {
        return terminal::print_json(&all);
    }
    terminal::print(&ps_table(&all, node::uptime_micros()).render(terminal::colours()))
}

fn list(run: &Path, json: bool) -> anyhow::Result<()> {
    let all: Vec<Status> = client::get(run, "/v1/services")?;
    if json {
        return terminal::print_json(&all);
    }
    let mut table = Table::new(&["NAME", "ENABLED", "KIND", "STATE", "DESCRIPTION"]);
    for it in &all {
        let kind = match it.kind {
            Kind::Daemon => "daemon",
            Kind::Oneshot => "oneshot",
        };
        table.row(vec![
            plain(&it.name),
            plain(if it.enabled { "yes" } else { "no" }),
            plain(kind),
            state_cell(it.state),
            plain(&it.description),
        ]);
    }
    terminal::print(&table.render(terminal::colours()))
}

fn ps_table(all: &[Status], now: u64) -> Table {
    let mut table = Table::new(&[
        "NAME", "STATE", "SINCE", "PID", "MEMORY", "RESTARTS", "REASON",
    ]);
    for it in all {
        let since = it.ready_us.or(it.started_us);
        table.row(vec![
            plain(&it.name),
            state_cell(it.state),
            plain(since.map_or_else(String::new, |at| terminal::duration(now.saturating_sub(at)))),
            plain(it.pid.map_or_else(String::new, |pid| pid.to_string())),
            plain(it.memory.map_or_else(String::new, terminal::bytes)),
            plain(it.restarts.to_string()),
            plain(terminal::harmless(&it.reason)),
        ]);
    }
    table
}

/// The state in the colour of how good it is.
pub(crate) fn state_cell(state: State) -> Cell {
    let style = match state {
        State::Ready | State::Done => Style::Good,
        State::Waiting | State::Starting | State::Running | State::Stopping => Style::Warning,
        State::Unhealthy | State::Backoff | State::Failed => Style::Bad,
        State::Stopped => Style::Dim,
    };
    (state.word().to_owned(), style)
}

fn change(run: &Path, verb: &str, names: &[String]) -> anyhow::Result<()> {
    for name in names {
        let status: Status = client::post(run, &format!("/v1/services/{name}/{verb}"), "")?;
        terminal::print(&format!("{name} is {}\n", status.state.word()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_tells_what_a_person_wants_to_know() {
        let status = Status {
            name: "ntp".to_owned(),
            description: "time".to_owned(),
            kind: Kind::Daemon,
            enabled: true,
            state: State::Ready,
            pid: Some(312),
            started_us: Some(1_000_000),
            ready_us: Some(2_000_000),
            restarts: 0,
            exit: None,
            memory: Some(3 << 20),
            reason: String::new(),
        };
        let mut waits = status.clone();
        "docker".clone_into(&mut waits.name);
        (waits.state, waits.pid, waits.memory) = (State::Waiting, None, None);
        (waits.started_us, waits.ready_us) = (None, None);
        "waits for network".clone_into(&mut waits.reason);
        assert_eq!(
            ps_table(&[status, waits], 63_000_000).render(false),
            "NAME    STATE    SINCE   PID  MEMORY   RESTARTS  REASON\n\
             ntp     ready    1m 01s  312  3.0 MiB  0\n\
             docker  waiting                        0         waits for network\n"
        );
    }
}
