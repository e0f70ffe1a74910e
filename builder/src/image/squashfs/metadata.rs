//! The metadata blocks of a squashfs: 8 KiB pieces, each compressed, each with
//! a two-byte length before it.

use std::io::{self, Write};

use anyhow::Result;

/// Size of a metadata block before compression.
const BLOCK: usize = 8192;
/// Set in the length of a block that is stored as it is.
const STORED: u16 = 1 << 15;

/// Where something begins in a metadata table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Where its block begins, counted from the beginning of the table.
    pub(super) block: u32,
    /// Its offset in the block after decompression.
    pub(super) offset: u16,
}

impl Position {
    /// The reference to an inode at this position.
    pub(super) fn reference(self) -> u64 {
        u64::from(self.block) << 16 | u64::from(self.offset)
    }
}

/// Collects a table of metadata blocks in memory.
pub(super) struct Metadata<'a> {
    compressor: &'a mut zstd::bulk::Compressor<'static>,
    pending: Vec<u8>,
    blocks: Vec<u8>,
    starts: Vec<u32>,
}

impl<'a> Metadata<'a> {
    pub(super) fn new(compressor: &'a mut zstd::bulk::Compressor<'static>) -> Self {
        Self {
            compressor,
            pending: Vec::with_capacity(BLOCK),
            blocks: Vec::new(),
            starts: Vec::new(),
        }
    }

    /// Where the next byte goes.
    pub(super) fn position(&self) -> Position {
        Position {
            block: self.blocks.len() as u32,
            offset: self.pending.len() as u16,
        }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let count = bytes.len().min(BLOCK - self.pending.len());
            self.pending.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if self.pending.len() == BLOCK {
                self.close_block()?;
            }
        }
        Ok(())
    }

    fn close_block(&mut self) -> Result<()> {
        self.starts.push(self.blocks.len() as u32);
        let packed = self.compressor.compress(&self.pending)?;
        let (header, bytes) = if packed.len() < self.pending.len() {
            (packed.len() as u16, &packed)
        } else {
            (self.pending.len() as u16 | STORED, &self.pending)
        };
        self.blocks.extend_from_slice(&header.to_le_bytes());
        self.blocks.extend_from_slice(bytes);
        self.pending.clear();
        Ok(())
    }

    /// The blocks, and where each of them begins.
    pub(super) fn finish(mut self) -> Result<(Vec<u8>, Vec<u32>)> {
        if !self.pending.is_empty() {
            self.close_block()?;
        }
        Ok((self.blocks, self.starts))
    }
}

/// Writes a lookup table: metadata blocks, then the absolute position of each.
/// Returns the position of that list, and the bytes written.
pub(super) fn write_lookup(
    entries: &[u8],
    at: u64,
    compressor: &mut zstd::bulk::Compressor<'static>,
    out: &mut impl Write,
) -> Result<(u64, u64)> {
    let mut table = Metadata::new(compressor);
    table.push(entries)?;
    let (blocks, starts) = table.finish()?;
    out.write_all(&blocks)?;
    for start in &starts {
        out.write_all(&(at + u64::from(*start)).to_le_bytes())?;
    }
    let list = at + blocks.len() as u64;
    Ok((list, blocks.len() as u64 + 8 * starts.len() as u64))
}

/// Fills a writer up to a multiple of `unit`.
pub(super) fn pad(out: &mut impl Write, length: u64, unit: u64) -> io::Result<()> {
    let missing = length.next_multiple_of(unit) - length;
    out.write_all(&vec![0; missing as usize])
}
