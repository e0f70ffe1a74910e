//! The data blocks of a squashfs: read in order, compressed on all cores,
//! written in order.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread::Scope,
};

use anyhow::{Context, Result, bail};

use crate::tree::Content;

/// Set in the size of a block that is stored as it is.
const STORED: u32 = 1 << 24;

/// Where the content of a file lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stored {
    /// Length of the file.
    pub(super) len: u64,
    /// Where its first block begins.
    pub(super) start: u64,
    /// Sizes of its blocks, as they stand in the inode.
    pub(super) blocks: Vec<u32>,
    /// Bytes in blocks of zeros, which are not stored.
    pub(super) sparse: u64,
    /// The fragment that holds it and the offset there, for a small file.
    pub(super) fragment: Option<(u32, u32)>,
    /// Bytes that it takes in the image, without a fragment.
    pub(super) packed: u64,
}

/// A block of small files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment {
    pub(super) start: u64,
    /// As it stands in the fragment table.
    pub(super) size: u32,
    /// Bytes of files in it.
    pub(super) len: u32,
}

impl Fragment {
    /// Bytes that it takes in the image.
    pub(super) fn packed_len(&self) -> u64 {
        u64::from(self.size & !STORED)
    }
}

/// A block on its way to the image.
enum Packed {
    Compressed(Vec<u8>),
    /// Compression does not make it smaller.
    Plain(Vec<u8>),
    /// All zeros, which a file need not store; its length.
    Hole(usize),
}

struct Job {
    block: Vec<u8>,
    /// Whether zeros may be left out.
    sparse: bool,
    answer: Sender<io::Result<Packed>>,
}

enum Target {
    File(usize),
    Fragment { len: u32 },
}

/// Writes the data area.
pub(super) struct DataWriter<'o, W> {
    out: &'o mut W,
    position: u64,
    block_size: usize,
    jobs: SyncSender<Job>,
    pending: VecDeque<(Target, Receiver<io::Result<Packed>>)>,
    most_pending: usize,
    small: Vec<u8>,
    opened_fragments: u32,
    pub(super) files: Vec<Stored>,
    pub(super) fragments: Vec<Fragment>,
}

impl<'o, W: Write> DataWriter<'o, W> {
    /// Starts the workers in a scope; they end when the writer is dropped.
    pub(super) fn new<'scope>(
        scope: &'scope Scope<'scope, '_>,
        out: &'o mut W,
        position: u64,
        block_size: usize,
        level: i32,
        threads: usize,
    ) -> Self {
        let most_pending = threads * 4;
        let (jobs, queue) = sync_channel::<Job>(most_pending);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            scope.spawn(move || work(&queue, level));
        }
        Self {
            out,
            position,
            block_size,
            jobs,
            pending: VecDeque::new(),
            most_pending,
            small: Vec::with_capacity(block_size),
            opened_fragments: 0,
            files: Vec::new(),
            fragments: Vec::new(),
        }
    }

    /// Adds a file; returns its index in `files`.
    pub(super) fn add(&mut self, content: &Content) -> Result<usize> {
        let index = self.files.len();
        let len = content.len();
        self.files.push(Stored {
            len,
            ..Stored::default()
        });
        let mut reader = content.reader();
        if len < self.block_size as u64 {
            if len > 0 {
                if self.small.len() + len as usize > self.block_size {
                    self.close_fragment()?;
                }
                let offset = self.small.len();
                self.small.resize(offset + len as usize, 0);
                reader.read_exact(&mut self.small[offset..])?;
                self.files[index].fragment = Some((self.opened_fragments, offset as u32));
            }
            return Ok(index);
        }
        let mut left = len;
        while left > 0 {
            let mut block = vec![0; left.min(self.block_size as u64) as usize];
            reader.read_exact(&mut block)?;
            left -= block.len() as u64;
            self.submit(Target::File(index), block)?;
        }
        Ok(index)
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> Result<(Vec<Stored>, Vec<Fragment>, u64)> {
        if !self.small.is_empty() {
            self.close_fragment()?;
        }
        while !self.pending.is_empty() {
            self.write_next()?;
        }
        Ok((self.files, self.fragments, self.position))
    }

    fn close_fragment(&mut self) -> Result<()> {
        let block = std::mem::replace(&mut self.small, Vec::with_capacity(self.block_size));
        let len = block.len() as u32;
        self.opened_fragments += 1;
        self.submit(Target::Fragment { len }, block)
    }

    fn submit(&mut self, target: Target, block: Vec<u8>) -> Result<()> {
        if self.pending.len() >= self.most_pending {
            self.write_next()?;
        }
        let (answer, packed) = channel();
        let sparse = matches!(target, Target::File(_));
        let job = Job {
            block,
            sparse,
            answer,
        };
        if self.jobs.send(job).is_err() {
            bail!("the compression of the system image stopped early");
        }
        self.pending.push_back((target, packed));
        Ok(())
    }

    fn write_next(&mut self) -> Result<()> {
        let Some((target, packed)) = self.pending.pop_front() else {
            return Ok(());
        };
        let packed = packed
            .recv()
            .context("the compression of the system image stopped early")??;
        let start = self.position;
        let (bytes, size, hole) = match packed {
            Packed::Compressed(bytes) => {
                let size = bytes.len() as u32;
                (bytes, size, 0)
            }
            Packed::Plain(bytes) => {
                let size = bytes.len() as u32 | STORED;
                (bytes, size, 0)
            }
            Packed::Hole(len) => (Vec::new(), 0, len),
        };
        self.out.write_all(&bytes)?;
        self.position += bytes.len() as u64;
        match target {
            Target::File(index) => {
                let file = &mut self.files[index];
                if file.blocks.is_empty() {
                    file.start = start;
                }
                file.blocks.push(size);
                file.packed += bytes.len() as u64;
                file.sparse += hole as u64;
            }
            Target::Fragment { len } => self.fragments.push(Fragment { start, size, len }),
        }
        Ok(())
    }
}

/// Compresses blocks until there are no more.
fn work(queue: &Mutex<Receiver<Job>>, level: i32) {
    let mut compressor = zstd::bulk::Compressor::new(level);
    loop {
        let job = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(job) = job else { return };
        let packed = match &mut compressor {
            Ok(compressor) => pack(compressor, job.block, job.sparse),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        // The writer gives up on the first error and then no longer listens.
        let _ = job.answer.send(packed);
    }
}

fn pack(
    compressor: &mut zstd::bulk::Compressor<'_>,
    block: Vec<u8>,
    sparse: bool,
) -> io::Result<Packed> {
    if sparse && block.iter().all(|byte| *byte == 0) {
        return Ok(Packed::Hole(block.len()));
    }
    let packed = compressor.compress(&block)?;
    Ok(if packed.len() < block.len() {
        Packed::Compressed(packed)
    } else {
        Packed::Plain(block)
    })
}
