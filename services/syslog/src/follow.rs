//! Following the log of a service: two files, of which the older goes when the
//! newer is full and takes its place.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use rubus_service::status::LogLine;
use serde::{Deserialize, Serialize};

/// How much is read at once; more than the longest line.
const BLOCK: usize = 64 * 1024;

/// Up to where a log was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Of the file.
    inode: u64,
    offset: u64,
}

/// The log of one service.
pub(crate) struct Follower {
    path: PathBuf,
    older: PathBuf,
    /// Where a former run was.
    start: Option<Position>,
    current: Option<(File, Position)>,
}

/// Whole lines, and where they end.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    end: Position,
}

impl Batch {
    /// The lines; one that makes no sense is left out.
    pub(crate) fn lines(&self) -> impl Iterator<Item = LogLine> {
        let lines = self.bytes.split(|&byte| byte == b'\n');
        lines.filter_map(|line| serde_json::from_slice(line).ok())
    }
}

/// The services that have a log.
pub(crate) fn services(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            Some(name.to_str()?.strip_suffix(".log")?.to_owned())
        })
        .collect();
    names.sort_unstable();
    Ok(names)
}

impl Follower {
    /// Follows the log of a service from where a former run was; without one
    /// from the beginning of the newer file, for the older one may be from
    /// before the boot.
    pub(crate) fn new(folder: &Path, name: &str, start: Option<Position>) -> Follower {
        Follower {
            path: folder.join(format!("{name}.log")),
            older: folder.join(format!("{name}.log.1")),
            start,
            current: None,
        }
    }

    /// Up to where it was sent.
    pub(crate) fn position(&self) -> Option<Position> {
        self.current.as_ref().map(|(_, position)| *position)
    }

    /// The lines that come next; none when there are no more yet.
    pub(crate) fn next(&mut self) -> io::Result<Option<Batch>> {
        if self.current.is_none() {
            self.current = self.open_first()?;
        }
        loop {
            let Some((file, position)) = &self.current else {
                return Ok(None);
            };
            if let Some(batch) = read(file, *position)? {
                return Ok(Some(batch));
            }
            // All of this one: the files may have been changed.
            match open(&self.path)? {
                Some((next, start)) if start.inode != position.inode => {
                    self.current = Some((next, start));
                }
                _ => return Ok(None),
            }
        }
    }

    /// Lines were sent.
    pub(crate) fn done(&mut self, batch: &Batch) {
        if let Some((_, position)) = &mut self.current {
            *position = batch.end;
        }
    }

    fn open_first(&mut self) -> io::Result<Option<(File, Position)>> {
        let newer = open(&self.path)?;
        let Some(start) = self.start.take() else {
            return Ok(newer);
        };
        let older = open(&self.older)?;
        let meant = [newer, older].into_iter().flatten();
        let mut meant = meant.filter(|(_, found)| found.inode == start.inode);
        match meant.next() {
            Some((file, _)) => Ok(Some((file, start))),
            None => open(&self.path),
        }
    }
}

fn open(path: &Path) -> io::Result<Option<(File, Position)>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let inode = file.metadata()?.ino();
    Ok(Some((file, Position { inode, offset: 0 })))
}

/// The whole lines at a place.
fn read(file: &File, position: Position) -> io::Result<Option<Batch>> {
    let mut bytes = vec![0; BLOCK];
    let count = file.read_at(&mut bytes, position.offset)?;
    bytes.truncate(count);
    let end = bytes.iter().rposition(|&byte| byte == b'\n');
    let Some(end) = end else {
        // The end of a line is being written. A whole block without one is no
        // line of the runtime's.
        return Ok((count == BLOCK).then(|| Batch {
            bytes: Vec::new(),
            end: Position {
                offset: position.offset + count as u64,
                ..position
            },
        }));
    };
    bytes.truncate(end + 1);
    let offset = position.offset + bytes.len() as u64;
    let end = Position { offset, ..position };
    Ok(Some(Batch { bytes, end }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    struct Log(tempfile::TempDir);

    impl Log {
        fn new() -> Log {
            Log(tempfile::tempdir().unwrap())
        }

        fn append(&self, text: &str) {
            let path = self.0.path().join("a.log");
            let mut file = File::options()
                .append(true)
                .create(true)
                .open(path)
                .unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn log(&self, text: &str) {
            self.append(&format!(
                "{{\"time\":\"t\",\"stream\":\"stdout\",\"text\":\"{text}\"}}\n"
            ));
        }

        fn turn(&self) {
            let path = |name: &str| self.0.path().join(name);
            fs::rename(path("a.log"), path("a.log.1")).unwrap();
        }

        fn follower(&self, start: Option<Position>) -> Follower {
            Follower::new(self.0.path(), "a", start)
        }
    }

    /// Sends all that there is.
    fn drain(follower: &mut Follower) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(batch) = follower.next().unwrap() {
            texts.extend(batch.lines().map(|line| line.text));
            follower.done(&batch);
        }
        texts
    }

    #[test]
    fn every_line_comes_once_also_across_the_turn_of_files() {
        let log = Log::new();
        let mut follower = log.follower(None);
        assert!(drain(&mut follower).is_empty());
        log.log("one");
        assert_eq!(drain(&mut follower), ["one"]);
        log.log("two");
        log.turn();
        log.log("three");
        assert_eq!(drain(&mut follower), ["two", "three"]);
        assert!(drain(&mut follower).is_empty());
    }

    #[test]
    fn what_was_not_sent_comes_again() {
        let log = Log::new();
        log.log("one");
        let mut follower = log.follower(None);
        assert!(follower.next().unwrap().is_some());
        assert_eq!(drain(&mut follower), ["one"]);
    }

    #[test]
    fn the_next_run_goes_on_where_this_one_was() {
        let log = Log::new();
        log.log("one");
        let mut follower = log.follower(None);
        drain(&mut follower);
        let position = follower.position();
        log.log("two");
        assert_eq!(drain(&mut log.follower(position)), ["two"]);
        log.turn();
        log.log("three");
        assert_eq!(drain(&mut log.follower(position)), ["two", "three"]);
        // Left behind.
        log.turn();
        log.log("four");
        assert_eq!(drain(&mut log.follower(position)), ["four"]);
    }

    #[test]
    fn lines_from_before_the_boot_are_not_sent() {
        let log = Log::new();
        log.log("before");
        log.turn();
        log.log("after");
        assert_eq!(drain(&mut log.follower(None)), ["after"]);
    }

    #[test]
    fn half_a_line_waits_and_nonsense_is_left_out() {
        let log = Log::new();
        log.append("nonsense\n{\"time\":\"t\",\"stream\":\"std");
        let mut follower = log.follower(None);
        assert!(drain(&mut follower).is_empty());
        log.append("err\",\"text\":\"whole\"}\n");
        assert_eq!(drain(&mut follower), ["whole"]);
        log.append(&"x".repeat(3 * BLOCK));
        assert!(drain(&mut follower).is_empty());
        log.append("\n");
        log.log("after");
        assert_eq!(drain(&mut follower), ["after"]);
    }

    #[test]
    fn logs_are_found_by_their_names() {
        let log = Log::new();
        log.log("x");
        log.turn();
        log.log("x");
        fs::write(log.0.path().join("b.stdout"), "").unwrap();
        assert_eq!(services(log.0.path()).unwrap(), ["a"]);
    }
}
