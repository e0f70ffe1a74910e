//! The initramfs: a cpio archive in the `newc` format, compressed with zstd.

use std::io::{self, Write};

use anyhow::{Context, Result, ensure};

use crate::tree::{Kind, Tree};

/// Level of zstd for the initramfs, of which every byte is read on each boot.
/// On the modules of a board level 19 saves another tenth for ten times the
/// processor time.
pub const LEVEL: i32 = 12;

const TRAILER: &str = "TRAILER!!!";
const FIRST_INODE: u32 = 1;

/// Packs a tree as a compressed initramfs.
///
/// # Errors
/// When a content cannot be read, or a file does not fit into the format.
pub fn initramfs(tree: &Tree, timestamp: u32, level: i32) -> Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), level)?;
    // With it the kernel says that the card is damaged, instead of running
    // what it read.
    encoder.include_checksum(true)?;
    write(tree, timestamp, &mut encoder)?;
    Ok(encoder.finish()?)
}

/// Writes a tree as a cpio archive.
///
/// # Errors
/// As [`initramfs`], and when `out` cannot be written.
pub fn write(tree: &Tree, timestamp: u32, out: &mut impl Write) -> Result<()> {
    for ((path, node), inode) in tree.iter().zip(FIRST_INODE..) {
        let (kind, links, size) = match &node.kind {
            Kind::Directory => (0o040_000, 2, 0),
            Kind::File(content) => (0o100_000, 1, content.len()),
            Kind::Symlink(target) => (0o120_000, 1, target.len() as u64),
        };
        let size = u32::try_from(size)
            .ok()
            .with_context(|| format!("{path} is too large for an initramfs: 4 GiB are possible"))?;
        ensure!(
            path != TRAILER,
            "a file of an initramfs cannot be called {TRAILER}"
        );
        let header = Header {
            inode,
            mode: kind | u32::from(node.mode & 0o7777),
            uid: node.uid,
            gid: node.gid,
            links,
            time: timestamp,
            size,
        };
        header.write(path, out)?;
        match &node.kind {
            Kind::Directory => {}
            Kind::File(content) => {
                io::copy(&mut content.reader(), out)?;
            }
            Kind::Symlink(target) => out.write_all(target.as_bytes())?,
        }
        pad(size as usize, out)?;
    }
    Header {
        links: 1,
        ..Header::default()
    }
    .write(TRAILER, out)?;
    Ok(())
}

#[derive(Default)]
struct Header {
    inode: u32,
    mode: u32,
    uid: u32,
    gid: u32,
    links: u32,
    time: u32,
    size: u32,
}

impl Header {
    fn write(&self, name: &str, out: &mut impl Write) -> io::Result<()> {
        let name_len = name.len() + 1;
        write!(out, "070701")?;
        for field in [
            self.inode,
            self.mode,
            self.uid,
            self.gid,
            self.links,
            self.time,
            self.size,
            // Numbers of the device, and of the device that a node stands for.
            0,
            0,
            0,
            0,
            name_len as u32,
            // A checksum, which this variant of the format does not use.
            0,
        ] {
            write!(out, "{field:08x}")?;
        }
        out.write_all(name.as_bytes())?;
        out.write_all(&[0])?;
        pad(110 + name_len, out)
    }
}

/// Everything begins at a multiple of four.
fn pad(length: usize, out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0; 3][..length.next_multiple_of(4) - length])
}
