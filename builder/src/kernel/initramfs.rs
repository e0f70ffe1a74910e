//! The tree of the initramfs: `/init` and the modules that lead to the root.

use anyhow::Result;

use super::Kernel;
use crate::tree::{Content, Node, Tree};

/// Puts the first program and a board's modules together.
///
/// # Errors
/// None are expected: all names are our own.
pub fn tree(init: Content, kernel: &Kernel) -> Result<Tree> {
    let mut tree = kernel.initramfs_modules.clone();
    tree.insert("init", Node::file(0o755, init))?;
    // Mount points. `/dev/console` is in the initramfs that is built into the
    // kernel, which this one is unpacked over.
    for folder in ["dev", "proc", "run", "sys", "root"] {
        tree.insert(folder, Node::directory(0o755))?;
    }
    Ok(tree)
}
