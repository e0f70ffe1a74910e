//! From unpacked packages to root filesystems, without maintainer scripts:
//! what they would have done is done here, from what definitions say.

pub mod accounts;
mod certificates;
pub mod dpkg;
mod glob;
pub mod overlay;
pub mod service;
pub mod system;

use anyhow::Result;

use crate::tree::{Node, Tree};

/// The folders and links that every root has: usr-merge (Debian since 12) and
/// the places that the runtime mounts something on.
fn skeleton() -> Result<Tree> {
    let mut tree = Tree::new();
    for name in ["bin", "sbin", "lib"] {
        tree.insert(&format!("usr/{name}"), Node::directory(0o755))?;
        tree.insert(name, Node::symlink(format!("usr/{name}")))?;
    }
    for name in ["dev", "etc", "home", "media", "mnt", "proc", "run", "sys"] {
        tree.insert(name, Node::directory(0o755))?;
    }
    for (name, mode) in [
        ("root", 0o700),
        ("tmp", 0o1777),
        ("var/tmp", 0o1777),
        ("var/lib", 0o755),
        ("var/log", 0o755),
        ("var/cache", 0o755),
    ] {
        tree.insert(name, Node::directory(mode))?;
    }
    tree.insert("var/run", Node::symlink("/run"))?;
    tree.insert("var/lock", Node::symlink("/run/lock"))?;
    Ok(tree)
}
