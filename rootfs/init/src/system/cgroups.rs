//! Control groups, version 2.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::mounts::{self, Virtual};
use crate::steps::Outcome;

const ROOT: Virtual = Virtual {
    kind: "cgroup2",
    target: "/sys/fs/cgroup",
    flags: mounts::NO_SUID_DEV_EXEC,
    options: "nsdelegate,memory_recursiveprot",
};

/// Mounts the control groups and passes every controller on to the groups of
/// services.
pub(super) fn enable() -> Outcome {
    ROOT.mount()?;
    let root = Path::new(ROOT.target);
    let available = fs::read_to_string(root.join("cgroup.controllers"))
        .context("cannot read the list of cgroup controllers")?;
    let mut refused = Vec::new();
    for controller in available.split_whitespace() {
        if pass_on(root, controller).is_err() {
            refused.push(controller);
        }
    }
    Ok(note(&available, &refused))
}

/// One by one: a controller that is refused must not keep the others out.
fn pass_on(root: &Path, controller: &str) -> Result<()> {
    fs::write(
        root.join("cgroup.subtree_control"),
        format!("+{controller}"),
    )?;
    Ok(())
}

fn note(available: &str, refused: &[&str]) -> Option<String> {
    let mut notes = Vec::new();
    if !available.split_whitespace().any(|c| c == "memory") {
        notes.push(
            "no memory limits; add cgroup_enable=memory to cmdline.txt of the slot".to_owned(),
        );
    }
    if !refused.is_empty() {
        notes.push(format!("refused: {}", refused.join(" ")));
    }
    (!notes.is_empty()).then(|| notes.join("; "))
}

#[cfg(test)]
mod tests {
    use super::note;

    #[test]
    fn only_what_is_missing_is_worth_a_note() {
        assert_eq!(note("cpuset cpu io memory pids\n", &[]), None);
        assert_eq!(
            note("cpu memory\n", &["cpu"]).as_deref(),
            Some("refused: cpu")
        );
        assert!(note("cpu pids\n", &[]).is_some_and(|n| n.contains("cgroup_enable=memory")));
    }
}
