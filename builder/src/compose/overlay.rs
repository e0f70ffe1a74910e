//! Folders of the host that are laid over a root.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, Result, bail, ensure};

use crate::tree::{CacheFile, Content, Node, Tree};

/// Larger files belong into a package or an image.
const LARGEST: u64 = 1 << 30;
/// Up to here a file is read at once; larger ones stay where they are until
/// they are packed.
const IN_MEMORY: u64 = 1 << 20;

/// Reads a folder. Of the permissions only "executable" is taken over: what git
/// keeps, so that two checkouts with different umask give the same image.
///
/// # Errors
/// When something cannot be read, or is neither file, folder nor link.
pub fn read(folder: &Path) -> Result<Tree> {
    let mut tree = Tree::new();
    read_below(folder, "", &mut tree)?;
    Ok(tree)
}

fn read_below(folder: &Path, prefix: &str, tree: &mut Tree) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
        let host = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            bail!("{} has a name that is not UTF-8", host.display());
        };
        let path = format!("{prefix}{name}");
        let meta = entry
            .metadata()
            .with_context(|| format!("cannot read {}", host.display()))?;
        if meta.is_dir() {
            tree.insert(&path, Node::directory(0o755))?;
            read_below(&host, &format!("{path}/"), tree)?;
        } else if meta.is_symlink() {
            let target =
                fs::read_link(&host).with_context(|| format!("cannot read {}", host.display()))?;
            let Some(target) = target.to_str() else {
                bail!("{} leads to a name that is not UTF-8", host.display());
            };
            tree.insert(&path, Node::symlink(target))?;
        } else if meta.is_file() {
            ensure!(
                meta.len() <= LARGEST,
                "{} is larger than {} MiB; put it into a package or an image",
                host.display(),
                LARGEST >> 20
            );
            let mode = if meta.permissions().mode() & 0o100 == 0 {
                0o644
            } else {
                0o755
            };
            let content = if meta.len() > IN_MEMORY {
                Content::Slice {
                    file: CacheFile::new(host),
                    offset: 0,
                    len: meta.len(),
                }
            } else {
                let bytes = fs::read(&host);
                bytes
                    .with_context(|| format!("cannot read {}", host.display()))?
                    .into()
            };
            tree.insert(&path, Node::file(mode, content))?;
        } else {
            bail!("{} is neither a file, a folder nor a link", host.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Kind;

    #[test]
    fn a_large_file_is_read_when_it_is_packed() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = vec![7; (IN_MEMORY + 1) as usize];
        fs::write(folder.path().join("dockerd"), &bytes).unwrap();
        let tree = read(folder.path()).unwrap();
        let Kind::File(content) = &tree.get("dockerd").unwrap().kind else {
            panic!("no file");
        };
        assert!(matches!(content, Content::Slice { .. }));
        assert_eq!(content.read().unwrap(), bytes);
    }

    #[test]
    fn only_the_executable_bit_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        for (name, mode) in [("etc/a", 0o600), ("etc/b", 0o777)] {
            let path = folder.path().join(name);
            fs::write(&path, "x").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let tree = read(folder.path()).unwrap();
        assert_eq!(tree.get("etc/a").unwrap().mode, 0o644);
        assert_eq!(tree.get("etc/b").unwrap().mode, 0o755);
    }
}
