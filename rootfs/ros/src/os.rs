//! `ros os`.

use std::path::Path;

use rubus_config::{boot::Step, image::ImageInfo, power::PowerAction};
use rubus_service::status::{Boot, State, Status};
use serde::Serialize;

use crate::{
    cli::OsCommand,
    client,
    node::{self, Memory},
    service::state_cell,
    terminal::{self, Style},
    timings,
};

pub(crate) fn run(run: &Path, command: &OsCommand) -> anyhow::Result<()> {
    match command {
        OsCommand::Version(output) => version(output.json),
        OsCommand::Status {
            timings: true,
            json,
        } => show_timings(run, *json),
        OsCommand::Status { json, .. } => status(run, *json),
        OsCommand::Reboot => power(
            run,
            PowerAction::Reboot,
            "The node stops its services and starts again.",
        ),
        OsCommand::Poweroff => power(
            run,
            PowerAction::Poweroff,
            "The node stops its services and switches off.",
        ),
    }
}

fn version(json: bool) -> anyhow::Result<()> {
    let image = node::image()?;
    if json {
        return terminal::print_json(&image);
    }
    terminal::print(&(name_of(&image) + "\n"))
}

fn name_of(image: &ImageInfo) -> String {
    format!(
        "Rubus {} for {}, build {}",
        image.version, image.board, image.build_id
    )
}

/// How the node is.
#[derive(Serialize)]
struct NodeStatus {
    image: ImageInfo,
    slot: Option<char>,
    kernel: String,
    uptime_us: u64,
    memory: Option<Memory>,
    services: usize,
    not_ready: Vec<Status>,
}

fn status(run: &Path, json: bool) -> anyhow::Result<()> {
    let services: Vec<Status> = client::get(run, "/v1/services")?;
    let status = NodeStatus {
        image: node::image()?,
        slot: node::slot(),
        kernel: node::kernel(),
        uptime_us: node::uptime_micros(),
        memory: node::memory(),
        services: services.iter().filter(|it| it.enabled).count(),
        not_ready: services.into_iter().filter(needs_attention).collect(),
    };
    if json {
        return terminal::print_json(&status);
    }
    terminal::print(&status.render(terminal::colours()))
}

/// Whether a service is not as it should be: not ready although it is enabled
/// or somebody started it.
fn needs_attention(status: &Status) -> bool {
    match status.state {
        State::Ready | State::Done => false,
        State::Stopped => status.enabled,
        _ => true,
    }
}

impl NodeStatus {
    fn render(&self, colours: bool) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            let name = Style::Bold.paint(&format!("{name:<10}"), colours);
            text.push_str(&format!("{name}{value}\n"));
        };
        line("System", &name_of(&self.image));
        if let Some(slot) = self.slot {
            line("Slot", &slot.to_string());
        }
        line("Kernel", &self.kernel);
        line("Up", &terminal::duration(self.uptime_us));
        if let Some(memory) = self.memory {
            let used = memory.total.saturating_sub(memory.available);
            let (used, total) = (terminal::bytes(used), terminal::bytes(memory.total));
            line("Memory", &format!("{used} used of {total}"));
        }
        if self.not_ready.is_empty() {
            let all = format!("all {} ready", self.services);
            line("Services", &Style::Good.paint(&all, colours));
        }
        let mut name = "Services";
        for it in &self.not_ready {
            let (word, style) = state_cell(it.state);
            let reason = terminal::harmless(&it.reason);
            let colon = if reason.is_empty() { "" } else { ": " };
            line(
                name,
                &format!(
                    "{} is {}{colon}{reason}",
                    it.name,
                    style.paint(&word, colours)
                ),
            );
            name = "";
        }
        text
    }
}

fn show_timings(run: &Path, json: bool) -> anyhow::Result<()> {
    let boot: Boot<Step> = client::get(run, "/v1/boot")?;
    if json {
        return terminal::print_json(&boot);
    }
    terminal::print(&timings::render(
        &boot,
        terminal::width(),
        terminal::colours(),
    ))
}

fn power(run: &Path, action: PowerAction, words: &str) -> anyhow::Result<()> {
    let body = serde_json::json!({ "action": action }).to_string();
    let _: serde_json::Value = client::post(run, "/v1/power", &body)?;
    terminal::print(&format!("{words}\n"))
}

#[cfg(test)]
mod tests {
    use rubus_service::Kind;

    use super::*;

    fn service(name: &str, state: State, enabled: bool) -> Status {
        Status {
            name: name.to_owned(),
            description: String::new(),
            kind: Kind::Daemon,
            enabled,
            state,
            pid: None,
            started_us: None,
            ready_us: None,
            restarts: 0,
            exit: None,
            memory: None,
            reason: String::new(),
        }
    }

    #[test]
    fn what_somebody_turned_off_needs_no_attention() {
        assert!(!needs_attention(&service("a", State::Stopped, false)));
        assert!(!needs_attention(&service("a", State::Done, true)));
        assert!(needs_attention(&service("a", State::Stopped, true)));
        assert!(needs_attention(&service("a", State::Backoff, false)));
    }

    #[test]
    fn the_page_names_what_is_not_ready() {
        let mut failed = service("docker", State::Backoff, true);
        "ended with status 1".clone_into(&mut failed.reason);
        let mut status = NodeStatus {
            image: ImageInfo {
                board: "rpi4".to_owned(),
                version: "0.1.0".to_owned(),
                build_id: "abc".to_owned(),
                timestamp: 0,
                kernel: String::new(),
            },
            slot: Some('A'),
            kernel: "6.12".to_owned(),
            uptime_us: 61_000_000,
            memory: Some(Memory {
                total: 1 << 30,
                available: 512 << 20,
            }),
            services: 2,
            not_ready: vec![failed, service("b", State::Waiting, true)],
        };
        assert_eq!(
            status.render(false),
            "System    Rubus 0.1.0 for rpi4, build abc\n\
             Slot      A\n\
             Kernel    6.12\n\
             Up        1m 01s\n\
             Memory    512.0 MiB used of 1.0 GiB\n\
             Services  docker is backoff: ended with status 1\n\
             \u{20}         b is waiting\n"
        );
        status.not_ready.clear();
        assert!(status.render(false).ends_with("Services  all 2 ready\n"));
    }
}
