//! Addresses, routes and name servers: brings links up, and gives them what the
//! settings say and what DHCP servers grant.

mod config;
mod dhcp;
mod interface;
mod ipv6;
mod link;
mod manager;
mod netlink;
mod resolv;
mod setup;
mod socket;
mod store;
mod vlan;

use std::{io, os::fd::AsFd, path::Path, process::ExitCode};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

use rubus_config::{paths, settings, view};

use manager::{Manager, Paths};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot watch the network: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    // As the first process of its namespace it gets no signal that it does not
    // ask for.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block()?;
    let stop = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?;

    let paths = Paths {
        // The host's folder; see service.toml.
        resolv_conf: "/run/host-etc/resolv.conf".into(),
        state: "/run/rubus/network/state.json".into(),
        leases: "/var/lib/rubus/network".into(),
        host_name: "/run/host-etc/hostname".into(),
        ipv6: "/run/host-ipv6".into(),
    };
    Manager::new(paths, &settings())?.run(stop.as_fd())
}

/// What the settings say of the network. A node whose settings are damaged is
/// easier to help when DHCP puts it somewhere.
fn settings() -> settings::Network {
    let path = Path::new(paths::OWN_SETTINGS);
    if !path.exists() {
        println!("no settings; going on with DHCP on wired links");
    }
    match view::read(path) {
        Ok(settings) => settings.network,
        Err(error) => {
            eprintln!("{error}; going on with DHCP on wired links");
            settings::Network::default()
        }
    }
}
