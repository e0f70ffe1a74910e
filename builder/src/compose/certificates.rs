//! What `update-ca-certificates` would have done.

use anyhow::Result;

use crate::tree::{Kind, Node, Tree};

/// Where Debian's `ca-certificates` keeps its certificates.
const SOURCE: &str = "usr/share/ca-certificates/";
/// Where programs look for all of them.
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
/// Which of them `update-ca-certificates` takes.
const CHOSEN: &str = "etc/ca-certificates.conf";

/// Joins the certificates of a root into the bundle that programs read. A root
/// that is looked after by its own tools keeps what they make it from.
pub(super) fn write_bundle(tree: &mut Tree, keep_source: bool) -> Result<()> {
    let mut bundle = Vec::new();
    let mut names = String::new();
    for (path, node) in tree.iter() {
        if let Kind::File(content) = &node.kind
            && let Some(name) = path.strip_prefix(SOURCE)
            && path.ends_with(".crt")
        {
            bundle.extend(content.read()?);
            if !bundle.ends_with(b"\n") {
                bundle.push(b'\n');
            }
            names += name;
            names.push('\n');
        }
    }
    if bundle.is_empty() {
        return Ok(());
    }
    if keep_source {
        tree.insert(CHOSEN, Node::file(0o644, names))?;
    } else {
        // The bundle has all of them; programs do not read the single files.
        tree.remove(SOURCE.trim_end_matches('/'));
    }
    tree.insert(BUNDLE, Node::file(0o644, bundle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_become_one_bundle() {
        let mut tree = Tree::new();
        tree.insert(
            "usr/share/ca-certificates/mozilla/b.crt",
            Node::file(0o644, "B"),
        )
        .unwrap();
        tree.insert(
            "usr/share/ca-certificates/mozilla/a.crt",
            Node::file(0o644, "A\n"),
        )
        .unwrap();
        let mut kept = tree.clone();
        write_bundle(&mut tree, false).unwrap();
        let Kind::File(content) = &tree.get(BUNDLE).unwrap().kind else {
            panic!("no bundle");
        };
        assert_eq!(content.read().unwrap(), b"A\nB\n");
        assert!(tree.get("usr/share/ca-certificates").is_none());

        write_bundle(&mut kept, true).unwrap();
        assert!(
            kept.get("usr/share/ca-certificates/mozilla/a.crt")
                .is_some()
        );
        let Kind::File(content) = &kept.get(CHOSEN).unwrap().kind else {
            panic!("no list");
        };
        assert_eq!(content.read().unwrap(), b"mozilla/a.crt\nmozilla/b.crt\n");
    }

    #[test]
    fn a_root_without_certificates_gets_no_bundle() {
        let mut tree = Tree::new();
        write_bundle(&mut tree, true).unwrap();
        assert!(tree.is_empty());
    }
}
