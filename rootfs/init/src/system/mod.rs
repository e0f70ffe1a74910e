//! From the bare system root to the system runtime.

mod cgroups;
mod clock;
mod configuration;
mod etc;
mod identity;
mod kernel;
mod storage;

pub(crate) use clock::save as save_time;

use rubus_config::boot::Stage;
use rubus_config::settings::Settings;

use crate::cmdline::Cmdline;
use crate::steps::{self, Failed, OnFailure, Outcome, Step};
use crate::supervise;
use crate::sys::watchdog::Watchdog;

/// What the steps find out for each other.
#[derive(Default)]
struct System {
    settings: Settings,
    machine_id: String,
    hostname: String,
    watchdog: Option<Watchdog>,
}

const STEPS: &[Step<System>] = &[
    needed("mount memory", |_| storage::mount_memory()),
    needed("share the data partition", |_| storage::share_data()),
    needed("enable the control groups", |_| cgroups::enable()),
    useful("load the early modules", |_| kernel::load_modules()),
    useful("set the clock's floor", |_| clock::raise_to_floor()),
    useful("read the configuration", |state| {
        let (settings, note) = configuration::load()?;
        state.settings = settings;
        Ok(note)
    }),
    needed("identify the machine", |state| {
        state.machine_id = identity::machine_id()?;
        state.hostname = rubus_config::identity::hostname(&state.settings, &state.machine_id);
        identity::set_hostname(&state.hostname)?;
        Ok(Some(state.hostname.clone()))
    }),
    needed("write /etc", |state| {
        etc::write(&state.hostname, &state.machine_id)
    }),
    useful("set the time zone", |state| {
        etc::set_timezone(state.settings.timezone.as_str())
    }),
    useful("bring up loopback", |_| kernel::loopback()),
    useful("set limits", |_| kernel::set_limits()),
    useful("configure the kernel", |state| {
        kernel::configure(&state.settings.kernel)
    }),
    useful("start the watchdog", |state| {
        if Cmdline::of_kernel().without_watchdog {
            return Ok(Some("off, as the command line says".to_owned()));
        }
        let (watchdog, note) = kernel::start_watchdog(&state.settings)?;
        state.watchdog = watchdog;
        Ok(note)
    }),
];

const fn needed(name: &'static str, run: fn(&mut System) -> Outcome) -> Step<System> {
    Step {
        name,
        on_failure: OnFailure::Stop,
        run,
    }
}

const fn useful(name: &'static str, run: fn(&mut System) -> Outcome) -> Step<System> {
    Step {
        name,
        on_failure: OnFailure::Continue,
        run,
    }
}

/// Runs the stage, then supervises until the machine goes down.
pub(crate) fn run() -> Failed {
    let mut state = System::default();
    if let Err(failed) = steps::run(Stage::System, STEPS, &mut state) {
        return failed;
    }
    let Err(error) = supervise::run(state.watchdog);
    Failed::after(
        Stage::System,
        STEPS.len(),
        "start the system runtime",
        error,
    )
}
