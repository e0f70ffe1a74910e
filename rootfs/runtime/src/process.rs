//! What `/proc` tells of processes, and the end of whole groups of them.

use std::{
    fs,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
};

use rubus_service::status::Exit;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::machine::Process;

/// The process that has this number now, if it lives.
pub(crate) fn identify(pid: i32) -> Option<Process> {
    if pid <= 1 {
        return None;
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (state, start) = state_and_start(&stat)?;
    (!matches!(state, 'Z' | 'X')).then_some(Process { pid, start })
}

/// Whether it is still the same process, and alive.
pub(crate) fn is_alive(process: Process) -> bool {
    identify(process.pid) == Some(process)
}

/// State letter and start time of a line of `/proc/PID/stat`. The name of the
/// program stands in parentheses and may itself contain any character.
fn state_and_start(stat: &str) -> Option<(char, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // starttime is field 22 of the line; the state is field 3.
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

/// Processes that have `argument` as one of the arguments of their command
/// line.
pub(crate) fn with_argument(argument: &Path) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
                line.split(|&byte| byte == 0)
                    .any(|it| it == argument.as_os_str().as_bytes())
            })
        })
        .collect()
}

/// The number in a file that an OCI runtime wrote.
pub(crate) fn read_pid_file(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A handle on a process that becomes readable when it ends.
pub(crate) fn watch(pid: i32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

/// Sends a signal to a process, unless its number has gone to another.
pub(crate) fn signal(process: Process, number: i32) {
    let Some(handle) = watch(process.pid) else {
        return;
    };
    // Checked after the handle was taken: the handle cannot change its mind.
    if let (true, Some(signal)) = (is_alive(process), Signal::from_named_raw(number)) {
        // It may have ended in between, which is what was wanted.
        let _ = rustix::process::pidfd_send_signal(handle, signal);
    }
}

/// Kills the process that `crun exec` started, by the file that it wrote the
/// number to, with everything in its process group. Every such process leads a
/// session of its own.
pub(crate) fn kill_group_of(pid_file: &Path) {
    let Some(pid) = read_pid_file(pid_file).and_then(Pid::from_raw) else {
        return;
    };
    let group = rustix::process::getpgid(Some(pid)).ok();
    if let Some(group) = group.filter(|&it| it != Pid::INIT && it != rustix::process::getpgrp()) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
}

/// How a process ended that `init` reaped in our absence: the last line about
/// it in `init`'s list.
pub(crate) fn reaped_exit(list: &Path, pid: i32) -> Exit {
    #[derive(serde::Deserialize)]
    struct Reaped {
        pid: i32,
        status: i32,
    }
    let text = fs::read_to_string(list).unwrap_or_default();
    text.lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<Reaped>(line).ok())
        .find(|it| it.pid == pid)
        .map_or(Exit::Unknown, |it| Exit::from_raw(it.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_times_are_read_behind_any_program_name() {
        let fields: Vec<String> = (4..=21).map(|it| it.to_string()).collect();
        let line = format!("7 (a) b (c)) S {} 4711 99", fields.join(" "));
        assert_eq!(state_and_start(&line), Some(('S', 4711)));
        assert_eq!(state_and_start("7 (a"), None);
        assert_eq!(state_and_start("7 (a) S 1"), None);
    }

    #[test]
    fn a_process_is_itself_and_no_other() {
        let me = identify(std::process::id().try_into().unwrap()).unwrap();
        assert!(is_alive(me));
        assert!(!is_alive(Process {
            start: me.start + 1,
            ..me
        }));
        assert_eq!(identify(0), None);
        assert_eq!(identify(-1), None);
    }

    #[test]
    fn the_last_line_about_a_process_counts() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("reaped.jsonl");
        fs::write(
            &list,
            "{\"pid\":5,\"status\":256}\nnonsense\n{\"pid\":5,\"status\":9}\n{\"pid\":6",
        )
        .unwrap();
        assert_eq!(reaped_exit(&list, 5), Exit::Signal(9));
        assert_eq!(reaped_exit(&list, 6), Exit::Unknown);
        assert_eq!(reaped_exit(&folder.path().join("none"), 5), Exit::Unknown);
    }
}
