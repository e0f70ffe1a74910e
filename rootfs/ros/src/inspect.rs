//! `ros service inspect`

use std::fmt::Display;

use anyhow::Result;
use rubus_service::definition::{Kill, Namespace};
use rubus_service::status::{State, Status};
use rubus_service::{Health, Kind, Limits, Network, Probe, Restart, Root, Service};
use serde::Serialize;

use crate::cli::Inspect;
use crate::client::Client;
use crate::host;
use crate::output::Output;
use crate::text;

/// What there is to know of a service.
#[derive(Debug, Serialize)]
struct Report {
    status: Status,
    definition: Service,
    /// Services that have to be ready before it starts, and their states.
    waits_for: Vec<Other>,
    /// Services that wait for it.
    needed_by: Vec<String>,
}

/// Another service.
#[derive(Debug, Serialize)]
struct Other {
    name: String,
    /// None when there is no such service.
    state: Option<State>,
}

/// `ros service inspect`
pub(crate) fn run(client: &Client, options: &Inspect, output: Output) -> Result<()> {
    let status = client.service(&options.name)?;
    let definition = client.definition(&options.name)?;
    let all = client.services()?;
    let waits_for = definition.after.iter().map(|name| Other {
        name: name.clone(),
        state: all.iter().find(|it| it.name == *name).map(|it| it.state),
    });
    let waits_for = waits_for.collect();
    let mut needed_by = Vec::new();
    for other in all.iter().filter(|it| it.name != options.name) {
        if client
            .definition(&other.name)?
            .after
            .contains(&options.name)
        {
            needed_by.push(other.name.clone());
        }
    }
    let report = Report {
        status,
        definition,
        waits_for,
        needed_by,
    };
    if options.json {
        return output.json(&report);
    }
    Ok(output.text(&render(&report, host::now_us()))?)
}

/// A fact a line; several values have a line each.
fn render(report: &Report, now_us: u64) -> String {
    let mut out = String::new();
    for (name, values) in state(report, now_us)
        .into_iter()
        .chain(runs(&report.definition))
        .chain(may(&report.definition))
    {
        let mut name = name;
        for value in values {
            let line = format!("{name:<13}{}", text::printable(&value));
            out += line.trim_end();
            out.push('\n');
            name = "";
        }
    }
    out
}

/// A name, and what there is of it: nothing is not shown.
type Fact = (&'static str, Vec<String>);

fn one(name: &'static str, value: impl Display) -> Fact {
    (name, vec![value.to_string()])
}

fn some<T: Display>(name: &'static str, value: Option<T>) -> Fact {
    (name, value.iter().map(ToString::to_string).collect())
}

/// How it is.
fn state(report: &Report, now_us: u64) -> Vec<Fact> {
    let status = &report.status;
    let mut state = status.state.word().to_owned();
    if let Some(started) = status.started_us.filter(|_| status.pid.is_some()) {
        let up = now_us.saturating_sub(started) / 1_000_000;
        state += &format!(", since {}", text::period(up));
    }
    if !status.reason.is_empty() {
        state += &format!(": {}", status.reason);
    }
    let limit = report.definition.limits.memory;
    let memory = status.memory.map(|used| match limit {
        Some(limit) => format!("{} of {}", text::bytes(used), text::bytes(limit.0)),
        None => text::bytes(used),
    });
    let waits_for = report.waits_for.iter().map(|it| match it.state {
        Some(state) => format!("{} ({})", it.name, state.word()),
        None => format!("{} (does not exist)", it.name),
    });
    vec![
        one("Name", &status.name),
        one("Is", &status.description),
        one("State", state),
        one("Enabled", if status.enabled { "yes" } else { "no" }),
        some("Process", status.pid),
        some("Memory", memory),
        one("Restarts", status.restarts),
        some("Last exit", status.exit),
        ("Waits for", waits_for.collect()),
        ("Needed by", report.needed_by.clone()),
    ]
}

/// What it runs, and when.
fn runs(service: &Service) -> Vec<Fact> {
    let from = match (&service.image, &service.krate) {
        (Some(image), _) => image.clone(),
        (None, krate) => {
            let parts = krate.iter().chain(&service.packages);
            parts.map(String::as_str).collect::<Vec<_>>().join(", ")
        }
    };
    let restart = match (service.kind, service.restart) {
        (Kind::Oneshot, _) => "runs to its end",
        (_, Restart::Always) => "always",
        (_, Restart::OnFailure) => "when it fails",
        (_, Restart::Never) => "never",
    };
    let stop = format!(
        "{}, killed after {}{}",
        service.stop_signal,
        service.stop_timeout,
        match service.kill {
            Kill::All => "",
            Kill::Main => ", its children live on",
        }
    );
    vec![
        some("Variant", service.variant.as_ref()),
        one("Made of", from),
        one("Command", service.command.join(" ")),
        one("User", service.user()),
        one("Restart", restart),
        one("Stop", stop),
        some("Health", service.health.as_ref().map(health)),
        ("Settings", service.settings.clone()),
        some("Reload", service.reload_signal.as_ref()),
    ]
}

fn health(health: &Health) -> String {
    let probe = match &health.probe {
        Probe::Exec(command) => command.join(" "),
        Probe::Http(address) => address.clone(),
        Probe::Tcp(port) => format!("port {port}"),
    };
    format!(
        "{probe} every {}, within {}, {} failures count",
        health.interval, health.timeout, health.retries
    )
}

/// What it may use, see and do.
fn may(service: &Service) -> Vec<Fact> {
    let network = match service.network {
        Network::Host => "the node's",
        Network::None => "none",
    };
    let root = match service.root {
        Root::ReadOnly => "read-only",
        Root::Volatile => "writable, gone at its stop",
        Root::Kept => "writable, kept",
    };
    let processes = match service.pid {
        Namespace::Host => "sees those of the node",
        Namespace::Private => "sees its own",
    };
    let capabilities = if service.privileged {
        vec!["all: privileged".to_owned()]
    } else {
        service.capabilities.clone()
    };
    vec![
        ("Limits", limits(&service.limits)),
        one("Network", network),
        one("Processes", processes),
        one("Root", root),
        ("Capabilities", capabilities),
        ("Devices", service.devices.clone()),
        ("Mounts", service.mounts.clone()),
        ("In memory", service.tmpfs.clone()),
    ]
}

fn limits(limits: &Limits) -> Vec<String> {
    let all = [
        limits.memory.map(|it| format!("memory {it}")),
        limits.pids.map(|it| format!("{it} processes")),
        limits.cpu_weight.map(|it| format!("processor weight {it}")),
        limits.open_files.map(|it| format!("{it} open files")),
    ];
    all.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::service;
    use rubus_service::status::Exit;

    const NTP: &str = r#"
description = "Network time"
kind = "daemon"
packages = ["chrony"]
crate = "ntp"
command = ["/usr/bin/ntp", "-d"]
user = "_chrony"
after = ["network", "gone"]
restart = "always"
network = "host"
capabilities = ["CAP_SYS_TIME"]
mounts = ["/var/lib/rubus/ntp:/var/lib/chrony:rw"]
settings = ["ntp"]
reload_signal = "SIGHUP"
[health]
tcp = 323
[limits]
memory = "32M"
pids = 8
"#;

    fn report() -> Report {
        Report {
            status: Status {
                description: "Network time".to_owned(),
                pid: Some(99),
                started_us: Some(3_000_000),
                restarts: 1,
                exit: Some(Exit::Signal(9)),
                memory: Some(1 << 20),
                ..service("ntp", State::Ready)
            },
            definition: Service::parse("ntp", "f", NTP).unwrap(),
            waits_for: vec![
                Other {
                    name: "network".to_owned(),
                    state: Some(State::Ready),
                },
                Other {
                    name: "gone".to_owned(),
                    state: None,
                },
            ],
            needed_by: Vec::new(),
        }
    }

    #[test]
    fn everything_is_told_and_nothing_that_is_not_there() {
        assert_eq!(
            render(&report(), 64_000_000),
            "\
Name         ntp
Is           Network time
State        ready, since 1 min 1 s
Enabled      yes
Process      99
Memory       1.0 MiB of 32.0 MiB
Restarts     1
Last exit    ended by SIGKILL
Waits for    network (ready)
             gone (does not exist)
Made of      ntp, chrony
Command      /usr/bin/ntp -d
User         _chrony
Restart      always
Stop         SIGTERM, killed after 10s
Health       port 323 every 10s, within 10s, 3 failures count
Settings     ntp
Reload       SIGHUP
Limits       memory 32M
             8 processes
Network      the node's
Processes    sees its own
Root         read-only
Capabilities CAP_SYS_TIME
Mounts       /var/lib/rubus/ntp:/var/lib/chrony:rw
"
        );
    }

    #[test]
    fn json_has_the_definition_in_its_own_words() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["definition"]["limits"]["memory"], "32M");
        assert_eq!(json["status"]["state"], "ready");
        assert_eq!(json["waits_for"][1]["state"], serde_json::Value::Null);
    }
}
