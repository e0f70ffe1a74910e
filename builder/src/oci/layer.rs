//! Layers, one on top of the other.

use std::{fs::File, io::BufReader};

use anyhow::{Context, Result};

use super::Layer;
use crate::{
    cache::Cache,
    tree::{Node, Tree},
    unpack::{Dialect, EntryKind, Filter, Unpacked, decompress, unpack_cached},
};

/// Puts a layer on top of those below it.
pub(super) fn apply(layer: &Layer, cache: &Cache, tree: &mut Tree) -> Result<()> {
    let unpacked = unpack_cached(
        cache,
        &layer.sha256,
        Dialect::Layer,
        &Filter::everything(),
        || {
            let file = File::open(&layer.path)
                .with_context(|| format!("cannot read {}", layer.path.display()))?;
            decompress(layer.compression, BufReader::with_capacity(64 * 1024, file))
        },
        |_| Ok(()),
    )?;
    merge(&unpacked, tree)
}

fn merge(layer: &Unpacked, tree: &mut Tree) -> Result<()> {
    // What a layer removes is what is below it, wherever it says so.
    for entry in &layer.entries {
        let path = real_path(tree, &entry.path);
        match entry.kind {
            EntryKind::Whiteout => {
                tree.remove(&path);
            }
            EntryKind::Opaque => {
                let below = format!("{path}/");
                tree.retain(|other, _| !other.starts_with(&below));
            }
            _ => {}
        }
    }
    for entry in &layer.entries {
        if let Some(node) = layer.node(entry) {
            let path = real_path(tree, &entry.path);
            if tree.get(&path).is_some_and(Node::is_directory) && !node.is_directory() {
                tree.remove(&path);
            }
            tree.insert(&path, node)?;
        }
    }
    Ok(())
}

/// Follows the links that lead to a path, within the tree, as an engine would
/// that unpacks the layer onto the lower ones: some tools write `/lib/x` over an
/// image in which `/lib` is a link.
fn real_path(tree: &Tree, path: &str) -> String {
    let Some((folders, name)) = path.rsplit_once('/') else {
        return path.to_owned();
    };
    let mut at = String::new();
    for folder in folders.split('/') {
        if !at.is_empty() {
            at.push('/');
        }
        at.push_str(folder);
        if let Some((real, node)) = tree.resolve(&at)
            && node.is_directory()
        {
            at = real;
        }
    }
    format!("{at}/{name}")
}

#[cfg(test)]
mod tests {
    use tar::{Builder, EntryType, Header};

    use super::*;
    use crate::{digest::Digest, tree::Kind};

    /// `PATH` for a file that holds its path, `PATH/` for a folder,
    /// `PATH -> TARGET` for a link, `PATH = TARGET` for a hard link.
    fn tar(entries: &[&str]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for entry in entries {
            let (path, target, kind) = if let Some((path, target)) = entry.split_once(" -> ") {
                (path, target, EntryType::Symlink)
            } else if let Some((path, target)) = entry.split_once(" = ") {
                (path, target, EntryType::Link)
            } else if entry.ends_with('/') {
                (*entry, "", EntryType::Directory)
            } else {
                (*entry, "", EntryType::Regular)
            };
            let content = if kind == EntryType::Regular { path } else { "" };
            let mut header = Header::new_gnu();
            let gnu = header.as_gnu_mut().unwrap();
            gnu.name[..path.len()].copy_from_slice(path.as_bytes());
            gnu.linkname[..target.len()].copy_from_slice(target.as_bytes());
            header.set_entry_type(kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o755);
            header.set_uid(0);
            header.set_gid(0);
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn layers(layers: &[&[&str]]) -> Result<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let mut tree = Tree::new();
        for entries in layers {
            let bytes = zstd::encode_all(&tar(entries)[..], 1).unwrap();
            let sha256 = Digest::of(&bytes);
            cache.store(&bytes).unwrap();
            let layer = Layer {
                path: cache.path(&sha256),
                sha256,
                compression: "zstd",
            };
            apply(&layer, &cache, &mut tree)?;
        }
        Ok(tree
            .iter()
            .filter(|(_, node)| !node.is_directory())
            .map(|(path, node)| match &node.kind {
                Kind::File(content) => {
                    let content = String::from_utf8(content.read().unwrap()).unwrap();
                    format!("{path}: {content}")
                }
                Kind::Symlink(target) => format!("{path} -> {target}"),
                Kind::Directory => unreachable!(),
            })
            .collect())
    }

    #[track_caller]
    fn gives(given: &[&[&str]], expected: &[&str]) {
        assert_eq!(layers(given).unwrap(), expected);
    }

    #[test]
    fn a_later_layer_replaces_what_an_earlier_one_has() {
        gives(&[&["a", "b -> a"], &["b"]], &["a: a", "b: b"]);
        gives(&[&["a/b", "a/c"], &["a"]], &["a: a"]);
        gives(&[&["a"], &["a/", "a/b"]], &["a/b: a/b"]);
        gives(&[&["x", "a = x"], &["x -> y"]], &["a: x", "x -> y"]);
    }

    #[test]
    fn a_whiteout_removes_what_is_below_and_nothing_of_its_own_layer() {
        gives(
            &[&["a/b", "a/c", "d"], &["a/.wh.b", ".wh.d"]],
            &["a/c: a/c"],
        );
        gives(&[&["a/b/c"], &["a/.wh.b"]], &[]);
        gives(&[&["a/b/c"], &["a/b/d", "a/.wh.b"]], &["a/b/d: a/b/d"]);
        gives(&[&["a"], &[".wh.not-there"]], &["a: a"]);
    }

    #[test]
    fn an_opaque_folder_hides_all_that_is_below() {
        gives(
            &[&["a/b", "a/c/d", "ab"], &["a/", "a/e", "a/.wh..wh..opq"]],
            &["a/e: a/e", "ab: ab"],
        );
    }

    #[test]
    fn notes_of_aufs_are_no_files() {
        gives(&[&["a", ".wh..wh.plnk/", ".wh..wh.aufs"]], &["a: a"]);
    }

    #[test]
    fn a_layer_that_writes_through_a_link_stays_in_the_tree() {
        gives(
            &[&["usr/lib/", "lib -> usr/lib"], &["lib/x", "lib/new/y"]],
            &[
                "lib -> usr/lib",
                "usr/lib/new/y: lib/new/y",
                "usr/lib/x: lib/x",
            ],
        );
        gives(
            &[&["etc/", "e -> ../../../../etc"], &["e/passwd"]],
            &["e -> ../../../../etc", "etc/passwd: e/passwd"],
        );
        assert!(layers(&[&["out -> /not/there"], &["out/x"]]).is_err());
    }

    #[test]
    fn a_hostile_layer_is_refused() {
        for path in ["../x", "/x", "a/../../x", "../.wh.x", ".wh...", ".wh.."] {
            let result = layers(&[&["a"], &[path]]);
            assert!(result.is_err(), "{path}: {result:?}");
        }
    }
}
