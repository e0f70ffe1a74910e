//! `ros os reboot` and `ros os poweroff`.

use anyhow::{Context, Result, bail};
use rubus_config::power::PowerAction;
use rubus_service::status::Status;
use rustix::process::{Pid, Signal, kill_process};

use crate::api;
use crate::client::{Client, ClientError};
use crate::host::Host;
use crate::output::Output;
use crate::text::printable;

/// Ends this run of the machine: by way of the runtime, which stops services
/// in order, or by `init` when the runtime does not answer.
pub(crate) fn run(client: &Client, host: &Host, action: PowerAction, output: Output) -> Result<()> {
    // For the message only: the runtime knows better what it has to stop.
    let services = client.services().unwrap_or_default();
    match client.power(action) {
        Ok(()) => Ok(output.line(&announcement(action, &services))?),
        Err(error @ ClientError::Unreachable { .. }) => {
            if !host.runs_our_init() {
                bail!("{error}; PID 1 is not the init of Rubus, so it is not asked instead");
            }
            kill_process(Pid::INIT, signal(action))
                .with_context(|| format!("{error}; init cannot be asked instead"))?;
            Ok(output.line(&format!(
                "system-runtime does not answer; init was asked to {} instead and ends whatever \
                 still runs",
                verb(action)
            ))?)
        }
        Err(e) => Err(e.into()),
    }
}

/// The signal by which `init` is asked.
const fn signal(action: PowerAction) -> Signal {
    match action {
        PowerAction::Reboot => Signal::TERM,
        PowerAction::Poweroff => Signal::USR2,
    }
}

const fn verb(action: PowerAction) -> &'static str {
    match action {
        PowerAction::Reboot => "reboot",
        PowerAction::Poweroff => "power off",
    }
}

/// What happens now, and what it waits for.
fn announcement(action: PowerAction, services: &[Status]) -> String {
    let what = match action {
        PowerAction::Reboot => "rebooting",
        PowerAction::Poweroff => "powering off",
    };
    let running: Vec<_> = services
        .iter()
        .filter(|service| api::runs(service.state))
        .map(|service| printable(&service.name))
        .collect();
    if running.is_empty() {
        return format!("{what} now");
    }
    format!("{what} once these have stopped: {}", running.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::service;
    use rubus_service::status::State;

    #[test]
    fn it_says_what_it_waits_for() {
        let services = [
            service("network", State::Ready),
            service("coldplug", State::Done),
            service("docker", State::Unhealthy),
        ];
        assert_eq!(
            announcement(PowerAction::Reboot, &services),
            "rebooting once these have stopped: network, docker"
        );
        assert_eq!(announcement(PowerAction::Poweroff, &[]), "powering off now");
    }

    #[test]
    fn init_is_asked_by_the_signals_that_it_knows() {
        assert_eq!(signal(PowerAction::Reboot), Signal::TERM);
        assert_eq!(signal(PowerAction::Poweroff), Signal::USR2);
    }
}
