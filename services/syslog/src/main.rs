//! Sends every line that services log to a syslog server, as the settings name
//! one. What is read are the rings of the runtime, in memory: a server that is
//! away gets later what is still in them.

mod follow;
mod message;
mod send;

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::OwnedFd,
    path::Path,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::Duration,
};

use rubus_config::{files, paths, view};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify,
};
use signal_hook::consts::{SIGINT, SIGTERM};

use follow::{Follower, Position};
use send::{Sender, Server};

/// How far it got, by service; in memory, as the rings are.
const POSITIONS: &str = "/run/rubus/syslog/positions.json";
/// Bound from the host.
const HOST_NAME: &str = "/etc/hostname";
/// How long lines are collected before they are sent.
const COLLECT: Duration = Duration::from_millis(200);
/// The first pause after an error; each further one is twice as long.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

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
    // ask for. There is nothing to tidy up.
    for signal in [SIGTERM, SIGINT] {
        let always = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_shutdown(signal, 0, always)
            .map_err(|error| format!("cannot wait for signals: {error}"))?;
    }
    let settings = view::read(Path::new(paths::OWN_SETTINGS))?;
    let Some(server) = &settings.logging.remote else {
        println!("no server in the settings");
        loop {
            thread::park();
        }
    };
    let server = Server::parse(server.as_str())
        .ok_or_else(|| format!("{} is no syslog server", server.as_str()))?;
    let host = fs::read_to_string(HOST_NAME).unwrap_or_default();
    let changes =
        watch(paths::LOGS).map_err(|error| format!("cannot watch {}: {error}", paths::LOGS))?;
    let mut shipment = Shipment {
        host: host.trim().to_owned(),
        followers: BTreeMap::new(),
        positions: read_positions(),
        sender: Sender::new(server),
    };
    println!("sends logs to {}", shipment.sender.server());
    let mut pause = SHORTEST_PAUSE;
    let mut told = false;
    loop {
        match shipment.send_all() {
            Ok(()) => {
                if told {
                    println!("{} takes logs again", shipment.sender.server());
                }
                (pause, told) = (SHORTEST_PAUSE, false);
                // What was watched for is looked at anyhow.
                let _ = wait(&changes);
                thread::sleep(COLLECT);
            }
            Err(error) => {
                // Told once: the line itself is a line to send.
                if !told {
                    eprintln!("cannot send logs to {}: {error}", shipment.sender.server());
                    told = true;
                }
                thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// All logs, and where they go.
struct Shipment {
    host: String,
    followers: BTreeMap<String, Follower>,
    /// Of a former run; taken as services are found.
    positions: BTreeMap<String, Position>,
    sender: Sender,
}

impl Shipment {
    /// Sends what is new of every service.
    fn send_all(&mut self) -> io::Result<()> {
        let folder = Path::new(paths::LOGS);
        for name in follow::services(folder)? {
            let position = self.positions.remove(&name);
            self.followers
                .entry(name.clone())
                .or_insert_with(|| Follower::new(folder, &name, position));
        }
        let mut changed = false;
        let mut outcome = Ok(());
        'all: for (name, follower) in &mut self.followers {
            while let Some(batch) = follower.next()? {
                for line in batch.lines() {
                    let message = message::of(&self.host, name, &line);
                    if let Err(error) = self.sender.send(&message) {
                        outcome = Err(error);
                        break 'all;
                    }
                }
                follower.done(&batch);
                changed = true;
            }
        }
        if changed {
            let positions: BTreeMap<&String, Position> = self
                .followers
                .iter()
                .filter_map(|(name, follower)| Some((name, follower.position()?)))
                .collect();
            let text = serde_json::to_vec(&positions)?;
            files::replace_lazily(Path::new(POSITIONS), &text, 0o600)?;
        }
        outcome
    }
}

fn read_positions() -> BTreeMap<String, Position> {
    let text = fs::read(POSITIONS).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Becomes readable when something changes in a folder.
fn watch(folder: &str) -> io::Result<OwnedFd> {
    let changes = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let what = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
    inotify::add_watch(&changes, folder, what)?;
    Ok(changes)
}

/// Waits for a change; a minute at the longest.
fn wait(changes: &OwnedFd) -> io::Result<()> {
    let minute = Timespec {
        tv_sec: 60,
        tv_nsec: 0,
    };
    poll(&mut [PollFd::new(changes, PollFlags::IN)], Some(&minute))?;
    let mut buffer = [0; 4096];
    while rustix::io::read(changes, &mut buffer).is_ok_and(|count| count > 0) {}
    Ok(())
}
