//! Files that must be whole after a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// Replaces a file as a whole: whoever reads it, sees the old or the new
/// content. The new content is on the card when this returns.
///
/// # Errors
/// When it cannot be written; the old one is still there.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let (temporary, mut file) = create_beside(path, mode)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder(path))?.sync_all()
}

/// The same without waiting for the card: after a power cut the old content
/// may still be there.
///
/// # Errors
/// When it cannot be written; the old one is still there.
pub fn replace_lazily(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace_lazily_for(None, path, content, mode)
}

/// The same for a file that belongs to another user.
///
/// # Errors
/// When it cannot be written or given away; the old one is still there.
pub fn replace_lazily_for(
    owner: Option<u32>,
    path: &Path,
    content: &[u8],
    mode: u32,
) -> io::Result<()> {
    let (temporary, mut file) = create_beside(path, mode)?;
    file.write_all(content)?;
    if owner.is_some() {
        fchown(&file, owner, None)?;
    }
    fs::rename(&temporary, path)
}

/// Writes a file in place: for one that is bound elsewhere, where a new file
/// under the same name would not be seen. The new content comes before the old
/// is cut off, so that at no moment the file is empty.
///
/// # Errors
/// When it cannot be written.
pub fn overwrite(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.write_all(content)?;
    file.set_len(content.len() as u64)
}

fn create_beside(path: &Path, mode: u32) -> io::Result<(PathBuf, File)> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    // A left-over of a power cut may have another mode.
    let _ = fs::remove_file(&temporary);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)?;
    Ok((temporary, file))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::{overwrite, replace, replace_lazily};

    #[test]
    fn a_file_is_replaced_as_a_whole_and_left_overs_do_not_matter() {
        let folder = std::env::temp_dir().join(format!("rubus-files-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("secret");
        fs::write(folder.join("secret.new"), "half writ").unwrap();

        replace(&path, b"one\n", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\n");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        replace_lazily(&path, b"two\n", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two\n");
        assert!(!folder.join("secret.new").exists());
        fs::remove_dir_all(&folder).unwrap();
    }
    #[test]
    fn a_file_that_is_overwritten_stays_the_same_file() {
        let folder = std::env::temp_dir().join(format!("rubus-overwrite-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("bound");
        overwrite(&path, b"a long text").unwrap();
        let bound = fs::File::open(&path).unwrap();
        overwrite(&path, b"short").unwrap();
        assert_eq!(std::io::read_to_string(bound).unwrap(), "short");
        fs::remove_dir_all(folder).unwrap();
    }
}
