//! Keeps how orphans ended, for a runtime that adopted them.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use rubus_config::paths;
use rubus_config::reaped::Reaped;

use crate::log;
use crate::sys::process::Ended;
use rubus_config::files;

/// How many ends are kept.
const KEPT: usize = 64;

/// The last orphans that ended.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    last: VecDeque<Reaped>,
}

impl Orphans {
    /// Adds some and writes them all out.
    pub(super) fn record(&mut self, ended: &[Ended]) {
        self.add(ended);
        if let Err(error) =
            files::replace_lazily(Path::new(paths::REAPED), self.text().as_bytes(), 0o600)
        {
            log::error(&format!("cannot write {}: {error}", paths::REAPED));
        }
    }

    fn add(&mut self, ended: &[Ended]) {
        self.last.extend(ended.iter().map(|ended| Reaped {
            pid: ended.pid,
            status: ended.status.into_raw(),
        }));
        let surplus = self.last.len().saturating_sub(KEPT);
        self.last.drain(..surplus);
    }

    fn text(&self) -> String {
        self.last
            .iter()
            .filter_map(|reaped| serde_json::to_string(reaped).ok())
            .map(|line| line + "\n")
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::{KEPT, Orphans};
    use crate::sys::process::Ended;

    #[test]
    fn the_last_ends_are_kept_one_a_line() {
        let mut orphans = Orphans::default();
        for pid in 1..=KEPT as i32 + 2 {
            orphans.add(&[Ended {
                pid,
                status: ExitStatus::from_raw(9),
            }]);
        }
        let text = orphans.text();
        assert_eq!(text.lines().count(), KEPT);
        assert_eq!(text.lines().next(), Some(r#"{"pid":3,"status":9}"#));
    }
}
