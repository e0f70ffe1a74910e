//! Ctrl-C and other signals that end a run: QEMU ends with it, and the
//! temporary folder goes away.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::{Handle, Signals},
};

/// Listens for signals while it lives.
#[derive(Debug)]
pub(super) struct Guard {
    shared: Arc<Mutex<Shared>>,
    handle: Handle,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    child: Option<Pid>,
    interrupted: bool,
}

impl Guard {
    /// Starts to listen; `folder` is removed when a signal ends the program.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let shared = Arc::new(Mutex::new(Shared {
            folder: folder.to_owned(),
            child: None,
            interrupted: false,
        }));
        let mut signals =
            Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot listen for signals")?;
        let handle = signals.handle();
        let listener = Arc::clone(&shared);
        thread::spawn(move || {
            for signal in signals.forever() {
                let mut shared = listener.lock().unwrap_or_else(PoisonError::into_inner);
                shared.interrupted = true;
                match shared.child {
                    // The end of QEMU ends the run, which tidies up.
                    Some(child) => {
                        let _ = kill_process(child, Signal::TERM);
                    }
                    None => {
                        let _ = fs::remove_dir_all(&shared.folder);
                        std::process::exit(128 + signal);
                    }
                }
            }
        });
        Ok(Self { shared, handle })
    }

    /// Says which process a signal has to end first.
    pub(super) fn set_child(&self, id: Option<u32>) {
        let pid = id.and_then(|id| Pid::from_raw(id.cast_signed()));
        self.lock().child = pid;
    }

    /// Whether a signal came.
    pub(super) fn was_interrupted(&self) -> bool {
        self.lock().interrupted
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.handle.close();
    }
}
