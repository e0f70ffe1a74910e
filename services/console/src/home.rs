//! The home folders of people, made when they are new.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{PermissionsExt, lchown},
    path::Path,
};

/// Makes the home folder of a user from a skeleton, unless there is one. It
/// appears whole: a power cut on the way leaves nothing but a folder that the
/// next boot makes anew.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn ensure(home: &Path, skeleton: &Path, owner: u32) -> Result<(), String> {
    ensure_as(home, skeleton, owner)
        .map_err(|error| format!("cannot make {}: {error}", home.display()))
}

fn ensure_as(home: &Path, skeleton: &Path, owner: u32) -> io::Result<()> {
    if fs::symlink_metadata(home).is_ok() {
        return Ok(());
    }
    let mut temporary = home.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = Path::new(&temporary);
    if fs::symlink_metadata(temporary).is_ok() {
        fs::remove_dir_all(temporary)?;
    }
    copy(skeleton, temporary, owner)?;
    fs::set_permissions(temporary, Permissions::from_mode(0o700))?;
    fs::rename(temporary, home)?;
    match home.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn copy(from: &Path, to: &Path, owner: u32) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&source, &target, owner)?;
        } else if kind.is_file() {
            fs::copy(&source, &target)?;
            fs::File::open(&target)?.sync_all()?;
            lchown(&target, Some(owner), Some(owner))?;
        }
    }
    lchown(to, Some(owner), Some(owner))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::MetadataExt, path::PathBuf};

    use super::*;

    /// A folder with a skeleton, and our own user's number: nobody but root may
    /// give files away.
    fn setup(name: &str) -> (PathBuf, u32) {
        let folder = std::env::temp_dir().join(format!("home-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("skel/.config")).unwrap();
        fs::write(folder.join("skel/.bashrc"), "alias x=y\n").unwrap();
        fs::write(folder.join("skel/.config/a"), "b").unwrap();
        let owner = fs::metadata(&folder).unwrap().uid();
        (folder, owner)
    }

    #[test]
    fn a_new_home_is_the_skeleton_closed_to_others() {
        let (folder, owner) = setup("new");
        let home = folder.join("rubus");
        ensure_as(&home, &folder.join("skel"), owner).unwrap();
        assert_eq!(
            fs::read_to_string(home.join(".bashrc")).unwrap(),
            "alias x=y\n"
        );
        assert!(home.join(".config/a").is_file());
        assert_eq!(fs::metadata(&home).unwrap().mode() & 0o777, 0o700);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_there_stays_as_it_is() {
        let (folder, owner) = setup("old");
        let home = folder.join("rubus");
        fs::create_dir(&home).unwrap();
        ensure_as(&home, &folder.join("skel"), owner).unwrap();
        assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn one_that_a_power_cut_left_half_made_is_made_anew() {
        let (folder, owner) = setup("half");
        fs::create_dir(folder.join("rubus.new")).unwrap();
        fs::write(folder.join("rubus.new/junk"), "").unwrap();
        let home = folder.join("rubus");
        ensure_as(&home, &folder.join("skel"), owner).unwrap();
        assert!(!home.join("junk").exists());
        assert!(home.join(".bashrc").exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
