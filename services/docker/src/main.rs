//! The engine's first process, and what is run in the engine around a switch to
//! another one ([`switch`]).
//!
//! The first process writes down what the settings say, starts
//! containerd and dockerd side by side, because dockerd needs seconds on a small
//! board before it talks to containerd, and ends with either: what remains is
//! half an engine.

mod api;
mod daemon;
mod shims;
mod switch;

use std::{
    fs, io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitCode, ExitStatus},
};

use nix::{
    mount::{MsFlags, mount},
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::Pid,
};
use rubus_config::{paths, settings::Settings, view};
use signal_hook::{
    consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

/// What the image says about dockerd.
const IMAGE: &str = "/etc/docker/daemon.json";
/// The same with the settings, in memory.
const MERGED: &str = "/run/daemon.json";
/// Where the engine keeps everything, as containers that look into it expect.
const DATA_ROOT: &str = "/var/lib/docker";
/// What is mounted there when nothing else is asked for.
const USUAL_DATA: &str = "/data/docker";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => start(),
        ["drain", direction] => switch::drain(direction == "back"),
        ["gate", direction] => switch::gate(direction == "back"),
        _ => Err("usage: engine [drain|gate forward|back]".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), String> {
    let settings = view::read(Path::new(paths::OWN_SETTINGS)).unwrap_or_else(|error| {
        eprintln!("{error}; going on as if nothing were set");
        Settings::default()
    });
    write_configuration(&settings)?;
    mount_data(settings.docker.data_root.as_str())?;
    let environment = daemon::environment(&settings.proxy);
    // By `PATH`: engines of others keep them elsewhere.
    let mut containerd = Command::new("containerd");
    containerd.envs(environment.clone());
    let mut dockerd = Command::new("dockerd");
    dockerd.args(["--config-file", MERGED]).envs(environment);
    run(containerd, dockerd)
}

fn write_configuration(settings: &Settings) -> Result<(), String> {
    let text = fs::read(IMAGE).map_err(|error| format!("cannot read {IMAGE}: {error}"))?;
    let image = serde_json::from_slice(&text)
        .map_err(|error| format!("cannot understand {IMAGE}: {error}"))?;
    let (merged, refused) = daemon::configuration(image, &settings.docker, has_certificates());
    for line in refused {
        eprintln!("{line}");
    }
    let text = serde_json::to_vec_pretty(&merged).map_err(|error| error.to_string())?;
    fs::write(MERGED, text).map_err(|error| format!("cannot write {MERGED}: {error}"))
}

/// Whether `ros tls generate` was here.
fn has_certificates() -> bool {
    let files = [paths::TLS_AUTHORITY, paths::TLS_ENGINE];
    files.iter().all(|file| Path::new(file).is_file())
}

/// Mounts the folder that is asked for where the engine keeps its data.
fn mount_data(folder: &str) -> Result<(), String> {
    if folder == USUAL_DATA {
        return Ok(());
    }
    fs::create_dir_all(folder)
        .map_err(|error| format!("cannot make {folder} (docker.data_root): {error}"))?;
    let none = None::<&str>;
    mount(
        Some(folder),
        DATA_ROOT,
        none,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        none,
    )
    .map_err(|error| format!("cannot mount {folder} (docker.data_root): {error}"))
}

/// Runs both until they are asked to end, or one of them ends.
fn run(containerd: Command, dockerd: Command) -> Result<(), String> {
    // Before any child is started: its end must not be missed.
    let mut signals = Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGTERM])
        .map_err(|error| format!("cannot wait for signals: {error}"))?;
    let mut containerd = Program::start("containerd", containerd)?;
    let mut dockerd = Program::start("dockerd", dockerd)?;
    for signal in signals.forever() {
        match signal {
            SIGHUP => dockerd.signal(Signal::SIGHUP),
            SIGCHLD => {
                let ended = [&mut dockerd, &mut containerd]
                    .into_iter()
                    .find_map(Program::ended);
                if let Some(ended) = ended {
                    dockerd.stop();
                    containerd.stop();
                    return Err(ended);
                }
            }
            _ => break,
        }
    }
    // dockerd still tells containerd what it stops.
    dockerd.stop();
    shims::end(Path::new(MERGED));
    containerd.stop();
    Ok(())
}

/// A program that does not outlive this one.
struct Program {
    name: &'static str,
    child: Child,
}

impl Program {
    fn start(name: &'static str, mut command: Command) -> Result<Self, String> {
        // The runtime kills only this process when the engine hangs.
        // SAFETY: the closure makes one system call and allocates nothing.
        unsafe {
            command.pre_exec(|| prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from));
        }
        match command.spawn() {
            Ok(child) => Ok(Self { name, child }),
            Err(error) => Err(format!("cannot start {name}: {error}")),
        }
    }

    /// How it ended, if it did.
    fn ended(&mut self) -> Option<String> {
        let how = match self.child.try_wait() {
            Ok(None) => return None,
            Ok(Some(status)) => ExitStatus::to_string(&status),
            Err(error) => error.to_string(),
        };
        Some(format!("{} ended ({how})", self.name))
    }

    fn signal(&self, signal: Signal) {
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), signal);
    }

    /// Asks it to end, and waits until it did.
    fn stop(&mut self) {
        if self.ended().is_none() {
            self.signal(Signal::SIGTERM);
            // It fails only when the child was waited for already.
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, thread, time::Duration};

    use super::*;

    /// A program that notes when it is asked to end.
    fn noting(name: &str, notes: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "trap 'echo $0 >> $1; exit' TERM; echo ready > $1.$0; while :; do sleep 0.05; done",
            name,
        ]);
        command.arg(notes);
        command
    }

    /// Signals reach the whole test program, so one test does everything.
    #[test]
    fn both_end_when_asked_to_and_with_each_other() {
        let folder = std::env::temp_dir().join(format!("engine-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let notes = folder.join("notes");

        // One that ends takes the other along.
        let error = run(Command::new("false"), noting("dockerd", &notes)).unwrap_err();
        assert_eq!(error, "containerd ended (exit status: 1)");
        let error = run(noting("containerd", &notes), Command::new("/absent")).unwrap_err();
        assert!(error.starts_with("cannot start dockerd: "), "{error}");

        // Asked to end, dockerd does so first.
        let _ = fs::remove_file(&notes);
        let ready = ["containerd", "dockerd"].map(|name| folder.join(format!("notes.{name}")));
        for file in &ready {
            let _ = fs::remove_file(file);
        }
        let asker = thread::spawn(move || {
            while !ready.iter().all(|file| file.exists()) {
                thread::sleep(Duration::from_millis(10));
            }
            kill(Pid::this(), Signal::SIGTERM).unwrap();
        });
        run(noting("containerd", &notes), noting("dockerd", &notes)).unwrap();
        asker.join().unwrap();
        assert_eq!(fs::read_to_string(&notes).unwrap(), "dockerd\ncontainerd\n");
        fs::remove_dir_all(folder).unwrap();
    }
}
