//! The block map: which blocks of the image a card needs, with their hashes,
//! in the format 2.0 of bmap-tools.

use std::{fmt::Write, ops::Range};

use crate::digest::{Digest, Hasher};

const BLOCK: u64 = 4096;
const EMPTY_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Widens ranges to whole blocks and joins those that touch.
pub(super) fn blocks(ranges: &[Range<u64>], size: u64) -> Vec<Range<u64>> {
    let mut blocks: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        let start = range.start / BLOCK * BLOCK;
        let end = range.end.next_multiple_of(BLOCK).min(size);
        match blocks.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(end),
            _ => blocks.push(start..end),
        }
    }
    blocks
}

/// A block map in the making.
pub(super) struct Map {
    size: u64,
    mapped: u64,
    hasher: Hasher,
    ranges: String,
}

impl Map {
    pub(super) fn new(size: u64, blocks: &[Range<u64>]) -> Self {
        Self {
            size,
            mapped: blocks.iter().map(count).sum(),
            hasher: Hasher::default(),
            ranges: String::new(),
        }
    }

    /// Takes bytes of the range that [`Map::end_range`] then ends.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    pub(super) fn end_range(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let hash = std::mem::take(&mut self.hasher).finish();
        let first = range.start / BLOCK;
        let last = first + count(&range) - 1;
        let numbers = if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.ranges,
            "        <Range chksum=\"{hash}\"> {numbers} </Range>"
        );
    }

    /// The whole file. Its own hash is that of the file with zeros in place of
    /// the hash.
    pub(super) fn xml(&self) -> String {
        let Self {
            size,
            mapped,
            ranges,
            ..
        } = self;
        let blocks = size.div_ceil(BLOCK);
        let text = format!(
            r#"<?xml version="1.0" ?>
<bmap version="2.0">
    <ImageSize> {size} </ImageSize>
    <BlockSize> {BLOCK} </BlockSize>
    <BlocksCount> {blocks} </BlocksCount>
    <MappedBlocksCount> {mapped} </MappedBlocksCount>
    <ChecksumType> sha256 </ChecksumType>
    <BmapFileChecksum> {EMPTY_HASH} </BmapFileChecksum>
    <BlockMap>
{ranges}    </BlockMap>
</bmap>
"#
        );
        let hash = Digest::of(text.as_bytes()).to_string();
        text.replacen(EMPTY_HASH, &hash, 1)
    }
}

fn count(range: &Range<u64>) -> u64 {
    (range.end - range.start).div_ceil(BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_become_whole_blocks_that_do_not_touch() {
        let joined = |ranges: &[Range<u64>], size| blocks(ranges, size).into_iter().next();
        assert_eq!(joined(&[0..1, 4096..4097], 1 << 20), Some(0..8192));
        assert_eq!(joined(&[0..10_000, 5..6], 10_000), Some(0..10_000));
        let apart = [0..4096, 8193..8194];
        assert_eq!(blocks(&apart, 1 << 20), [0..4096, 8192..12288]);
        assert_eq!(blocks(&[], 10), []);
    }

    #[test]
    fn a_map_names_blocks_and_hashes() {
        let ranges = [0..8192, 12288..16384];
        let mut map = Map::new(20_000, &ranges);
        for range in ranges {
            map.update(&vec![0; (range.end - range.start) as usize]);
            map.end_range(range);
        }
        let xml = map.xml();
        for line in [
            "<BlocksCount> 5 </BlocksCount>",
            "<MappedBlocksCount> 3 </MappedBlocksCount>",
            &format!("<Range chksum=\"{}\"> 0-1 </Range>", Digest::of(&[0; 8192])),
            &format!("<Range chksum=\"{}\"> 3 </Range>", Digest::of(&[0; 4096])),
        ] {
            assert!(xml.contains(line), "{xml}");
        }
        assert!(!xml.contains(EMPTY_HASH));
    }
}
