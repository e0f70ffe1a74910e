//! Login on ssh, serial and screen: the first process of the console's
//! container. It prepares what sshd and the terminals need, starts them and
//! keeps them running.

mod accounts;
mod etc;
mod gate;
mod home;
mod host_keys;
mod issue;
mod once;
mod people;
mod place;
mod supervisor;
mod terminals;
mod tools;

use std::{
    fs, io,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

use accounts::Accounts;
use etc::Etc;
use rubus_config::{boot, paths, settings::Settings, view};
use supervisor::Supervisor;

/// How often a screen that appeared later is looked for: its driver loads while
/// this already runs.
const LOOK_FOR_SCREENS: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // After a switch of consoles, the runtime asks whether this one works.
    if arguments.first().is_some_and(|it| it == "gate") {
        return match read_settings().and_then(|it| gate::run(it.ssh.port.get())) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            // Nobody can log in to read that, but somebody may see the screen
            // or the serial line.
            let _ = fs::write("/dev/kmsg", format!("<3>console: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    // Before any child is started: its end must not be missed.
    let signals = block_signals().map_err(|error| format!("cannot block signals: {error}"))?;
    let etc = prepare()?;
    let settings = read_settings().unwrap_or_else(|error| {
        eprintln!("{error}; nobody may log in until it is repaired");
        Settings::default()
    });
    let accounts = put_settings(&etc, &settings)?;
    // It ends with the console, whether it is done or not.
    thread::spawn(move || once::run(&settings, &accounts.files));

    let cmdline = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let recovery = boot::recovery(&cmdline);
    let start = Instant::now();
    let mut supervisor = Supervisor::new();
    supervisor.add(tools::sshd());
    loop {
        for terminal in terminals::present(Path::new("/sys/class")) {
            supervisor.add(tools::getty(&terminal, recovery));
        }
        supervisor.start_due(start.elapsed());
        let wait = supervisor
            .next_start()
            .map_or(LOOK_FOR_SCREENS, |at| at.saturating_sub(start.elapsed()))
            .min(LOOK_FOR_SCREENS);
        match next_signal(&signals, wait).map_err(|error| format!("cannot wait: {error}"))? {
            Some(Signal::SIGCHLD) => supervisor.reap(start.elapsed()),
            // The settings changed. Whoever is logged in stays.
            Some(Signal::SIGHUP) => {
                let told = || fs::read_to_string(tools::SSHD_CONFIG).unwrap_or_default();
                let before = told();
                let put = read_settings().and_then(|settings| put_settings(&etc, &settings));
                if let Err(error) = put {
                    eprintln!("{error}; who may log in stays as it is");
                }
                if told() != before {
                    supervisor.signal("sshd", Signal::SIGHUP);
                }
            }
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
fn prepare() -> Result<Etc, String> {
    let own = Path::new("/run/console");
    for folder in [own, Path::new("/run/sshd")] {
        tools::make_folder(folder)?;
    }
    let etc = Etc::take(Path::new("/etc"), own)?;
    host_keys::ensure(Path::new("/var/lib/rubus/console/ssh"), tools::ssh_keygen)?;
    for outcome in [tools::link_docker_socket(), tools::allow_ping()] {
        if let Err(error) = outcome {
            eprintln!("{error}");
        }
    }
    Ok(etc)
}

fn read_settings() -> Result<Settings, String> {
    view::read(Path::new(paths::OWN_SETTINGS))
}

/// Puts what the settings say into effect.
fn put_settings(etc: &Etc, settings: &Settings) -> Result<Accounts, String> {
    if etc.is_kept()
        && let Err(error) =
            tools::link_time_zone(Path::new("/etc/localtime"), settings.timezone.as_str())
    {
        eprintln!("{error}");
    }
    let accounts = people::put(etc, settings)?;
    let told = people::sshd_config(settings);
    tools::replace(Path::new(tools::SSHD_CONFIG), &told, 0o644)?;
    let passwords = settings.users.values();
    let passwords = passwords.filter(|user| user.password_hash.is_some());
    let issue = issue::text(accounts.keys(), passwords.count());
    tools::replace(Path::new("/run/console/issue"), &issue, 0o644)?;
    Ok(accounts)
}

fn block_signals() -> io::Result<SignalFd> {
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGCHLD,
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGTERM,
    ] {
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
