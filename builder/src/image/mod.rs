//! From trees to a disk image.

mod block_cache;
pub mod cpio;
pub mod disk;
pub mod fat;
pub mod output;
pub mod reader;
pub mod squashfs;
