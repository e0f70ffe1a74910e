//! The files in the output folder.
//!
//! Everything is written under a temporary name in the same folder and gets
//! its own name at the very end, when all of it is on the disk. A run that is
//! interrupted leaves only temporary names, which the next run removes.

mod bmap;
mod compress;

use std::{
    fs::{self, File},
    io::{self, Write},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

pub use self::compress::Compression;
use self::compress::Encoder;
use crate::digest::{Digest, Hasher};

/// The ending of files that are not finished; the next run removes them.
pub const TEMPORARY: &str = ".partial";
/// Bytes that are read as one; a multiple of a block of the map.
const CHUNK: usize = 1 << 20;

/// The output folder while a build writes into it. What is not committed goes
/// away with it.
#[derive(Debug)]
pub struct Outputs {
    folder: PathBuf,
    stem: String,
    files: Vec<Output>,
}

/// A file that will get its name with [`Outputs::commit`].
#[derive(Debug)]
struct Output {
    name: String,
    file: File,
    sha256: Option<String>,
}

/// A file that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, in hexadecimal; the list of hashes itself has none.
    pub sha256: Option<String>,
}

impl Outputs {
    /// Opens the output folder, makes it where it is missing, and removes what
    /// an interrupted run left there for the same image.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(folder: &Path, stem: &str) -> Result<Self> {
        let at = || format!("cannot use {} as the output folder", folder.display());
        fs::create_dir_all(folder).with_context(at)?;
        let prefix = format!(".{stem}.");
        for entry in fs::read_dir(folder).with_context(at)? {
            let entry = entry.with_context(at)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(&prefix) && name.ends_with(TEMPORARY) {
                fs::remove_file(entry.path()).with_context(at)?;
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            stem: stem.to_owned(),
            files: Vec::new(),
        })
    }

    fn temporary(&self, name: &str) -> PathBuf {
        self.folder.join(format!(".{name}{TEMPORARY}"))
    }

    fn create(&mut self, extension: &str) -> Result<File> {
        let name = format!("{}.{extension}", self.stem);
        let path = self.temporary(&name);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let handle = file.try_clone()?;
        self.files.push(Output {
            name,
            file,
            sha256: None,
        });
        Ok(handle)
    }

    /// Begins `STEM.img`, for [`super::disk::write`]; [`Outputs::pack`]
    /// finishes it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn image(&mut self) -> Result<File> {
        self.create("img")
    }

    /// Writes a small file `STEM.EXTENSION`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, extension: &str, bytes: &[u8]) -> Result<()> {
        let mut file = self.create(extension)?;
        file.write_all(bytes)
            .with_context(|| format!("cannot write {}.{extension}", self.stem))?;
        self.set_sha256(Digest::of(bytes).to_string());
        Ok(())
    }

    fn set_sha256(&mut self, sha256: String) {
        if let Some(last) = self.files.last_mut() {
            last.sha256 = Some(sha256);
        }
    }

    /// Reads the finished image once, and writes its compressed form and its
    /// map. `ranges` is what a card needs of it, in order; the rest is zeros.
    /// `progress` gets the number of bytes that are done.
    ///
    /// # Errors
    /// When the image cannot be read, or the others cannot be written.
    pub fn pack(
        &mut self,
        image: &File,
        ranges: &[Range<u64>],
        compression: Compression,
        threads: usize,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let size = image.metadata()?.len();
        let blocks = bmap::blocks(ranges, size);
        let mut map = bmap::Map::new(size, &blocks);
        let mut whole = Hasher::default();
        let mut encoder = Encoder::start(compression, threads, size, |extension| {
            self.create(&format!("img.{extension}"))
        })?;
        let zeros = vec![0; CHUNK];
        let mut buffer = vec![0; CHUNK];
        let mut position = 0;
        let mut feed = |bytes: &[u8]| -> Result<()> {
            whole.update(bytes);
            if let Some(encoder) = &mut encoder {
                encoder
                    .write_all(bytes)
                    .with_context(|| format!("cannot write the compressed {}.img", self.stem))?;
            }
            position += bytes.len() as u64;
            progress(position);
            Ok(())
        };
        let mut at = 0;
        for range in blocks.iter().chain([&(size..size)]) {
            for hole in chunks(at..range.start) {
                feed(&zeros[..hole.end as usize - hole.start as usize])?;
            }
            for piece in chunks(range.clone()) {
                let bytes = &mut buffer[..(piece.end - piece.start) as usize];
                image
                    .read_exact_at(bytes, piece.start)
                    .context("cannot read the image back")?;
                map.update(bytes);
                feed(bytes)?;
            }
            map.end_range(range.clone());
            at = range.end;
        }
        let whole = whole.finish().to_string();
        let compressed = encoder.map(Encoder::finish).transpose()?;
        for output in &mut self.files {
            if output.name == format!("{}.img", self.stem) {
                output.sha256 = Some(whole.clone());
            } else if output.sha256.is_none() {
                output.sha256.clone_from(&compressed);
            }
        }
        self.add("bmap", map.xml().as_bytes())
    }

    /// Writes `STEM.sha256` and gives every file its name.
    ///
    /// # Errors
    /// When a file cannot be brought to the disk or renamed.
    pub fn commit(mut self) -> Result<Vec<Finished>> {
        let list: String = self
            .files
            .iter()
            .filter_map(|output| Some(format!("{}  {}\n", output.sha256.as_ref()?, output.name)))
            .collect();
        let mut file = self.create("sha256")?;
        file.write_all(list.as_bytes())
            .with_context(|| format!("cannot write {}.sha256", self.stem))?;
        for output in &self.files {
            output
                .file
                .sync_all()
                .with_context(|| format!("cannot write {}", output.name))?;
        }
        let mut finished = Vec::new();
        for output in &self.files {
            let path = self.folder.join(&output.name);
            fs::rename(self.temporary(&output.name), &path)
                .with_context(|| format!("cannot write {}", path.display()))?;
            finished.push(Finished {
                path,
                size: output.file.metadata()?.len(),
                sha256: output.sha256.clone(),
            });
        }
        self.files.clear();
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("cannot write {}", self.folder.display()))?;
        Ok(finished)
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        for output in &self.files {
            // What cannot be removed now is removed by the next run.
            let _ = fs::remove_file(self.temporary(&output.name));
        }
    }
}

fn chunks(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = range.end;
    range
        .step_by(CHUNK)
        .map(move |start| start..(start + CHUNK as u64).min(end))
}

/// Passes bytes on and hashes them.
struct Hashing<W> {
    inner: W,
    hasher: Hasher,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Hasher::default(),
        }
    }

    fn finish(self) -> String {
        self.hasher.finish().to_string()
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
