//! Root filesystems that somebody else made, taken from an image of a registry
//! or from a file: for engines and services of the user's own.

mod source;
mod unpack;

use std::fs::{self, DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rubus_service::{ImageConfig, workshop};
use serde_json::json;

use crate::compose;
use crate::engine::Engine;
use crate::output::{self, Output};

pub(crate) use unpack::{Budget, Owners, find, make_folders, replace};

/// No root is larger.
pub(crate) const LARGEST: u64 = 2 << 30;
/// Where programs are looked for, as `PATH` of a service has them.
const FOLDERS: [&str; 6] = [
    "usr/local/sbin",
    "usr/local/bin",
    "usr/sbin",
    "usr/bin",
    "sbin",
    "bin",
];

/// Where a root filesystem comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// An archive.
    File(PathBuf),
    /// An image, which the engine has or fetches.
    Image(String),
}

impl Source {
    /// What somebody meant; `folder` is what a file is relative to.
    pub(crate) fn of(text: &str, folder: &Path) -> Self {
        let path = folder.join(text);
        if text.starts_with(['/', '.']) || path.is_file() {
            Self::File(path)
        } else {
            Self::Image(text.to_owned())
        }
    }

    /// Unpacks it into the empty folder `root`. Returns what an image says
    /// about running it; nothing where it is no image.
    pub(crate) fn unpack(
        &self,
        engine: &Engine,
        root: &Path,
        budget: &mut Budget,
        output: Output,
    ) -> Result<Option<ImageConfig>> {
        match self {
            Self::File(path) => {
                output.line(&format!("unpacking {}", path.display()))?;
                source::unpack_file(path, root, budget)
            }
            Self::Image(image) => unpack_image(engine, image, root, budget, output).map(Some),
        }
    }
}

/// Has the engine that runs fetch an image, and takes the root filesystem of a
/// container of it, which is never started.
fn unpack_image(
    engine: &Engine,
    image: &str,
    root: &Path,
    budget: &mut Budget,
    output: Output,
) -> Result<ImageConfig> {
    if !engine.has_image(image)? {
        output.line(&format!("fetching {image}"))?;
        compose::pull(engine, image, output)?;
    }
    let config = engine.image_config(image)?;
    output.line(&format!("unpacking {image}"))?;
    let container = format!("ros-add-{}", std::process::id());
    // An image from scratch names no command, and a container has to have one.
    engine.create(&container, &json!({ "Image": image, "Cmd": ["none"] }))?;
    let unpacked = engine
        .export(&container)
        .map_err(anyhow::Error::from)
        .and_then(|archive| unpack::unpack(archive, root, budget, false));
    if let Err(error) = engine.remove(&container) {
        output::complain(&format!(
            "ros: cannot remove the container {container}: {error}"
        ));
    }
    unpacked.map(|()| config)
}

/// Makes a folder in which bundles are made, waits until nobody else makes or
/// removes one there, and deletes what one who was killed left. The lock ends
/// with the file.
pub(crate) fn lock(folder: &Path) -> Result<File> {
    let cannot = || format!("cannot use {}", folder.display());
    DirBuilder::new()
        .recursive(true)
        // Files in there belong to numbers that are other people here.
        .mode(0o700)
        .create(folder)
        .with_context(cannot)?;
    let file = File::create(folder.join(workshop::LOCK)).with_context(cannot)?;
    file.lock().with_context(cannot)?;
    for path in workshop::unfinished(folder) {
        if let Err(error) = fs::remove_dir_all(&path) {
            output::complain(&format!("ros: cannot delete {}: {error}", path.display()));
        }
    }
    Ok(file)
}

/// A bundle that is being made. What is left of it in its first place goes away
/// at the end: nobody finds half of one.
#[derive(Debug)]
pub(crate) struct Begun {
    path: PathBuf,
}

impl Begun {
    /// Makes the folder `name` in `folder`, which no finished one can be called,
    /// in the place of what a power cut left there.
    pub(crate) fn new(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(name);
        if path.exists() {
            fs::remove_dir_all(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The empty folder for its root filesystem.
    pub(crate) fn make_root(&self) -> Result<PathBuf> {
        let root = self.path.join("rootfs");
        fs::create_dir(&root).with_context(|| format!("cannot make {}", root.display()))?;
        Ok(root)
    }

    /// Writes a file of it.
    pub(crate) fn write(&self, name: &str, text: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Waits until all of it is on the card.
    pub(crate) fn sync(&self) -> Result<()> {
        let cannot = || format!("cannot finish {}", self.path.display());
        rustix::fs::syncfs(File::open(&self.path)?).with_context(cannot)
    }

    /// Gives it its name once all of it is on the card.
    pub(crate) fn finish(self, target: &Path) -> Result<()> {
        self.sync()?;
        let cannot = || format!("cannot finish {}", target.display());
        fs::rename(&self.path, target).with_context(cannot)?;
        let folder = target.parent().unwrap_or(Path::new("/"));
        File::open(folder)?.sync_all().with_context(cannot)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // Not there any more where it was finished.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A program of a root filesystem, found as by `PATH`; none where it is not
/// there, or behind a link.
pub(crate) fn program(root: &Path, name: &str) -> Option<PathBuf> {
    let is_file = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|it| it.is_file());
    let below = |path: &str| find(root, Path::new(path)).ok().filter(is_file);
    match name.strip_prefix('/') {
        Some(path) => below(path),
        None if name.contains('/') => None,
        None => FOLDERS
            .iter()
            .find_map(|folder| below(&format!("{folder}/{name}"))),
    }
}

/// Why a program does not run on this machine, by the head of its file. A
/// script may be anything.
pub(crate) fn wrong_machine(program: &Path) -> Result<Option<String>> {
    let mut head = Vec::new();
    File::open(program)?.take(20).read_to_end(&mut head)?;
    Ok(judge(&head))
}

fn judge(head: &[u8]) -> Option<String> {
    if head.starts_with(b"#!") {
        return None;
    }
    let machine = match (head, head.get(18..20)) {
        ([0x7f, b'E', b'L', b'F', ..], Some(&[low, high])) => u16::from_le_bytes([low, high]),
        _ => return Some("is no program".to_owned()),
    };
    let known = [
        (62, "x86_64"),
        (183, "aarch64"),
        (40, "arm"),
        (243, "riscv64"),
    ];
    let name = known.iter().find(|it| it.0 == machine).map(|it| it.1);
    let ours = std::env::consts::ARCH;
    (name != Some(ours)).then(|| {
        let name = name.unwrap_or("another processor");
        format!("is for {name}, and this board is {ours}")
    })
}

/// A text file of a root filesystem; empty where it is none.
pub(crate) fn read_text(root: &Path, path: &str) -> String {
    let found = find(root, Path::new(path)).ok();
    let is_file = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|it| it.is_file());
    let text = found
        .filter(is_file)
        .map(|path| fs::read(path).unwrap_or_default());
    String::from_utf8_lossy(&text.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(machine: u8) -> Vec<u8> {
        let mut head = b"\x7fELF".to_vec();
        head.resize(18, 0);
        head.extend([machine, 0]);
        head
    }

    #[test]
    fn a_program_for_another_processor_is_refused() {
        let (ours, other) = if std::env::consts::ARCH == "aarch64" {
            (183, 62)
        } else {
            (62, 183)
        };
        assert_eq!(judge(&elf(ours)), None);
        assert!(judge(&elf(other)).unwrap().starts_with("is for "));
        assert!(judge(&elf(7)).unwrap().contains("another processor"));
        assert_eq!(judge(b"hello").unwrap(), "is no program");
        assert_eq!(judge(b"#!/bin/sh"), None);
    }

    #[test]
    fn a_path_or_a_file_is_no_image() {
        let of = |text| Source::of(text, Path::new("."));
        for file in ["/tmp/engine.tar", "./engine.tar", "Cargo.toml"] {
            assert_eq!(of(file), Source::File(Path::new(".").join(file)));
        }
        for image in ["docker:28-dind", "registry.lan:5000/engine"] {
            assert_eq!(of(image), Source::Image(image.to_owned()));
        }
        // Beside the file that names it.
        assert_eq!(
            Source::of("./web.tar", Path::new("/home/a")),
            Source::File("/home/a/./web.tar".into())
        );
        assert_eq!(
            Source::of("/srv/web.tar", Path::new("/home/a")),
            Source::File("/srv/web.tar".into())
        );
    }

    #[test]
    fn programs_are_found_as_by_path_and_never_through_links() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::create_dir_all(root.join("opt")).unwrap();
        fs::write(root.join("usr/bin/web"), "").unwrap();
        fs::write(root.join("opt/web"), "").unwrap();
        std::os::unix::fs::symlink("/bin", root.join("bin")).unwrap();
        std::os::unix::fs::symlink("/bin/sh", root.join("usr/bin/sh")).unwrap();
        assert_eq!(program(root, "web"), Some(root.join("usr/bin/web")));
        assert_eq!(program(root, "/opt/web"), Some(root.join("opt/web")));
        for name in ["sh", "/bin/sh", "nowhere", "/usr/bin", "opt/web", ""] {
            assert_eq!(program(root, name), None, "{name}");
        }
        fs::create_dir(root.join("etc")).unwrap();
        fs::write(root.join("etc/group"), "g").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("etc/passwd")).unwrap();
        assert_eq!(read_text(root, "etc/group"), "g");
        assert_eq!(read_text(root, "etc/passwd"), "");
        assert_eq!(read_text(root, "bin/sh"), "");
    }

    #[test]
    fn an_unfinished_one_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        drop(Begun::new(folder, ".mine.new").unwrap());
        assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
        let begun = Begun::new(folder, ".mine.new").unwrap();
        begun.write("x", b"x").unwrap();
        std::mem::forget(begun);
        let again = Begun::new(folder, ".mine.new").unwrap();
        assert_eq!(fs::read_dir(again.path()).unwrap().count(), 0);
        again.finish(&folder.join("mine")).unwrap();
        let names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|it| it.unwrap().file_name())
            .collect();
        assert_eq!(names, ["mine"]);
    }
}
