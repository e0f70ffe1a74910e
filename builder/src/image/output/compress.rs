//! Compressors for the image. Their output depends on the level alone, not on
//! the number of threads: both cut the input into jobs by length.

use std::{
    fs::File,
    io::{self, Write},
};

use anyhow::{Context, Result, ensure};
use liblzma::{
    stream::{Check, Filters, LzmaOptions, MtStreamBuilder},
    write::XzEncoder,
};

use super::Hashing;

/// Each thread of xz holds several blocks of this size.
const XZ_BLOCK: u64 = 8 << 20;
/// More threads would need too much memory with xz.
const XZ_THREADS: usize = 4;

/// How the image is compressed. Most of it is compressed already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// zstd with a level, 1 to 19.
    Zstd(i32),
    /// xz with a level, 0 to 9.
    Xz(u32),
    /// Not at all.
    None,
}

impl Compression {
    /// zstd at the level that was measured to be worth its time.
    pub const DEFAULT: Self = Self::Zstd(3);
    /// Level of xz when none is given.
    pub const XZ_LEVEL: u32 = 3;

    /// What the compressed image is called after `.img.`.
    pub fn extension(self) -> Option<&'static str> {
        match self {
            Self::Zstd(_) => Some("zst"),
            Self::Xz(_) => Some("xz"),
            Self::None => None,
        }
    }
}

pub(super) enum Encoder {
    Zstd(zstd::Encoder<'static, Hashing<File>>),
    Xz(Box<XzEncoder<Hashing<File>>>),
}

impl Encoder {
    /// Starts to compress `size` bytes into the file that `create` makes for
    /// an extension; nothing, where the image is not compressed.
    pub(super) fn start(
        compression: Compression,
        threads: usize,
        size: u64,
        create: impl FnOnce(&str) -> Result<File>,
    ) -> Result<Option<Self>> {
        let Some(extension) = compression.extension() else {
            return Ok(None);
        };
        let out = Hashing::new(create(extension)?);
        let threads = threads.max(1);
        Ok(match compression {
            Compression::Zstd(level) => {
                ensure!(
                    (1..=19).contains(&level),
                    "zstd has no level {level}; 1 to 19 are possible"
                );
                let mut encoder = zstd::Encoder::new(out, level)?;
                encoder.include_checksum(true)?;
                encoder.set_pledged_src_size(Some(size))?;
                // With workers the output is that of the multi-threaded form,
                // the same for one worker and for many; without it is another.
                encoder.multithread(u32::try_from(threads)?)?;
                Some(Self::Zstd(encoder))
            }
            Compression::Xz(level) => {
                ensure!(level <= 9, "xz has no level {level}; 0 to 9 are possible");
                let mut filters = Filters::new();
                filters.lzma2(&LzmaOptions::new_preset(level)?);
                let stream = MtStreamBuilder::new()
                    .filters(filters)
                    .check(Check::Crc64)
                    .block_size(XZ_BLOCK)
                    .threads(threads.min(XZ_THREADS) as u32)
                    .encoder()
                    .context("cannot start xz")?;
                Some(Self::Xz(Box::new(XzEncoder::new_stream(out, stream))))
            }
            Compression::None => None,
        })
    }

    /// Ends the file; returns its SHA-256.
    pub(super) fn finish(self) -> Result<String> {
        let out = match self {
            Self::Zstd(encoder) => encoder.finish(),
            Self::Xz(encoder) => encoder.finish(),
        }
        .context("cannot write the compressed image")?;
        Ok(out.finish())
    }
}

impl Write for Encoder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Zstd(encoder) => encoder.write(bytes),
            Self::Xz(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Zstd(encoder) => encoder.flush(),
            Self::Xz(encoder) => encoder.flush(),
        }
    }
}
