//! From trees to a disk image.

pub mod squashfs;
