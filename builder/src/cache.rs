//! The cache: files named by their SHA-256, each visible only once its hash held.
//!
//! ```text
//! sha256/ab/<hex>   complete files
//! partial/<hex>     downloads that are not complete; each is locked while one is written
//! trees/ab/<hex>.*  unpacked packages
//! tmp/              files on their way to one of the others
//! ```
//!
//! Several builders may use one cache at once: files appear by renaming, and a
//! download belongs to whoever holds the lock on its file.

use std::{
    env,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail, ensure};
use sha2::Digest as _;
use tempfile::NamedTempFile;

use crate::digest::Digest;

/// How old a temporary file is when nobody can still be writing it.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// A cache folder.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens the user's cache: `$XDG_CACHE_HOME/rubus`, else `~/.cache/rubus`.
    ///
    /// # Errors
    /// When neither variable is set, or the folder cannot be made.
    pub fn open() -> Result<Self> {
        let set = |name| env::var_os(name).filter(|value: &_| Path::new(value).is_absolute());
        let base = match (set("XDG_CACHE_HOME"), set("HOME")) {
            (Some(cache), _) => PathBuf::from(cache),
            (None, Some(home)) => Path::new(&home).join(".cache"),
            (None, None) => bail!("there is no place for the cache: set XDG_CACHE_HOME or HOME"),
        };
        Self::at(base.join("rubus"))
    }

    /// Opens a cache in the given folder, which is made where it is missing.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn at(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        for folder in ["sha256", "partial", "trees", "tmp"] {
            make_folder(&root.join(folder))?;
        }
        let cache = Self { root };
        cache.sweep();
        Ok(cache)
    }

    /// Where a complete file is, or will be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.sharded("sha256", &digest.to_string())
    }

    /// The folder of prepared kernels.
    pub(crate) fn kernels(&self) -> PathBuf {
        self.root.join("kernels")
    }

    /// A complete file, when it is there.
    ///
    /// A file of another size is what a power cut leaves of one whose bytes had
    /// not reached the disk; it counts as missing, and is removed.
    pub fn find(&self, digest: &Digest, size: u64) -> Option<PathBuf> {
        let path = self.path(digest);
        let found = fs::metadata(&path).ok()?.len();
        if found == size {
            return Some(path);
        }
        // When it cannot be removed, the rename of the new download says why.
        let _ = fs::remove_file(&path);
        None
    }

    /// The content of a small file, when it is there; its hash is checked, as
    /// nobody may know its size.
    pub fn read(&self, digest: &Digest, limit: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.path(digest)).ok()?;
        file.take(limit).read_to_end(&mut bytes).ok()?;
        (Digest::of(&bytes) == *digest).then_some(bytes)
    }

    /// Stores bytes whose hash the caller has checked, or does not need to.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn store(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if self.find(&digest, bytes.len() as u64).is_none() {
            let mut file = self.temporary()?;
            file.write_all(bytes)
                .with_context(|| format!("cannot write {}", file.path().display()))?;
            self.publish(file, &self.path(&digest))?;
        }
        Ok(digest)
    }

    /// Claims a file for downloading, waiting for another process that is at it.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn claim(&self, digest: Digest, size: u64) -> Result<Claim> {
        let path = self.root.join("partial").join(digest.to_string());
        let doing = || format!("cannot write {}", path.display());
        loop {
            if let Some(found) = self.find(&digest, size) {
                return Ok(Claim::Complete(found));
            }
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .with_context(doing)?;
            file.lock().with_context(doing)?;
            // Whoever held the lock before may have moved the file away: then
            // this is a lock on something that others no longer see.
            let own = file.metadata().with_context(doing)?;
            match fs::metadata(&path) {
                Ok(seen) if seen.ino() == own.ino() && seen.dev() == own.dev() => {
                    let partial = Partial {
                        file,
                        path: path.clone(),
                        target: self.path(&digest),
                        hasher: sha2::Sha256::new(),
                        length: 0,
                        digest,
                        size,
                    };
                    return Ok(Claim::Partial(partial.resume().with_context(doing)?));
                }
                _ => continue,
            }
        }
    }

    /// A temporary file on the filesystem of the cache; gone when dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn temporary(&self) -> Result<NamedTempFile> {
        let folder = self.root.join("tmp");
        NamedTempFile::new_in(&folder)
            .with_context(|| format!("cannot make a file in {}", folder.display()))
    }

    /// Gives a temporary file its final name, replacing what has it.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn publish(&self, file: NamedTempFile, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            make_folder(folder)?;
        }
        file.persist(path)
            .map(drop)
            .map_err(|error| error.error)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Where the files of an unpacked package are.
    pub(crate) fn tree_path(&self, key: &Digest, extension: &str) -> PathBuf {
        self.sharded("trees", &key.to_string())
            .with_extension(extension)
    }

    fn sharded(&self, kind: &str, name: &str) -> PathBuf {
        self.root.join(kind).join(&name[..2]).join(name)
    }

    /// Removes the temporary files of processes that were killed.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(self.root.join("tmp")) else {
            return;
        };
        let now = SystemTime::now();
        for entry in entries.flatten() {
            let age = entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .ok()
                .and_then(|modified| now.duration_since(modified).ok());
            if age.is_some_and(|age| age > ABANDONED) {
                // Another process may have been faster.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// What [`Cache::claim`] found.
#[derive(Debug)]
pub enum Claim {
    /// The file is complete.
    Complete(PathBuf),
    /// It has to be downloaded, from where it stopped.
    Partial(Partial),
}

/// A download in progress, locked against other processes.
#[derive(Debug)]
pub struct Partial {
    file: File,
    path: PathBuf,
    target: PathBuf,
    hasher: sha2::Sha256,
    length: u64,
    digest: Digest,
    size: u64,
}

impl Partial {
    /// How many bytes are there.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether there is nothing yet.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether all bytes are there.
    pub fn is_full(&self) -> bool {
        self.length == self.size
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// When the file would become longer than it was said to be, or cannot be
    /// written.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() as u64 > self.size - self.length {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("there is more than the {} bytes announced", self.size),
            ));
        }
        self.file.write_all(bytes).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot write {}: {error}", self.path.display()),
            )
        })?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Forgets what is there.
    ///
    /// # Errors
    /// When the file cannot be emptied.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hasher = sha2::Sha256::new();
        self.length = 0;
        Ok(())
    }

    /// Makes the file visible if its hash holds; hands the download back,
    /// emptied, if not.
    ///
    /// # Errors
    /// When the file cannot be renamed.
    pub fn finish(mut self) -> Result<Result<PathBuf, Self>> {
        ensure!(self.is_full(), "{} is not complete", self.path.display());
        let found = Digest::from(self.hasher.finalize_reset());
        if found != self.digest {
            self.restart()
                .with_context(|| format!("cannot write {}", self.path.display()))?;
            return Ok(Err(self));
        }
        if let Some(folder) = self.target.parent() {
            make_folder(folder)?;
        }
        fs::rename(&self.path, &self.target)
            .with_context(|| format!("cannot write {}", self.target.display()))?;
        Ok(Ok(self.target))
    }

    /// Takes up what an earlier attempt left.
    fn resume(mut self) -> io::Result<Self> {
        if self.file.metadata()?.len() > self.size {
            self.restart()?;
            return Ok(self);
        }
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.file.read(&mut buffer)? {
                0 => return Ok(self),
                count => {
                    self.hasher.update(&buffer[..count]);
                    self.length += count as u64;
                }
            }
        }
    }
}

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        (folder, cache)
    }

    fn partial(cache: &Cache, digest: Digest, size: u64) -> Partial {
        match cache.claim(digest, size).unwrap() {
            Claim::Partial(partial) => partial,
            Claim::Complete(path) => panic!("{} is complete", path.display()),
        }
    }

    #[test]
    fn a_file_is_visible_only_when_it_is_complete() {
        let (_folder, cache) = cache();
        let digest = Digest::of(b"hello");
        let mut download = partial(&cache, digest, 5);
        download.append(b"hel").unwrap();
        assert!(cache.find(&digest, 5).is_none());
        download.append(b"lo").unwrap();
        assert!(cache.find(&digest, 5).is_none());
        let path = download.finish().unwrap().unwrap();
        assert_eq!(fs::read(path).unwrap(), b"hello");
        assert!(matches!(
            cache.claim(digest, 5).unwrap(),
            Claim::Complete(_)
        ));
    }

    #[test]
    fn a_broken_download_goes_on_where_it_stopped() {
        let (_folder, cache) = cache();
        let digest = Digest::of(b"hello");
        partial(&cache, digest, 5).append(b"hel").unwrap();
        let mut download = partial(&cache, digest, 5);
        assert_eq!(download.len(), 3);
        download.append(b"lo").unwrap();
        assert!(download.finish().unwrap().is_ok());
    }

    #[test]
    fn a_wrong_hash_is_never_visible_and_begins_anew() {
        let (_folder, cache) = cache();
        let digest = Digest::of(b"hello");
        let mut download = partial(&cache, digest, 5);
        download.append(b"jello").unwrap();
        let again = download.finish().unwrap().unwrap_err();
        assert!(again.is_empty());
        assert!(cache.find(&digest, 5).is_none());
    }

    #[test]
    fn more_than_the_size_is_refused() {
        let (_folder, cache) = cache();
        let mut download = partial(&cache, Digest::of(b"hello"), 5);
        download.append(b"hell").unwrap();
        let error = download.append(b"oo").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_file_cut_off_by_a_power_cut_counts_as_missing() {
        let (_folder, cache) = cache();
        let digest = cache.store(b"hello").unwrap();
        fs::write(cache.path(&digest), b"").unwrap();
        assert!(cache.read(&digest, 100).is_none());
        assert!(cache.find(&digest, 5).is_none());
        cache.store(b"hello").unwrap();
        assert!(cache.find(&digest, 5).is_some());
        assert_eq!(cache.read(&digest, 100).unwrap(), b"hello");
    }

    #[test]
    fn a_second_process_waits_and_finds_the_file_complete() {
        let (_folder, cache) = cache();
        let digest = Digest::of(b"hello");
        let mut first = partial(&cache, digest, 5);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| cache.claim(digest, 5).unwrap());
            first.append(b"hello").unwrap();
            first.finish().unwrap().unwrap();
            assert!(matches!(second.join().unwrap(), Claim::Complete(_)));
        });
    }

    #[test]
    fn only_old_temporary_files_are_swept() {
        let (folder, cache) = cache();
        let old = folder.path().join("tmp/old");
        let new = folder.path().join("tmp/new");
        for path in [&old, &new] {
            fs::write(path, "x").unwrap();
        }
        let then = SystemTime::now() - 2 * ABANDONED;
        File::options()
            .write(true)
            .open(&old)
            .unwrap()
            .set_modified(then)
            .unwrap();
        cache.sweep();
        assert!(!old.exists());
        assert!(new.exists());
    }
}
