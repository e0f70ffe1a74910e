//! What `update-ca-certificates` would have done.

use anyhow::Result;

use crate::tree::{Kind, Node, Tree};

/// Where Debian's `ca-certificates` keeps its certificates.
const SOURCE: &str = "usr/share/ca-certificates/";
/// Where programs look for all of them.
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// Joins the certificates of a root into the bundle that programs read.
pub(super) fn write_bundle(tree: &mut Tree) -> Result<()> {
    let mut bundle = Vec::new();
    for (path, node) in tree.iter() {
        if let Kind::File(content) = &node.kind
            && path.starts_with(SOURCE)
            && path.ends_with(".crt")
        {
            bundle.extend(content.read()?);
            if !bundle.ends_with(b"\n") {
                bundle.push(b'\n');
            }
        }
    }
    if bundle.is_empty() {
        return Ok(());
    }
    // The bundle has all of them; programs do not read the single files.
    tree.remove(SOURCE.trim_end_matches('/'));
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
        write_bundle(&mut tree).unwrap();
        let Kind::File(content) = &tree.get(BUNDLE).unwrap().kind else {
            panic!("no bundle");
        };
        assert_eq!(content.read().unwrap(), b"A\nB\n");
        assert!(tree.get("usr/share/ca-certificates").is_none());
    }

    #[test]
    fn a_root_without_certificates_gets_no_bundle() {
        let mut tree = Tree::new();
        write_bundle(&mut tree).unwrap();
        assert!(tree.is_empty());
    }
}
