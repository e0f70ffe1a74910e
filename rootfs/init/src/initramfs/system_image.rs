//! The system root: a squashfs file in the slot.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Error, Result, anyhow, bail};
use nix::mount::MsFlags;
use rubus_config::paths;

use super::{SYSTEM, switch};
use crate::steps::Outcome;
use crate::{mounts, sys};

/// Mounts the system image of the slot, read-only.
pub(super) fn mount() -> Outcome {
    let path = Path::new(paths::SLOT).join(paths::SYSTEM_IMAGE);
    let image = File::open(&path).map_err(|error| {
        anyhow!(
            "cannot open {} of the slot: {error}; write the image to the card again",
            paths::SYSTEM_IMAGE
        )
    })?;
    let mut header = [0; HEADER];
    image
        .read_exact_at(&mut header, 0)
        .map_err(Error::from)
        .and_then(|()| check(&header, image.metadata()?.len()))
        .map_err(damaged)?;

    let device = sys::block::loop_over(&image)
        .with_context(|| format!("cannot put a loop device over {}", paths::SYSTEM_IMAGE))?;
    mounts::make_folder(SYSTEM)?;
    mounts::device(
        &device.path,
        SYSTEM,
        "squashfs",
        MsFlags::MS_RDONLY | MsFlags::MS_NODEV,
        None,
    )
    .map_err(|error| damaged(error.into()))?;
    read_init().map_err(damaged)?;
    Ok(None)
}

fn damaged(why: Error) -> Error {
    anyhow!(
        "{} is damaged: {why:#}; write the image to the card again",
        paths::SYSTEM_IMAGE
    )
}

/// Reads the program that is started next, so that damage shows while there is
/// still something that can say so.
fn read_init() -> Result<()> {
    let path = format!("{SYSTEM}{}", switch::INIT);
    let mut file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    std::io::copy(&mut file, &mut std::io::sink())
        .with_context(|| format!("cannot read {path}"))?;
    Ok(())
}

/// Bytes of the superblock that are looked at.
const HEADER: usize = 48;

/// Whether a superblock is one, and the file as long as it says.
fn check(header: &[u8; HEADER], length: u64) -> Result<()> {
    if &header[..4] != b"hsqs" {
        bail!("it does not begin as a squashfs does");
    }
    let mut used = [0; 8];
    used.copy_from_slice(&header[40..48]);
    let used = u64::from_le_bytes(used);
    if used > length {
        bail!("it is cut off: {length} of {used} bytes are there");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    fn header(magic: &[u8; 4], used: u64) -> [u8; 48] {
        let mut header = [0; 48];
        header[..4].copy_from_slice(magic);
        header[40..].copy_from_slice(&used.to_le_bytes());
        header
    }

    #[test]
    fn a_whole_image_may_be_padded() {
        assert!(check(&header(b"hsqs", 1000), 1000).is_ok());
        assert!(check(&header(b"hsqs", 1000), 4096).is_ok());
    }

    #[test]
    fn an_image_cut_off_or_overwritten_is_refused() {
        let cut = check(&header(b"hsqs", 1000), 999).unwrap_err();
        assert_eq!(
            cut.to_string(),
            "it is cut off: 999 of 1000 bytes are there"
        );
        assert!(check(&header(b"\0\0\0\0", 1000), 1000).is_err());
    }
}
