//! Writes down which wireless networks the settings name, and keeps one
//! wpa_supplicant running for each wireless interface.

mod interfaces;
mod plan;
mod render;

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{fs::OpenOptionsExt, process::CommandExt},
    },
    path::Path,
    process::{Child, Command, ExitCode},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv,
            socket,
        },
    },
    unistd::Pid,
};
use rubus_config::{
    paths,
    settings::{Settings, Wifi},
    view,
};

use interfaces::Interface;
use plan::{Plan, Step};

/// In memory, of this user.
const CONFIGURATION: &str = "/run/wifi/wpa_supplicant.conf";
/// The multicast group of changes of links (`RTMGRP_LINK`).
const LINKS: u32 = 1;

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
    // As the first process of its namespace it gets no signal that it does not
    // ask for.
    let signals = signals().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let wifi = settings();
    if wifi.networks.is_empty() {
        println!("no wireless networks in the settings");
        return wait_for_end(&signals).map_err(|error| format!("cannot wait: {error}"));
    }
    if wifi.country.is_none() {
        println!(
            "no country in the settings: only channels that are allowed everywhere are used; \
             set network.wifi.country"
        );
    }
    write(&wifi).map_err(|error| format!("cannot write {CONFIGURATION}: {error}"))?;
    drop(wifi);
    let links = links().map_err(|error| format!("cannot watch interfaces: {error}"))?;
    let mut supplicants = Supplicants::default();
    let outcome = supplicants.keep(&signals, &links);
    supplicants.stop();
    outcome.map_err(|error| format!("cannot watch interfaces: {error}"))
}

fn settings() -> Wifi {
    match view::read(Path::new(paths::OWN_SETTINGS)) {
        Ok(Settings { network, .. }) => network.wifi,
        Err(error) => {
            eprintln!("{error}; going on without wireless networks");
            Wifi::default()
        }
    }
}

fn write(wifi: &Wifi) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(CONFIGURATION)?;
    file.write_all(render::render(wifi).as_bytes())
}

/// What asks it to end, and ends of children.
fn signals() -> nix::Result<SignalFd> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD] {
        signals.add(signal);
    }
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// A socket that can be read when a link comes, goes or changes. Radios are
/// found late, and nobody has to look for them again and again.
fn links() -> nix::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::NetlinkRoute,
    )?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, LINKS))?;
    Ok(socket)
}

/// Takes what the kernel said of links; what that was, is looked up.
fn drain(links: &OwnedFd) -> nix::Result<()> {
    loop {
        // What does not fit is dropped.
        match recv(links.as_raw_fd(), &mut [0; 64], MsgFlags::empty()) {
            // It said more than there was room for.
            Ok(_) | Err(Errno::EINTR | Errno::ENOBUFS) => {}
            Err(Errno::EAGAIN) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Waits for a signal that asks it to end.
fn wait_for_end(signals: &SignalFd) -> nix::Result<()> {
    while !asked_to_end(signals)? {
        wait(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], None)?;
    }
    Ok(())
}

fn asked_to_end(signals: &SignalFd) -> nix::Result<bool> {
    while let Some(signal) = signals.read_signal()? {
        if Signal::try_from(signal.ssi_signo.cast_signed()) != Ok(Signal::SIGCHLD) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn wait(fds: &mut [PollFd], time: Option<Duration>) -> nix::Result<()> {
    // Rounded up: what is due later is not done now.
    let timeout = time.map_or(PollTimeout::NONE, |time| {
        PollTimeout::try_from(time + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
    });
    match poll(fds, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error),
    }
}

/// One wpa_supplicant an interface.
#[derive(Default)]
struct Supplicants {
    plan: Plan,
    children: BTreeMap<Interface, Child>,
}

impl Supplicants {
    /// Keeps them running until a signal asks for the end.
    fn keep(&mut self, signals: &SignalFd, links: &OwnedFd) -> io::Result<()> {
        let start = Instant::now();
        let folder = Path::new(interfaces::FOLDER);
        if interfaces::wireless(folder)?.is_empty() {
            println!("no wireless interface yet");
        }
        loop {
            let now = start.elapsed();
            for step in self.plan.steps(now, &interfaces::wireless(folder)?) {
                match step {
                    Step::Start(interface) => self.start(now, interface),
                    Step::End(interface) => self.end(&interface),
                }
            }
            let mut fds = [
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(links.as_fd(), PollFlags::POLLIN),
            ];
            let due = self.plan.deadline();
            wait(&mut fds, due.map(|at| at.saturating_sub(start.elapsed())))?;
            if asked_to_end(signals)? {
                return Ok(());
            }
            drain(links)?;
            self.reap(start.elapsed());
        }
    }

    fn start(&mut self, now: Duration, interface: Interface) {
        match supplicant(&interface.name).spawn() {
            Ok(child) => {
                println!("{}: looks for the networks of the settings", interface.name);
                self.children.insert(interface, child);
            }
            Err(error) => self.failed(now, &interface, &error.to_string()),
        }
    }

    /// Its interface is gone, so that there is nothing to leave in order.
    fn end(&mut self, interface: &Interface) {
        println!("{}: gone", interface.name);
        if let Some(mut child) = self.children.remove(interface) {
            // Both fail only when it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn reap(&mut self, now: Duration) {
        let mut ended = Vec::new();
        self.children.retain(|interface, child| {
            let how = match child.try_wait() {
                Ok(None) => return true,
                Ok(Some(status)) => status.to_string(),
                Err(error) => error.to_string(),
            };
            ended.push((interface.clone(), how));
            false
        });
        for (interface, how) in ended {
            self.failed(now, &interface, &how);
        }
    }

    fn failed(&mut self, now: Duration, interface: &Interface, how: &str) {
        let pause = self.plan.ended(now, interface).as_secs();
        let name = &interface.name;
        eprintln!("{name}: wpa_supplicant ended ({how}); starts again after {pause} s");
    }

    /// Asks all to leave their networks and to end, and waits until they did.
    fn stop(&mut self) {
        for child in self.children.values() {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
        }
        for child in self.children.values_mut() {
            // It fails only when the child was waited for already.
            let _ = child.wait();
        }
    }
}

fn supplicant(interface: &str) -> Command {
    let mut command = Command::new("/usr/sbin/wpa_supplicant");
    command.args(["-D", "nl80211", "-c", CONFIGURATION, "-i", interface]);
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe {
        // Blocked signals are inherited, and this one has to hear them.
        command.pre_exec(|| SigSet::empty().thread_set_mask().map_err(io::Error::from));
    }
    command
}
