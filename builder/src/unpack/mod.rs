//! Unpacking: tar archives become trees whose contents lie in the cache.
//!
//! An archive is hostile until proven otherwise. Nothing in it is ever used as a
//! path on the host; sizes, numbers and kinds of entries are bounded.

mod filter;
mod store;
mod tar;

use std::io::{self, BufRead, Read};

use anyhow::{Result, bail};

pub use self::filter::Filter;
pub(crate) use self::{
    store::{EntryKind, Unpacked, unpack_cached},
    tar::Dialect,
};

/// No archive may unpack to more bytes.
pub const MAX_BYTES: u64 = 4 << 30;

/// No archive may hold more entries.
pub const MAX_ENTRIES: usize = 500_000;

/// What an xz decoder may use: enough for the dictionary of `xz -9` (64 MiB).
const XZ_MEMORY: u64 = 80 << 20;

/// The largest window of a zstd stream (64 MiB), as a power of two.
const ZSTD_WINDOW: u32 = 26;

/// Undoes the compression that a name or a media type ends in.
///
/// # Errors
/// When the compression is not one of xz, zstd, gzip and none, or the decoder
/// cannot be set up.
pub(crate) fn decompress<'a>(
    compression: &str,
    reader: impl BufRead + 'a,
) -> Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        "" => Box::new(reader),
        "gz" | "gzip" => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        "xz" => {
            let stream = liblzma::stream::Stream::new_stream_decoder(
                XZ_MEMORY,
                liblzma::stream::CONCATENATED,
            )?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(reader, stream))
        }
        "zst" | "zstd" => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
            decoder.window_log_max(ZSTD_WINDOW)?;
            Box::new(decoder)
        }
        other => bail!("it is compressed with {other:?}, which is not supported"),
    })
}

/// Reads no more than a number of bytes; what is beyond is an error, not an end.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => {
                return Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    format!("it unpacks to more than {MAX_BYTES} bytes"),
                ));
            }
        }
        Ok(count)
    }
}
