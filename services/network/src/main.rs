//! Addresses, routes and name servers: brings wired links up and keeps a DHCP
//! lease on each.

mod config;
mod dhcp;
mod interface;
mod link;
mod manager;
mod netlink;
mod resolv;
mod socket;
mod store;

use std::{io, os::fd::AsFd, process::ExitCode};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

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
    Manager::new(paths)?.run(stop.as_fd())
}
