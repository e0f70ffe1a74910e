//! A write-back cache between a filesystem and the image file.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
};

/// Bytes that are read and written as one.
const BLOCK: usize = 1 << 20;
/// Blocks in memory.
const BLOCKS: usize = 16;
/// What may be read of a small filesystem beyond its size.
const SMALL_BUDGET: u64 = 64 << 20;
/// What each read counts besides its bytes: time goes by also with short ones.
const COST: u64 = 64;
/// What is found to be zeros is left out in units of this.
const PAGE: usize = 4096;

/// A range of a file as a device of its own, with a bounded number of blocks in
/// memory. Pages of zeros stay holes. [`Write::flush`] writes what is left;
/// dropping the cache does not.
#[derive(Debug)]
pub(crate) struct BlockCache<'f> {
    file: &'f File,
    start: u64,
    size: u64,
    position: u64,
    blocks: Vec<Block>,
    /// Counts uses, for finding the block that was not used for longest.
    clock: u64,
    /// What may still be read, where that is bounded.
    budget: Option<u64>,
}

#[derive(Debug)]
struct Block {
    number: u64,
    bytes: Vec<u8>,
    dirty: [bool; BLOCK / PAGE],
    used: u64,
}

impl<'f> BlockCache<'f> {
    /// The bytes from `start` to `start + size`, which the file has.
    pub(crate) fn new(file: &'f File, start: u64, size: u64) -> Self {
        Self {
            file,
            start,
            size,
            position: 0,
            blocks: Vec::new(),
            clock: 0,
            budget: None,
        }
    }

    /// The same for reading a filesystem that may be hostile: a chain of
    /// clusters that leads back to itself has no end. Whoever reads everything
    /// once stays far below this bound.
    pub(crate) fn for_reading(file: &'f File, start: u64, size: u64) -> Self {
        Self {
            budget: Some(size.saturating_mul(2).saturating_add(SMALL_BUDGET)),
            ..Self::new(file, start, size)
        }
    }

    /// Brings a block into memory; returns its place there.
    fn load(&mut self, number: u64) -> io::Result<usize> {
        self.clock += 1;
        if let Some(index) = self.blocks.iter().position(|block| block.number == number) {
            self.blocks[index].used = self.clock;
            return Ok(index);
        }
        let offset = number * BLOCK as u64;
        let length = (self.size - offset).min(BLOCK as u64) as usize;
        let mut block = if self.blocks.len() < BLOCKS {
            Block {
                number,
                bytes: Vec::new(),
                dirty: [false; BLOCK / PAGE],
                used: 0,
            }
        } else {
            let oldest = (0..self.blocks.len())
                .min_by_key(|index| self.blocks[*index].used)
                .unwrap_or(0);
            self.store(oldest)?;
            self.blocks.swap_remove(oldest)
        };
        block.bytes.resize(length, 0);
        self.file
            .read_exact_at(&mut block.bytes, self.start + offset)?;
        block.number = number;
        block.used = self.clock;
        self.blocks.push(block);
        Ok(self.blocks.len() - 1)
    }

    /// Writes the changed pages of a block. A page of zeros is written only
    /// where the file has something else.
    fn store(&mut self, index: usize) -> io::Result<()> {
        let block = &mut self.blocks[index];
        let offset = self.start + block.number * BLOCK as u64;
        let mut present = [0; PAGE];
        for (page, bytes) in block.bytes.chunks(PAGE).enumerate() {
            if !block.dirty[page] {
                continue;
            }
            let at = offset + (page * PAGE) as u64;
            let present = &mut present[..bytes.len()];
            if is_zero(bytes) {
                self.file.read_exact_at(present, at)?;
            }
            if !is_zero(bytes) || !is_zero(present) {
                self.file.write_all_at(bytes, at)?;
            }
            block.dirty[page] = false;
        }
        Ok(())
    }

    /// The block at the position, the offset there, and how many bytes of it
    /// a request of `wanted` bytes gets.
    fn piece(&mut self, wanted: usize) -> io::Result<(usize, usize, usize)> {
        let index = self.load(self.position / BLOCK as u64)?;
        let offset = (self.position % BLOCK as u64) as usize;
        let count = wanted.min(self.blocks[index].bytes.len() - offset);
        Ok((index, offset, count))
    }
}

impl Read for BlockCache<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.position >= self.size {
            return Ok(0);
        }
        let (index, offset, count) = self.piece(buffer.len())?;
        if let Some(budget) = &mut self.budget {
            *budget = budget
                .checked_sub(count as u64 + COST)
                .ok_or_else(|| io::Error::other("the filesystem is damaged: it has no end"))?;
        }
        buffer[..count].copy_from_slice(&self.blocks[index].bytes[offset..offset + count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for BlockCache<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() || self.position >= self.size {
            return Ok(0);
        }
        let (index, offset, count) = self.piece(bytes.len())?;
        let block = &mut self.blocks[index];
        block.bytes[offset..offset + count].copy_from_slice(&bytes[..count]);
        block.dirty[offset / PAGE..(offset + count).div_ceil(PAGE)].fill(true);
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        (0..self.blocks.len()).try_for_each(|index| self.store(index))
    }
}

impl Seek for BlockCache<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
        };
        self.position = position.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "a position before the beginning",
            )
        })?;
        Ok(self.position)
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    const SIZE: u64 = 40 << 20;

    fn file() -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(SIZE + 8192).unwrap();
        file
    }

    #[test]
    fn more_than_fits_into_memory_comes_back() {
        let file = file();
        let mut cache = BlockCache::new(&file, 4096, SIZE);
        for number in 0..40 {
            cache.seek(SeekFrom::Start((number << 20) + 17)).unwrap();
            cache.write_all(&[number as u8 + 1; 3000]).unwrap();
        }
        for number in 0..40 {
            let mut bytes = [0; 3000];
            cache.seek(SeekFrom::Start((number << 20) + 17)).unwrap();
            cache.read_exact(&mut bytes).unwrap();
            assert_eq!(bytes, [number as u8 + 1; 3000]);
        }
        cache.flush().unwrap();
        let mut bytes = [0; 3];
        file.read_exact_at(&mut bytes, 4096 + (39 << 20) + 16)
            .unwrap();
        assert_eq!(bytes, [0, 40, 40]);
        assert!(cache.blocks.len() <= BLOCKS);
    }

    #[test]
    fn a_write_across_two_blocks_is_whole() {
        let file = file();
        let mut cache = BlockCache::new(&file, 0, SIZE);
        cache.seek(SeekFrom::Start((1 << 20) - 5)).unwrap();
        cache.write_all(b"across two").unwrap();
        cache.flush().unwrap();
        let mut bytes = [0; 10];
        file.read_exact_at(&mut bytes, (1 << 20) - 5).unwrap();
        assert_eq!(&bytes, b"across two");
    }

    #[test]
    fn zeros_stay_holes_but_replace_what_was_there() {
        let file = file();
        file.write_all_at(b"old", 8192).unwrap();
        let before = file.metadata().unwrap().blocks();
        let mut cache = BlockCache::new(&file, 0, SIZE);
        cache.write_all(&vec![0; 4 << 20]).unwrap();
        cache.flush().unwrap();
        assert_eq!(file.metadata().unwrap().blocks(), before);
        let mut bytes = [1; 3];
        file.read_exact_at(&mut bytes, 8192).unwrap();
        assert_eq!(bytes, [0; 3]);
    }

    #[test]
    fn nothing_is_written_past_the_end() {
        let file = file();
        let mut cache = BlockCache::new(&file, 0, SIZE);
        cache.seek(SeekFrom::Start(SIZE - 2)).unwrap();
        assert!(cache.write_all(b"abc").is_err());
    }
}
