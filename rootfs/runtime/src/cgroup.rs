//! The cgroup of a service: what it uses, and the end of all that is in it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The cgroup of one service.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// That of a service, below the folder of all of them.
    pub(crate) fn of(root: &Path, service: &str) -> Cgroup {
        Cgroup(root.join(service))
    }

    /// Bytes of memory in use.
    pub(crate) fn memory(&self) -> Option<u64> {
        let text = fs::read_to_string(self.0.join("memory.current")).ok()?;
        text.trim().parse().ok()
    }

    /// Whether the kernel killed something in it for want of memory.
    pub(crate) fn was_out_of_memory(&self) -> bool {
        let text = fs::read_to_string(self.0.join("memory.events")).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.strip_prefix("oom_kill "))
            .any(|count| count != "0")
    }

    /// Kills everything in it.
    pub(crate) fn kill(&self) {
        // A cgroup that is gone has nothing to kill.
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
    }

    /// Moves what is left in it to a cgroup beside it, where the removal of
    /// the container does not reach: the containers of an engine outlive it.
    pub(crate) fn set_free(&self) -> io::Result<()> {
        let processes = fs::read_to_string(self.0.join("cgroup.procs"))?;
        if processes.is_empty() {
            return Ok(());
        }
        let mut name = self.0.file_name().unwrap_or_default().to_os_string();
        name.push(".kept");
        let kept = self.0.with_file_name(name);
        match fs::create_dir(&kept) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        for pid in processes.lines() {
            // One that has ended meanwhile cannot be moved and need not be.
            let _ = fs::write(kept.join("cgroup.procs"), pid);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_and_kills_are_read_from_the_files_of_the_kernel() {
        let root = tempfile::tempdir().unwrap();
        let cgroup = Cgroup::of(root.path(), "a");
        assert_eq!(cgroup.memory(), None);
        assert!(!cgroup.was_out_of_memory());
        fs::create_dir(root.path().join("a")).unwrap();
        fs::write(root.path().join("a/memory.current"), "4096\n").unwrap();
        fs::write(root.path().join("a/memory.events"), "oom 3\noom_kill 0\n").unwrap();
        assert_eq!(cgroup.memory(), Some(4096));
        assert!(!cgroup.was_out_of_memory());
        fs::write(root.path().join("a/memory.events"), "oom 3\noom_kill 1\n").unwrap();
        assert!(cgroup.was_out_of_memory());
    }
}
