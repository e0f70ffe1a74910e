//! `ros os version` and `ros os status`.

use std::process::ExitCode;

use anyhow::Result;
use rubus_config::image::ImageInfo;
use rubus_config::report::Report as Configuration;
use rubus_service::status::{State, Status};
use serde::Serialize;

use crate::api;
use crate::cli::{self, Listing};
use crate::client::Client;
use crate::host::{self, Disk, Host, Memory, Slot};
use crate::output::Output;
use crate::service::paint;
use crate::table::{Align, Cell, Style, Table};
use crate::text;
use crate::timings;

/// What `ros os version` reports.
#[derive(Debug, Serialize)]
struct Version {
    #[serde(flatten)]
    image: ImageInfo,
    slot: Option<Slot>,
}

/// What `ros os status` reports.
#[derive(Debug, Serialize)]
struct Report {
    image: ImageInfo,
    slot: Option<Slot>,
    kernel: String,
    uptime_s: u64,
    memory: Memory,
    data: Disk,
    /// What became of the configuration; none when that is not known.
    configuration: Option<Configuration>,
    /// Settings that are taken back unless they are confirmed.
    trial: Option<OnTrial>,
    /// None when the runtime does not tell.
    services: Option<Services>,
}

/// Settings on trial.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct OnTrial {
    keys: Vec<String>,
    seconds_left: u64,
}

/// How the services are.
#[derive(Debug, Serialize)]
struct Services {
    ready: usize,
    not_ready: Vec<NotReady>,
    /// What people should know of services, also of those that are well.
    notices: Vec<String>,
}

/// A service that should be ready and is not.
#[derive(Debug, Serialize)]
struct NotReady {
    name: String,
    state: State,
    reason: String,
}

/// `ros os version`
pub(crate) fn version(host: &Host, listing: Listing, output: Output) -> Result<()> {
    let version = Version {
        image: host.image()?,
        slot: host.slot(),
    };
    if listing.json {
        return output.json(&version);
    }
    Ok(output.text(&render_version(&version))?)
}

/// `ros os status`
pub(crate) fn status(
    client: &Client,
    host: &Host,
    options: cli::Status,
    output: Output,
) -> Result<ExitCode> {
    if options.timings {
        let boot = client.boot()?;
        if options.json {
            output.json(&boot)?;
        } else {
            output.text(&timings::render(&boot, output.style()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let services = client.services();
    let report = Report {
        image: host.image()?,
        slot: host.slot(),
        kernel: host::kernel(),
        uptime_s: host::now_us() / 1_000_000,
        memory: host.memory()?,
        data: host.data()?,
        configuration: host.configuration(),
        trial: host.trial().map(|trial| OnTrial {
            seconds_left: trial.seconds_left(host::now_us()),
            keys: trial.keys,
        }),
        services: services.as_deref().ok().map(sum_up),
    };
    if options.json {
        output.json(&report)?;
    } else {
        output.text(&render(&report, output.style()))?;
    }
    // The rest is worth knowing even when the runtime is away; that it is
    // away is a failure all the same.
    services?;
    let all_ready = report
        .services
        .is_some_and(|services| services.not_ready.is_empty());
    Ok(if options.check && !all_ready {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn sum_up(services: &[Status]) -> Services {
    Services {
        ready: services.iter().filter(|it| it.state.is_ready()).count(),
        not_ready: services
            .iter()
            .filter(|service| api::is_missing(service))
            .map(|service| NotReady {
                name: service.name.clone(),
                state: service.state,
                reason: service.reason.clone(),
            })
            .collect(),
        notices: services
            .iter()
            .filter(|service| !service.notice.is_empty())
            .map(|service| format!("{}: {}", service.name, service.notice))
            .collect(),
    }
}

fn title(image: &ImageInfo) -> String {
    format!(
        "Rubus {} for {}, build {}\n",
        image.version, image.board, image.build_id
    )
}

fn slot_name(slot: Option<Slot>) -> &'static str {
    match slot {
        Some(Slot::A) => "A",
        Some(Slot::B) => "B",
        None => "unknown",
    }
}

fn render_version(version: &Version) -> String {
    title(&version.image)
        + &format!(
            "Slot      {}\nKernel    {}\n",
            slot_name(version.slot),
            version.image.kernel
        )
}

fn render(report: &Report, style: Style) -> String {
    let mut out = title(&report.image);
    let Memory { total, used } = report.memory;
    let facts = [
        ("Slot", slot_name(report.slot).to_owned()),
        ("Kernel", report.kernel.clone()),
        ("Up", text::period(report.uptime_s)),
        (
            "Memory",
            format!("{} of {} used", text::bytes(used), text::bytes(total)),
        ),
        (
            "Data",
            format!(
                "{} of {} used, {} free",
                text::bytes(report.data.used),
                text::bytes(report.data.total),
                text::bytes(report.data.free)
            ),
        ),
        ("Services", services_line(report.services.as_ref())),
    ];
    for (name, value) in facts {
        out += &format!("{name:<10}{value}\n");
    }
    if let Some(trial) = &report.trial {
        out += &format!(
            "On trial  {}: taken back in {} s unless `ros config confirm` keeps it\n",
            text::printable(&trial.keys.join(", ")),
            trial.seconds_left
        );
    }
    let missing = report.services.iter().flat_map(|it| &it.not_ready);
    let mut table = Table::new(&[
        ("NOT READY", Align::Left),
        ("STATE", Align::Left),
        ("REASON", Align::Left),
    ]);
    for service in missing {
        table.row(vec![
            service.name.as_str().into(),
            Cell::painted(service.state.word(), paint(service.state)),
            service.reason.as_str().into(),
        ]);
    }
    if !table.is_empty() {
        out.push('\n');
        // A reason is not cut, however narrow the terminal.
        out += &table.render(Style {
            width: None,
            ..style
        });
    }
    let notices = report.services.iter().flat_map(|it| &it.notices);
    for (number, notice) in notices.enumerate() {
        if number == 0 {
            out += "\nABOUT THE SERVICES\n";
        }
        out += &format!("{}\n", text::printable(notice));
    }
    if let Some(configuration) = &report.configuration {
        out += &render_configuration(configuration);
    }
    out
}

/// What a person should know of the configuration; nothing when all of it
/// counts.
fn render_configuration(configuration: &Configuration) -> String {
    let parts = [
        ("LEFT OUT OF THE CONFIGURATION", &configuration.problems),
        (
            "NOT SUPPORTED IN THE FIRST-BOOT FILES",
            &configuration.unsupported,
        ),
        ("ABOUT THE FIRST-BOOT FILES", &configuration.notes),
    ];
    let mut out = String::new();
    for (title, lines) in parts.into_iter().filter(|(_, lines)| !lines.is_empty()) {
        out += &format!("\n{title}\n");
        for line in lines {
            out += &format!("{}\n", text::printable(line));
        }
    }
    out
}

fn services_line(services: Option<&Services>) -> String {
    match services {
        None => "unknown, system-runtime does not answer".to_owned(),
        Some(services) if services.not_ready.is_empty() => format!("{} ready", services.ready),
        Some(services) => format!(
            "{} ready, {} not ready",
            services.ready,
            services.not_ready.len()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::service;

    fn image() -> ImageInfo {
        ImageInfo {
            board: "rpi4".into(),
            version: "0.1.0".into(),
            build_id: "5f0c2a91".into(),
            timestamp: 1_760_000_000,
            kernel: "6.12.57".into(),
        }
    }

    fn report(services: &[Status]) -> Report {
        Report {
            image: image(),
            slot: Some(Slot::A),
            kernel: "6.12.57".into(),
            uptime_s: 11_520,
            memory: Memory {
                total: 950_009_856,
                used: 88_289_280,
            },
            data: Disk {
                total: 30 << 30,
                used: 1 << 30,
                free: 28 << 30,
            },
            configuration: Some(Configuration::default()),
            trial: None,
            services: Some(sum_up(services)),
        }
    }

    #[test]
    fn what_the_configuration_asks_for_in_vain_is_named() {
        let mut report = report(&[service("ntp", State::Ready)]);
        report.configuration = Some(Configuration {
            problems: vec!["config.toml is cut off".into()],
            unsupported: vec!["user-data: `locale`: no".into()],
            ..Configuration::default()
        });
        let text = render(&report, Style::default());
        assert!(
            text.ends_with(
                "\nLEFT OUT OF THE CONFIGURATION\nconfig.toml is cut off\n\
                 \nNOT SUPPORTED IN THE FIRST-BOOT FILES\nuser-data: `locale`: no\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_healthy_node_is_told_in_seven_lines() {
        let services = [
            service("ntp", State::Ready),
            service("coldplug", State::Done),
            Status {
                enabled: false,
                ..service("nats", State::Stopped)
            },
        ];
        assert_eq!(
            render(&report(&services), Style::default()),
            "\
Rubus 0.1.0 for rpi4, build 5f0c2a91
Slot      A
Kernel    6.12.57
Up        3 h 12 min
Memory    84.2 MiB of 906.0 MiB used
Data      1.0 GiB of 30.0 GiB used, 28.0 GiB free
Services  2 ready
"
        );
    }

    #[test]
    fn settings_on_trial_are_named_with_the_time_that_is_left() {
        let mut report = report(&[service("ntp", State::Ready)]);
        report.trial = Some(OnTrial {
            keys: vec!["ssh.port".into(), "hostname".into()],
            seconds_left: 14,
        });
        let text = render(&report, Style::default());
        assert!(
            text.ends_with(
                "\nOn trial  ssh.port, hostname: taken back in 14 s unless `ros config \
                 confirm` keeps it\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn what_is_not_ready_is_named_with_its_reason() {
        let services = [
            service("ntp", State::Ready),
            Status {
                reason: "its health check failed 3 times".into(),
                ..service("docker", State::Unhealthy)
            },
            service("gateway", State::Waiting),
        ];
        let text = render(&report(&services), Style::default());
        assert!(
            text.ends_with(
                "\
Services  1 ready, 2 not ready

NOT READY  STATE      REASON
docker     unhealthy  its health check failed 3 times
gateway    waiting
"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_service_that_is_not_what_was_chosen_is_told() {
        let docker = Status {
            notice: "docker-26.1.5 runs instead of docker-28".into(),
            ..service("docker", State::Ready)
        };
        let text = render(&report(&[docker]), Style::default());
        assert!(
            text.ends_with(
                "Services  1 ready\n\nABOUT THE SERVICES\n\
                 docker: docker-26.1.5 runs instead of docker-28\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_node_without_its_runtime_still_has_a_status() {
        let mut report = report(&[]);
        report.services = None;
        report.slot = None;
        let text = render(&report, Style::default());
        assert!(text.contains("\nSlot      unknown\n"));
        assert!(text.ends_with("Services  unknown, system-runtime does not answer\n"));
    }

    #[test]
    fn a_version_is_the_image_and_its_slot() {
        let version = Version {
            image: image(),
            slot: Some(Slot::B),
        };
        assert_eq!(
            render_version(&version),
            "Rubus 0.1.0 for rpi4, build 5f0c2a91\nSlot      B\nKernel    6.12.57\n"
        );
        let json = serde_json::to_value(&version).unwrap();
        assert_eq!(json["build_id"], "5f0c2a91");
        assert_eq!(json["slot"], "B");
    }
}
