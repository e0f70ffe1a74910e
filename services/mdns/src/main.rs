//! Answers for `HOSTNAME.local`: multicast DNS, so that a node is found by its
//! name without anyone's configuration.

mod names;

use std::{fs, process::ExitCode, thread};

use mdns_sd::{DaemonEvent, IfKind, IfPredicate, ServiceDaemon, ServiceInfo};
use nix::sys::signal::{SigSet, Signal};

/// Bound from the host; see service.toml.
const HOST_NAME: &str = "/etc/hostname";
/// The thread that waits for a signal does nothing else.
const SMALL_STACK: usize = 16 << 10;

/// What a node offers to everyone who looks around: type and port. File
/// managers look for the second.
const OFFERS: &[(&str, u16)] = &[("_ssh._tcp.local.", 22), ("_sftp-ssh._tcp.local.", 22)];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let text = fs::read_to_string(HOST_NAME)
        .map_err(|error| format!("cannot read {HOST_NAME}: {error}"))?;
    let name = names::label(&text).ok_or_else(|| {
        format!(
            "{HOST_NAME} has no name that can be announced; set one of letters, digits and hyphens"
        )
    })?;

    // Before any thread is made, so that none takes the signal away.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals
        .thread_block()
        .map_err(|error| format!("cannot block signals: {error}"))?;

    let failed = |error: mdns_sd::Error| format!("cannot speak multicast DNS: {error}");
    let daemon = ServiceDaemon::new().map_err(failed)?;
    let unwanted = IfPredicate::new(|interface| names::is_internal(&interface.name));
    daemon
        .disable_interface(IfKind::Predicate(unwanted))
        .map_err(failed)?;
    let monitor = daemon.monitor().map_err(failed)?;
    for (kind, port) in OFFERS {
        let host = format!("{name}.local.");
        let service = ServiceInfo::new(kind, name, &host, "", *port, None)
            .map_err(failed)?
            .enable_addr_auto();
        daemon.register(service).map_err(failed)?;
    }

    thread::Builder::new()
        .stack_size(SMALL_STACK)
        .spawn(move || {
            // An error is as good a reason to end as a signal.
            let _ = signals.wait();
            // Takes leave of the network, which then forgets the name at once.
            // It fails only when the other thread is gone.
            let _ = daemon.shutdown();
        })
        .map_err(|error| format!("cannot start a thread: {error}"))?;

    // Ends when the daemon does.
    while let Ok(event) = monitor.recv() {
        match event {
            DaemonEvent::NameChange(change) => println!(
                "{}: another node is {}; this one is now {}",
                change.intf_name, change.original, change.new_name
            ),
            DaemonEvent::IpAdd(address) => println!("announces {address}"),
            DaemonEvent::IpDel(address) => println!("no longer announces {address}"),
            DaemonEvent::Error(error) => eprintln!("{error}"),
            _ => {}
        }
    }
    Ok(())
}
