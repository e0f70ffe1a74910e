//! The key by which clients know this node: made on the first boot, kept for
//! ever.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
};

/// Name of the private key; the public one has `.pub` behind it. Every ssh
/// client of the last ten years knows this kind, and it is made at once: an RSA
/// key takes a small board many seconds.
const KEY: &str = "ssh_host_ed25519_key";

/// Makes the keys in `folder` unless they are there, with `generate`, which
/// makes a key pair under the path that it is given. They appear whole or not
/// at all: a power cut must not leave a key that clients have seen and then
/// never see again.
///
/// # Errors
/// When they cannot be made or kept.
pub(crate) fn ensure(
    folder: &Path,
    generate: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<(), String> {
    if is_filled(&folder.join(KEY)) && is_filled(&folder.join(format!("{KEY}.pub"))) {
        return Ok(());
    }
    let mut temporary = folder.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = Path::new(&temporary);
    let failed =
        |error: io::Error| format!("cannot keep ssh host keys in {}: {error}", folder.display());
    clear(temporary).map_err(failed)?;
    fs::create_dir(temporary).map_err(failed)?;
    fs::set_permissions(temporary, Permissions::from_mode(0o700)).map_err(failed)?;
    generate(&temporary.join(KEY))?;
    publish(temporary, folder).map_err(failed)
}

fn publish(temporary: &Path, folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(temporary)? {
        File::open(entry?.path())?.sync_all()?;
    }
    File::open(temporary)?.sync_all()?;
    // There is something only when it was incomplete.
    clear(folder)?;
    fs::rename(temporary, folder)?;
    match folder.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn clear(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn is_filled(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("keys-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn generate(text: &str) -> impl FnOnce(&Path) -> Result<(), String> {
        move |key: &Path| {
            fs::write(key, text).unwrap();
            fs::write(format!("{}.pub", key.display()), text).unwrap();
            Ok(())
        }
    }

    #[test]
    fn keys_are_made_once_and_kept() {
        let base = folder("once");
        let keys = base.join("ssh");
        ensure(&keys, generate("first")).unwrap();
        ensure(&keys, generate("second")).unwrap();
        assert_eq!(fs::read_to_string(keys.join(KEY)).unwrap(), "first");
        assert_eq!(
            fs::metadata(&keys).unwrap().permissions().mode() & 0o777,
            0o700
        );
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn empty_or_missing_keys_are_made_anew() {
        let base = folder("empty");
        let keys = base.join("ssh");
        fs::create_dir(&keys).unwrap();
        fs::write(keys.join(KEY), "").unwrap();
        fs::create_dir(base.join("ssh.new")).unwrap();
        ensure(&keys, generate("good")).unwrap();
        assert_eq!(fs::read_to_string(keys.join(KEY)).unwrap(), "good");
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn a_generator_that_fails_leaves_no_keys() {
        let base = folder("fails");
        let keys = base.join("ssh");
        let error = ensure(&keys, |_| Err("no entropy".to_owned())).unwrap_err();
        assert_eq!(error, "no entropy");
        assert!(!keys.exists());
        fs::remove_dir_all(&base).unwrap();
    }
}
