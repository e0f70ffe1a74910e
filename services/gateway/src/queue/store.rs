//! The files of the queue, one a message: `waiting/SEQ-FAILURES` until it is
//! done, then `dead/SEQ` with `dead/SEQ.json` beside it if it was given up.
//! What is being written is in `new/` until it is complete and stored.
//!
//! A message has one name at any moment, whatever step a power cut hits, and a
//! name is never one of a half-written file.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    disk::Disk,
    message::{Head, Message},
};

/// As much of a body is in memory at a time.
pub(super) const CHUNK: usize = 64 << 10;
/// What a filesystem gives a file of any size.
const BLOCK: u64 = 4 << 10;

/// Why a message was given up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Why {
    /// In words.
    pub(super) reason: String,
    /// How often it was tried.
    pub(super) attempts: u32,
    /// When, by the wall clock, for people.
    pub(super) time: String,
    /// When, in hours of operation: these never jump.
    pub(super) hour: u64,
}

/// A message that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dead {
    pub(super) id: String,
    pub(super) function: String,
    pub(super) why: Why,
    /// What it takes of the disk.
    pub(super) size: u64,
    /// Whether it can be called again.
    pub(super) whole: bool,
}

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) seq: u64,
    pub(super) failures: u32,
    pub(super) function: String,
    /// What it takes of the disk.
    pub(super) size: u64,
}

/// What a folder held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) waiting: Vec<Waiting>,
    pub(super) dead: Vec<(u64, Dead)>,
    /// The number of the next message.
    pub(super) next: u64,
}

/// The folder of the queue.
#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
    disk: Box<dyn Disk>,
}

impl Store {
    /// Opens a folder, making it where there is none. Leftovers of unfinished
    /// writes are removed; what cannot be read becomes a dead letter with what
    /// `why` says of it.
    pub(super) fn open(
        root: &Path,
        disk: Box<dyn Disk>,
        why: impl Fn(String) -> Why,
    ) -> io::Result<(Self, Found)> {
        let store = Self {
            root: root.to_owned(),
            disk,
        };
        let (new, waiting, dead) = (store.unfinished(), store.waiting(), store.dead());
        for folder in [&new, &waiting, &dead] {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(folder)?;
        }
        for folder in [Some(root), root.parent()].into_iter().flatten() {
            store.disk.sync_folder(folder)?;
        }
        for name in names(&new)? {
            complain(&name, store.disk.remove(&new.join(&name)));
        }

        let mut found = Found::default();
        let mut damaged = Vec::new();
        let mut numbers = HashSet::new();
        for name in names(&waiting)? {
            let path = waiting.join(&name);
            match (parse_waiting(&name), Message::open(&path)) {
                (Some((seq, _)), Ok(_)) if !numbers.insert(seq) => {
                    damaged.push((name, "another one has its number".to_owned()));
                }
                (Some((seq, failures)), Ok(message)) => {
                    found.next = found.next.max(seq.saturating_add(1));
                    found.waiting.push(Waiting {
                        seq,
                        failures,
                        function: message.head.function,
                        size: size_of(&path),
                    });
                }
                (None, _) => damaged.push((name, "its name is not that of a message".to_owned())),
                (_, Err(error)) => damaged.push((name, error.to_string())),
            }
        }
        found.waiting.sort_by_key(|waiting| waiting.seq);

        for name in names(&dead)? {
            let message = dead.join(name.strip_suffix(".json").unwrap_or(&name));
            if message.try_exists()? {
                if let Some(seq) = parse_number(&name) {
                    found.next = found.next.max(seq.saturating_add(1));
                    found.dead.push((seq, store.dead_letter(seq)));
                }
            } else {
                // Of a message that was replayed or removed.
                complain(&name, store.disk.remove(&dead.join(&name)));
            }
        }
        found.dead.sort_by_key(|(seq, _)| *seq);

        for (name, reason) in damaged {
            let seq = found.next;
            found.next += 1;
            eprintln!("gateway: message {name} of the queue is damaged: {reason}");
            let why = why(format!("the file {name} is damaged: {reason}"));
            match store.bury_file(&waiting.join(&name), seq, &why) {
                Ok(dead) => found.dead.push((seq, dead)),
                Err(error) => complain(&name, Err(error)),
            }
        }
        Ok((store, found))
    }

    fn unfinished(&self) -> PathBuf {
        self.root.join("new")
    }

    fn waiting(&self) -> PathBuf {
        self.root.join("waiting")
    }

    fn dead(&self) -> PathBuf {
        self.root.join("dead")
    }

    fn waiting_path(&self, seq: u64, failures: u32) -> PathBuf {
        self.waiting().join(format!("{seq:016x}-{failures}"))
    }

    fn dead_path(&self, seq: u64) -> PathBuf {
        self.dead().join(format!("{seq:016x}"))
    }

    /// Opens a message that waits.
    pub(super) fn message(&self, seq: u64, failures: u32) -> io::Result<Message> {
        Message::open(&self.waiting_path(seq, failures))
    }

    /// Remembers how often a message failed. Nothing is lost when a power cut
    /// takes this back.
    pub(super) fn retry(&self, seq: u64, from: u32, to: u32) -> io::Result<()> {
        self.disk
            .rename(&self.waiting_path(seq, from), &self.waiting_path(seq, to))
    }

    /// Removes a message that is done. When a power cut takes this back, it is
    /// called once more.
    pub(super) fn finish(&self, seq: u64, failures: u32) -> io::Result<()> {
        self.disk.remove(&self.waiting_path(seq, failures))
    }

    /// Makes a message that waits a dead letter.
    pub(super) fn bury(&self, seq: u64, failures: u32, why: &Why) -> io::Result<Dead> {
        self.bury_file(&self.waiting_path(seq, failures), seq, why)
    }

    fn bury_file(&self, path: &Path, seq: u64, why: &Why) -> io::Result<Dead> {
        let dead = self.dead_path(seq);
        let beside = dead.with_extension("json");
        // Left by a power cut between the two steps.
        match self.disk.remove(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Without room for the reason the message itself is still kept.
        let written = self
            .disk
            .create(&beside)
            .and_then(|()| self.disk.append(&beside, &serde_json::to_vec(why)?));
        complain(&beside.to_string_lossy(), written);
        self.disk.rename(path, &dead)?;
        Ok(Dead {
            why: why.clone(),
            ..self.dead_letter(seq)
        })
    }

    /// Reads what there is of a dead letter.
    fn dead_letter(&self, seq: u64) -> Dead {
        let path = self.dead_path(seq);
        let message = Message::open(&path);
        let why = fs::read(path.with_extension("json"))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_else(|| Why {
                reason: "the reason was not stored".to_owned(),
                ..Why::default()
            });
        let (id, function, whole) = match message {
            Ok(Message { head, .. }) => (head.call_id().to_owned(), head.function, true),
            Err(_) => (format!("{seq:016x}"), String::new(), false),
        };
        Dead {
            id,
            function,
            why,
            size: size_of(&path),
            whole,
        }
    }

    /// Makes a dead letter a message that waits, as if it had never failed.
    pub(super) fn replay(&self, seq: u64) -> io::Result<()> {
        let dead = self.dead_path(seq);
        self.disk.rename(&dead, &self.waiting_path(seq, 0))?;
        self.disk.sync_folder(&self.waiting())?;
        // Removed at the next start, if not now.
        complain("", self.disk.remove(&dead.with_extension("json")));
        Ok(())
    }

    /// Removes a dead letter.
    pub(super) fn discard(&self, seq: u64) -> io::Result<()> {
        let dead = self.dead_path(seq);
        self.disk.remove(&dead)?;
        complain("", self.disk.remove(&dead.with_extension("json")));
        Ok(())
    }
}

/// Bytes on their way to the disk. What was not kept is removed with it.
#[derive(Debug)]
pub(super) struct Draft {
    store: Arc<Store>,
    path: PathBuf,
    buffer: Vec<u8>,
    written: u64,
    there: bool,
}

impl Draft {
    /// An empty one; `name` must be its own.
    pub(super) fn new(store: &Arc<Store>, name: &str) -> Self {
        Self {
            store: Arc::clone(store),
            path: store.unfinished().join(name),
            buffer: Vec::new(),
            written: 0,
            there: false,
        }
    }

    /// How much it holds.
    pub(super) fn length(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Adds to it. Returns whether [`flush`](Self::flush) is due.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        self.buffer.extend_from_slice(bytes);
        self.buffer.len() >= CHUNK
    }

    /// Writes what is in memory.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if !self.there {
            self.store.disk.create(&self.path)?;
            self.there = true;
        }
        self.store.disk.append(&self.path, &self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes it the body of a message that waits. Returns what it takes of the
    /// disk, once it is stored.
    pub(super) fn accept(mut self, seq: u64, head: &Head) -> io::Result<u64> {
        let ending = head.ending(self.length())?;
        self.buffer.extend_from_slice(&ending);
        self.flush()?;
        let store = Arc::clone(&self.store);
        store.disk.sync(&self.path)?;
        let path = store.waiting_path(seq, 0);
        store.disk.rename(&self.path, &path)?;
        self.path = path;
        store.disk.sync_folder(&store.waiting())?;
        self.there = false;
        Ok(on_disk(self.written))
    }

    /// What it holds, if that never left memory.
    pub(super) fn in_memory(&self) -> Option<&[u8]> {
        (!self.there).then_some(&self.buffer[..])
    }

    /// Its file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.there {
            complain(
                &self.path.to_string_lossy(),
                self.store.disk.remove(&self.path),
            );
        }
    }
}

/// What a file of this length takes of the disk.
pub(super) fn on_disk(length: u64) -> u64 {
    length.div_ceil(BLOCK).max(1) * BLOCK
}

fn size_of(path: &Path) -> u64 {
    on_disk(fs::symlink_metadata(path).map_or(0, |data| data.len()))
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

fn parse_number(text: &str) -> Option<u64> {
    // The other forms of a number would be other names of the same message, and
    // behind the largest there is none.
    let number = u64::from_str_radix(text, 16).ok()?;
    (number < u64::MAX / 2 && text == format!("{number:016x}")).then_some(number)
}

fn parse_waiting(name: &str) -> Option<(u64, u32)> {
    let (seq, failures) = name.split_once('-')?;
    let number: u32 = failures.parse().ok()?;
    (failures == number.to_string()).then_some((parse_number(seq)?, number))
}

fn complain(name: &str, result: io::Result<()>) {
    if let Err(error) = result
        && error.kind() != io::ErrorKind::NotFound
    {
        eprintln!("gateway: {name} of the queue: {error}");
    }
}

#[cfg(test)]
mod tests;
