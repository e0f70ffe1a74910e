//! Writes files for root where others may own the folders on the way: a link
//! that one of them made must not lead root elsewhere, to a file that is then
//! overwritten or given away.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs::{File, Permissions},
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{MetadataExt, PermissionsExt, fchown},
    },
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, open, openat, readlinkat, renameat},
    sys::stat::{Mode, SFlag, fstat, fstatat, mkdirat},
    unistd::{UnlinkatFlags, unlinkat},
};

/// As many links on the way as the kernel follows.
const MOST_LINKS: usize = 40;

/// How folders on the way are opened.
const FOLDER: OFlag = OFlag::O_PATH
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// Where a file is to be: its folder, which is held open, and its name there.
#[derive(Debug)]
pub(crate) struct Place {
    folder: OwnedFd,
    name: OsString,
}

impl Place {
    /// Goes to the folder of `path`, which is absolute, below `root`, and makes
    /// what is missing. Links are followed only if `trusted` and nobody else
    /// can have made them.
    ///
    /// # Errors
    /// When the way cannot be gone.
    pub(crate) fn make(root: &Path, path: &Path, trusted: u32) -> io::Result<Place> {
        let mut ahead: VecDeque<OsString> = names(path)?.into();
        let name = ahead.pop_back().ok_or_else(|| wrong("it names no file"))?;
        // Opened so that `..` of a link is where it was come from.
        let mut way = vec![open(root, FOLDER, Mode::empty())?];
        let mut links = 0;
        while let Some(step) = ahead.pop_front() {
            if step == ".." {
                if way.len() > 1 {
                    way.pop();
                }
                continue;
            }
            let here = way.last().ok_or(Errno::ENOENT)?;
            match openat(here, step.as_os_str(), FOLDER, Mode::empty()) {
                Ok(folder) => way.push(folder),
                Err(Errno::ENOENT) => {
                    let mode = Mode::from_bits_truncate(0o755);
                    match mkdirat(here, step.as_os_str(), mode) {
                        Ok(()) | Err(Errno::EEXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    ahead.push_front(step);
                }
                // Something else: a link, or not a folder at all.
                Err(Errno::ENOTDIR | Errno::ELOOP) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::ELOOP.into());
                    }
                    let target = follow(here, &step, trusted)?;
                    if target.is_absolute() {
                        way.truncate(1);
                    }
                    for name in names(&target)?.into_iter().rev() {
                        ahead.push_front(name);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        let folder = way.pop().ok_or(Errno::ENOENT)?;
        Ok(Place { folder, name })
    }

    /// Puts a file in the place of whatever is there. Nobody sees it before it
    /// is whole, and only its owner what is in it.
    ///
    /// # Errors
    /// When it cannot be written; what was there is still there.
    pub(crate) fn replace(&self, content: &[u8], mode: u32, owner: (u32, u32)) -> io::Result<()> {
        let mut temporary = self.name.clone();
        temporary.push(".new");
        match unlinkat(
            &self.folder,
            temporary.as_os_str(),
            UnlinkatFlags::NoRemoveDir,
        ) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let mut file = self.open(&temporary, OFlag::O_EXCL)?;
        file.write_all(content)?;
        hand_over(&file, mode, owner)?;
        file.sync_all()?;
        renameat(
            &self.folder,
            temporary.as_os_str(),
            &self.folder,
            self.name.as_os_str(),
        )?;
        // A handle that only names a folder cannot be synced.
        let folder = openat(
            &self.folder,
            ".",
            OFlag::O_RDONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        File::from(folder).sync_all()
    }

    /// Adds to a file, or makes it.
    ///
    /// # Errors
    /// When it is no plain file with this name alone, or cannot be written.
    pub(crate) fn append(&self, content: &[u8], mode: u32, owner: (u32, u32)) -> io::Result<()> {
        let mut file = self.open(&self.name, OFlag::O_APPEND | OFlag::O_NONBLOCK)?;
        let meta = file.metadata()?;
        if !meta.is_file() || meta.nlink() > 1 {
            return Err(wrong("it is not a plain file of one name"));
        }
        file.write_all(content)?;
        hand_over(&file, mode, owner)?;
        file.sync_all()
    }

    fn open(&self, name: &OsStr, how: OFlag) -> io::Result<File> {
        let always = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o600);
        Ok(openat(&self.folder, name, always | how, mode)?.into())
    }
}

/// Where a link leads.
fn follow(folder: impl AsFd, name: &OsStr, trusted: u32) -> io::Result<PathBuf> {
    let link = fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if link.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFLNK.bits() {
        return Err(wrong(&format!("{} is not a folder", name.display())));
    }
    let around = fstat(&folder)?;
    let others_write = around.st_mode & 0o022 != 0;
    if link.st_uid != trusted || around.st_uid != trusted || others_write {
        return Err(wrong(&format!(
            "{} is a link that somebody else may have made; name the folder itself",
            name.display()
        )));
    }
    Ok(readlinkat(&folder, name)?.into())
}

/// The names on the way, from the root or from where a link is; `..` only where
/// a link says so.
fn names(path: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => names.push(name.to_owned()),
            Component::ParentDir => names.push("..".into()),
            Component::Prefix(_) => return Err(wrong("it is no path of this system")),
        }
    }
    Ok(names)
}

/// The owner first: a change of owner clears bits of the mode.
fn hand_over(file: &File, mode: u32, (user, group): (u32, u32)) -> io::Result<()> {
    fchown(file, Some(user), Some(group))?;
    file.set_permissions(Permissions::from_mode(mode))
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why.to_owned())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    /// A folder that stands for the root, whoever runs the tests for root, and
    /// what our files belong to.
    struct Scene {
        root: PathBuf,
        me: (u32, u32),
    }

    impl Scene {
        fn new(name: &str) -> Scene {
            let root = std::env::temp_dir().join(format!("place-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&root);
            fs::create_dir_all(&root).unwrap();
            let meta = fs::metadata(&root).unwrap();
            let me = (meta.uid(), meta.gid());
            Scene { root, me }
        }

        fn place(&self, path: &str) -> io::Result<Place> {
            Place::make(&self.root, Path::new(path), self.me.0)
        }

        fn read(&self, path: &str) -> String {
            fs::read_to_string(self.root.join(path)).unwrap()
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.root);
        }
    }

    #[test]
    fn a_file_is_written_whole_and_more_is_added_to_it() {
        let scene = Scene::new("whole");
        let place = scene.place("/a/b/c").unwrap();
        place.replace(b"one\n", 0o640, scene.me).unwrap();
        let mode = || fs::metadata(scene.root.join("a/b/c")).unwrap().mode() & 0o7777;
        assert_eq!(mode(), 0o640);
        scene
            .place("/a/b/c")
            .unwrap()
            .append(b"two\n", 0o600, scene.me)
            .unwrap();
        assert_eq!(
            (scene.read("a/b/c").as_str(), mode()),
            ("one\ntwo\n", 0o600)
        );
        fs::write(scene.root.join("a/b/c.new"), "half writ").unwrap();
        place.replace(b"new\n", 0o4755, scene.me).unwrap();
        assert_eq!((scene.read("a/b/c").as_str(), mode()), ("new\n", 0o4755));
        assert_eq!(fs::read_dir(scene.root.join("a/b")).unwrap().count(), 1);
    }

    #[test]
    fn links_of_the_system_are_followed_and_never_out_of_the_root() {
        let scene = Scene::new("own-links");
        fs::create_dir_all(scene.root.join("usr/bin")).unwrap();
        symlink("usr/bin", scene.root.join("bin")).unwrap();
        symlink("/bin/../../../x", scene.root.join("y")).unwrap();
        scene
            .place("/bin/tool")
            .unwrap()
            .replace(b"t", 0o755, scene.me)
            .unwrap();
        assert_eq!(scene.read("usr/bin/tool"), "t");
        scene
            .place("/y/z")
            .unwrap()
            .replace(b"z", 0o644, scene.me)
            .unwrap();
        assert_eq!(scene.read("x/z"), "z");
        symlink("loop", scene.root.join("loop")).unwrap();
        assert!(scene.place("/loop/x").is_err());
    }

    #[test]
    fn links_that_others_may_have_made_are_not_followed() {
        let scene = Scene::new("others-links");
        fs::create_dir_all(scene.root.join("home/anna")).unwrap();
        fs::create_dir_all(scene.root.join("etc")).unwrap();
        symlink("/etc", scene.root.join("home/anna/.config")).unwrap();
        let shared = Permissions::from_mode(0o777);
        fs::set_permissions(scene.root.join("home/anna"), shared).unwrap();
        let error = scene.place("/home/anna/.config/shadow").unwrap_err();
        assert!(error.to_string().contains(".config is a link"), "{error}");
        // Nor where they own the folder: everything is another's here.
        let other = scene.me.0 + 1;
        symlink("/etc", scene.root.join("link")).unwrap();
        assert!(Place::make(&scene.root, Path::new("/link/x"), other).is_err());
        assert_eq!(fs::read_dir(scene.root.join("etc")).unwrap().count(), 0);
    }

    #[test]
    fn a_link_in_the_place_of_the_file_is_replaced_and_never_added_to() {
        let scene = Scene::new("last-link");
        fs::write(scene.root.join("secret"), "s").unwrap();
        for name in ["a", "a.new"] {
            symlink("secret", scene.root.join(name)).unwrap();
        }
        let place = scene.place("/a").unwrap();
        assert!(place.append(b"x", 0o600, scene.me).is_err());
        place.replace(b"x", 0o600, scene.me).unwrap();
        assert_eq!(
            (scene.read("a"), scene.read("secret")),
            ("x".into(), "s".into())
        );
        fs::hard_link(scene.root.join("secret"), scene.root.join("b")).unwrap();
        assert!(
            scene
                .place("/b")
                .unwrap()
                .append(b"x", 0o600, scene.me)
                .is_err()
        );
        assert_eq!(scene.read("secret"), "s");
    }

    #[test]
    fn a_file_on_the_way_and_a_path_without_a_name_are_errors() {
        let scene = Scene::new("file");
        fs::write(scene.root.join("file"), "").unwrap();
        let error = scene.place("/file/x").unwrap_err().to_string();
        assert!(error.contains("file is not a folder"), "{error}");
        assert!(scene.place("/").is_err());
    }
}
