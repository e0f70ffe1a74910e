//! What the beginning of the data partition says of it.
//!
//! ext4 leaves the first 1024 bytes of a partition to boot loaders. Rubus
//! writes a marker there once the filesystem is whole: with it, a superblock
//! that is none is damage to data, without it, a filesystem that was never
//! finished.

/// The label of the data partition.
pub(super) const LABEL: &str = "RUBUS_DATA";
/// Bytes from the start of the partition that [`Head::parse`] looks at.
pub(super) const HEAD: usize = 2048;
/// What the partition begins with once its filesystem was made.
pub(super) const MARKER: &[u8] = b"RUBUS_DATA\n";

const SUPERBLOCK: usize = 1024;
const MAGIC: u16 = 0xEF53;
/// `EXT2_ERROR_FS`: the kernel met damage.
const STATE_ERRORS: u16 = 2;
/// `EXT4_FEATURE_INCOMPAT_64BIT`.
const WIDE: u32 = 0x80;

/// The beginning of the data partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Whether the marker is there.
    pub(super) marked: bool,
    /// What is where the superblock belongs.
    pub(super) content: Content,
}

/// What is where the superblock belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// No superblock.
    Nothing,
    /// An ext filesystem with another label.
    Foreign(String),
    /// The data filesystem.
    Ours {
        /// The kernel or a check has met damage that is not repaired.
        errors: bool,
        /// The size of the filesystem.
        bytes: u64,
    },
}

impl Head {
    /// Reads the first [`HEAD`] bytes of a partition.
    pub(super) fn parse(head: &[u8; HEAD]) -> Self {
        let superblock = &head[SUPERBLOCK..];
        let u16_at = |at: usize| u16::from_le_bytes([superblock[at], superblock[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << u16::BITS;
        let label = superblock[120..136]
            .split(|&b| b == 0)
            .next()
            .unwrap_or_default();
        let content = if u16_at(56) != MAGIC {
            Content::Nothing
        } else if label != LABEL.as_bytes() {
            Content::Foreign(String::from_utf8_lossy(label).into_owned())
        } else {
            let high = if u32_at(96) & WIDE != 0 {
                u64::from(u32_at(336)) << u32::BITS
            } else {
                0
            };
            let blocks = high | u64::from(u32_at(4));
            let block = 1024_u64.checked_shl(u32_at(24)).unwrap_or(0);
            Content::Ours {
                errors: u16_at(58) & STATE_ERRORS != 0,
                bytes: blocks.saturating_mul(block),
            }
        };
        Self {
            marked: head.starts_with(MARKER),
            content,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, HEAD, Head, MARKER};

    const MIB: u64 = 1 << 20;
    const LABEL_AT: usize = 1024 + 120;

    /// The head of what `mke2fs -t ext4 -L RUBUS_DATA` makes of 64 MiB.
    const MADE: &[u8; HEAD] = include_bytes!("testdata/ext4-64m.head");

    #[test]
    fn our_filesystem_is_known_by_its_label() {
        let mut head = *MADE;
        let clean = Content::Ours {
            errors: false,
            bytes: 64 * MIB,
        };
        let unmarked = Head {
            marked: false,
            content: clean.clone(),
        };
        assert_eq!(Head::parse(&head), unmarked);
        head[..MARKER.len()].copy_from_slice(MARKER);
        assert!(Head::parse(&head).marked);
        head[1024 + 58] |= 2;
        assert_eq!(
            Head::parse(&head).content,
            Content::Ours {
                errors: true,
                bytes: 64 * MIB
            }
        );
    }

    #[test]
    fn another_label_is_another_filesystem() {
        let mut head = *MADE;
        head[LABEL_AT + 9] = 0;
        assert_eq!(
            Head::parse(&head).content,
            Content::Foreign("RUBUS_DAT".to_owned())
        );
        head[LABEL_AT..LABEL_AT + 16].fill(b'x');
        assert_eq!(Head::parse(&head).content, Content::Foreign("x".repeat(16)));
    }

    #[test]
    fn sizes_of_a_hostile_superblock_do_not_overflow() {
        let mut head = [0xFF; HEAD];
        head[1024 + 56..1024 + 58].copy_from_slice(&0xEF53_u16.to_le_bytes());
        head[LABEL_AT..LABEL_AT + 16].copy_from_slice(b"RUBUS_DATA\0\0\0\0\0\0");
        for block_size in 0..=u8::MAX {
            head[1024 + 24] = block_size;
            assert!(matches!(
                Head::parse(&head).content,
                Content::Ours { errors: true, .. }
            ));
        }
    }

    #[test]
    fn zeros_are_nothing() {
        let nothing = Head {
            marked: false,
            content: Content::Nothing,
        };
        assert_eq!(Head::parse(&[0; HEAD]), nothing);
    }
}
