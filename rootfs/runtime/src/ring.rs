//! The log of a service: two files in memory, of which the older goes when the
//! newer is full. What they hold is what the API answers, one JSON object a
//! line, so that reading a log is copying bytes.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Bytes of both files together.
pub(crate) const CAPACITY: u64 = 256 * 1024;

/// Names and modes of the files, and the newer one open.
pub(crate) struct Ring {
    newer_path: PathBuf,
    older_path: PathBuf,
    newer: File,
    older: Option<File>,
    /// Length of the newer file.
    length: u64,
    /// How often files were changed: the number of the newer one.
    generation: u64,
    half: u64,
}

/// A place in a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    generation: u64,
    offset: u64,
}

/// A place in a ring that the next runtime finds again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Of the file.
    inode: u64,
    offset: u64,
}

impl Ring {
    /// Opens the ring of a service, with what is in it already.
    pub(crate) fn open(folder: &Path, name: &str, capacity: u64) -> io::Result<Ring> {
        let newer_path = folder.join(format!("{name}.log"));
        let older_path = folder.join(format!("{name}.log.1"));
        let newer = open(&newer_path)?;
        let older = File::open(&older_path).ok();
        let length = end_of_last_line(&newer)?;
        newer.set_len(length)?;
        Ok(Ring {
            newer_path,
            older_path,
            newer,
            older,
            length,
            generation: 1,
            half: capacity / 2,
        })
    }

    /// Appends whole lines.
    pub(crate) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.length > 0 && self.length + lines.len() as u64 > self.half {
            self.turn()?;
        }
        let written = self.newer.write_all(lines);
        match written {
            Ok(()) => self.length += lines.len() as u64,
            // No half line stays behind when memory is full.
            Err(_) => self.newer.set_len(self.length)?,
        }
        written
    }

    fn turn(&mut self) -> io::Result<()> {
        fs::rename(&self.newer_path, &self.older_path)?;
        let newer = open(&self.newer_path)?;
        self.older = Some(std::mem::replace(&mut self.newer, newer));
        self.length = 0;
        self.generation += 1;
        Ok(())
    }

    /// The place of the oldest line.
    pub(crate) fn start(&self) -> Cursor {
        let generation = self.generation - u64::from(self.older.is_some());
        Cursor {
            generation,
            offset: 0,
        }
    }

    /// The place of the oldest line of the newer file.
    pub(crate) fn start_of_newer(&self) -> Cursor {
        Cursor {
            generation: self.generation,
            offset: 0,
        }
    }

    /// A place for the next runtime.
    pub(crate) fn position(&self, cursor: &Cursor) -> io::Result<Position> {
        let file = match &self.older {
            Some(older) if cursor.generation < self.generation => older,
            _ => &self.newer,
        };
        Ok(Position {
            inode: file.metadata()?.ino(),
            offset: cursor.offset,
        })
    }

    /// The place that a former runtime meant: the oldest line where its file is
    /// gone.
    pub(crate) fn cursor(&self, position: &Position) -> io::Result<Cursor> {
        let is_in = |file: &File| Ok::<_, io::Error>(file.metadata()?.ino() == position.inode);
        let offset = position.offset;
        if is_in(&self.newer)? {
            return Ok(Cursor {
                generation: self.generation,
                offset,
            });
        }
        match &self.older {
            Some(older) if is_in(older)? => Ok(Cursor {
                generation: self.generation - 1,
                offset,
            }),
            _ => Ok(self.start()),
        }
    }

    /// The place from which `count` lines follow, or fewer when there are
    /// fewer.
    pub(crate) fn tail(&self, count: usize) -> io::Result<Cursor> {
        let newer = self.start_of_newer();
        let mut count = count;
        if let Some(offset) = last_lines(&self.newer, self.length, &mut count)? {
            return Ok(Cursor { offset, ..newer });
        }
        let Some(older) = &self.older else {
            return Ok(newer);
        };
        let offset = last_lines(older, older.metadata()?.len(), &mut count)?.unwrap_or(0);
        Ok(Cursor {
            generation: self.generation - 1,
            offset,
        })
    }

    /// All that follows a place, as it is now.
    pub(crate) fn read_all(&self, mut cursor: Cursor) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.read(&mut cursor, &mut buffer)? {
                0 => return Ok(all),
                count => all.extend(&buffer[..count]),
            }
        }
    }

    /// Reads on from a place; 0 bytes: there is no more yet. A reader that was
    /// left behind goes on with the oldest line.
    pub(crate) fn read(&self, cursor: &mut Cursor, buffer: &mut [u8]) -> io::Result<usize> {
        if cursor.generation < self.start().generation {
            *cursor = self.start();
        }
        if cursor.generation < self.generation {
            if let Some(older) = &self.older {
                let count = older.read_at(buffer, cursor.offset)?;
                if count > 0 {
                    cursor.offset += count as u64;
                    return Ok(count);
                }
            }
            *cursor = Cursor {
                generation: self.generation,
                offset: 0,
            };
        }
        let count = self.newer.read_at(buffer, cursor.offset)?;
        cursor.offset += count as u64;
        Ok(count)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

/// The length of a file up to the end of its last whole line: what follows was
/// being written when the runtime was killed, and is still in the FIFO.
fn end_of_last_line(file: &File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut count = 0;
    // The start of the line that comes after zero whole ones.
    Ok(last_lines(file, length, &mut count)?.unwrap_or(0))
}

/// Where the last `count` lines of a file begin; `None`, and `count` less what
/// there is, when the file has fewer.
fn last_lines(file: &File, length: u64, count: &mut usize) -> io::Result<Option<u64>> {
    let mut block = [0; 4096];
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let block = &mut block[..usize::try_from(end - start).unwrap_or(0)];
        file.read_exact_at(block, start)?;
        for (index, _) in block
            .iter()
            .enumerate()
            .rev()
            .filter(|&(_, &byte)| byte == b'\n')
        {
            if *count == 0 {
                return Ok(Some(start + index as u64 + 1));
            }
            *count -= 1;
        }
        end = start;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(folder: &Path, capacity: u64) -> Ring {
        Ring::open(folder, "a", capacity).unwrap()
    }

    fn read_from(ring: &Ring, cursor: Cursor) -> String {
        String::from_utf8(ring.read_all(cursor).unwrap()).unwrap()
    }

    #[test]
    fn what_goes_in_comes_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = ring(folder.path(), 1000);
        ring.append(b"one\ntwo\n").unwrap();
        ring.append(b"three\n").unwrap();
        assert_eq!(read_from(&ring, ring.start()), "one\ntwo\nthree\n");
        assert_eq!(read_from(&ring, ring.tail(2).unwrap()), "two\nthree\n");
        assert_eq!(read_from(&ring, ring.tail(0).unwrap()), "");
        assert_eq!(
            read_from(&ring, ring.tail(99).unwrap()),
            "one\ntwo\nthree\n"
        );
    }

    #[test]
    fn it_never_grows_beyond_its_capacity_and_keeps_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = ring(folder.path(), 100);
        for number in 0..1000 {
            ring.append(format!("line {number}\n").as_bytes()).unwrap();
            let size: u64 = fs::read_dir(folder.path())
                .unwrap()
                .map(|it| it.unwrap().metadata().unwrap().len())
                .sum();
            assert!(size <= 100, "{size}");
        }
        let text = read_from(&ring, ring.start());
        assert!(text.ends_with("line 998\nline 999\n"));
        assert_eq!(read_from(&ring, ring.tail(6).unwrap()).lines().count(), 6);
    }

    #[test]
    fn a_follower_reads_across_the_turn_of_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = ring(folder.path(), 40);
        let mut cursor = ring.tail(0).unwrap();
        let mut buffer = [0; 64];
        let mut seen = String::new();
        for number in 0..20 {
            ring.append(format!("line {number}\n").as_bytes()).unwrap();
            loop {
                let count = ring.read(&mut cursor, &mut buffer).unwrap();
                if count == 0 {
                    break;
                }
                seen.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
            }
        }
        let expected: String = (0..20).map(|it| format!("line {it}\n")).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_follower_that_was_left_behind_goes_on_with_the_oldest_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = ring(folder.path(), 40);
        let cursor = ring.tail(0).unwrap();
        for number in 0..100 {
            ring.append(format!("line {number}\n").as_bytes()).unwrap();
        }
        assert!(read_from(&ring, cursor).starts_with("line 9"));
    }

    #[test]
    fn a_half_written_line_is_dropped_when_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        ring(folder.path(), 1000).append(b"one\ntw").unwrap();
        let mut again = ring(folder.path(), 1000);
        assert_eq!(read_from(&again, again.start()), "one\n");
        again.append(b"two\n").unwrap();
        assert_eq!(read_from(&again, again.start()), "one\ntwo\n");
        fs::write(folder.path().join("a.log"), "no end").unwrap();
        let again = ring(folder.path(), 1000);
        assert_eq!(read_from(&again, again.start()), "");
    }
}
