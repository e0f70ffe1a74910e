//! Login on ssh, serial and screen: the first process of the console's
//! container. It prepares what sshd and the terminals need, starts them and
//! keeps them running.

mod access;
mod home;
mod host_keys;
mod issue;
mod settings;
mod supervisor;
mod terminals;
mod tools;

use std::{
    io,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

use supervisor::Supervisor;

/// How often a screen that appeared later is looked for: its driver loads while
/// this already runs.
const LOOK_FOR_SCREENS: Duration = Duration::from_secs(10);

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
    // Before any child is started: its end must not be missed.
    let signals = block_signals().map_err(|error| format!("cannot block signals: {error}"))?;
    prepare()?;

    let start = Instant::now();
    let mut supervisor = Supervisor::new();
    supervisor.add(tools::sshd());
    loop {
        for terminal in terminals::present(Path::new("/sys/class")) {
            supervisor.add(tools::getty(&terminal));
        }
        supervisor.start_due(start.elapsed());
        let wait = supervisor
            .next_start()
            .map_or(LOOK_FOR_SCREENS, |at| at.saturating_sub(start.elapsed()))
            .min(LOOK_FOR_SCREENS);
        match next_signal(&signals, wait).map_err(|error| format!("cannot wait: {error}"))? {
            Some(Signal::SIGCHLD) => supervisor.reap(start.elapsed()),
            Some(_) => {
                supervisor.stop();
                return Ok(());
            }
            None => {}
        }
    }
}

/// Everything that has to be there before somebody logs in. Only what makes ssh
/// impossible is an error; with anything else a node is still worth reaching.
fn prepare() -> Result<(), String> {
    for folder in ["/run/console", "/run/sshd"] {
        tools::make_folder(Path::new(folder))?;
    }
    let settings = settings::read(Path::new(rubus_config::paths::CONFIG)).unwrap_or_else(|error| {
        eprintln!("{error}; nobody may log in until it is repaired");
        rubus_config::settings::Settings::default()
    });
    let access = access::Access::of(&settings);
    tools::write(Path::new("/run/console/authorized_keys"), &access.keys)?;
    tools::write(Path::new("/run/console/issue"), issue::text(&access))?;
    host_keys::ensure(Path::new("/var/lib/rubus/console/ssh"), tools::ssh_keygen)?;
    for outcome in [
        home::ensure(Path::new("/home/rubus"), Path::new("/etc/skel")),
        tools::link_docker_socket(),
        tools::allow_ping(),
    ] {
        if let Err(error) = outcome {
            eprintln!("{error}");
        }
    }
    Ok(())
}

fn block_signals() -> io::Result<SignalFd> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    Ok(SignalFd::with_flags(&signals, flags)?)
}

/// The next signal; none when the time is over.
fn next_signal(signals: &SignalFd, wait: Duration) -> io::Result<Option<Signal>> {
    use std::os::fd::AsFd;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    // Rounded up, so that what is due then is due.
    let wait = wait + Duration::from_millis(1);
    match poll(
        &mut fds,
        PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX),
    ) {
        Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(None),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let Some(info) = signals.read_signal()? else {
        return Ok(None);
    };
    Ok(Signal::try_from(info.ssi_signo.cast_signed()).ok())
}
