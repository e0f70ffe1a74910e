//! Reads a kernel module file: decompresses it and finds what it says of
//! itself.

use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use liblzma::{read::XzDecoder, stream::Stream};
use object::{Object, ObjectSection, elf::FileHeader64, endian::LittleEndian, read::elf::ElfFile};
use serde::{Deserialize, Serialize};

use crate::tree::Content;

/// The largest module that is read; the largest of Debian's is 20 MB.
const MAX_LENGTH: u64 = 64 << 20;
/// Memory that one xz decoder may take; modules need 2 MiB.
const MAX_XZ_MEMORY: u64 = 64 << 20;

/// What a signed module ends with.
const SIGNED: &[u8] = b"~Module signature appended~\n";
/// The kernel's `struct module_signature`, which comes before that: its last
/// four bytes are the length of the signature, the highest first.
const SIGNATURE_INFO: usize = 12;

/// The bytes of a module as the kernel loads them: uncompressed, and without
/// the signature, whose check takes the kernel longer than all the rest of
/// loading it; see `docs/decisions/boot-time.md`.
///
/// # Errors
/// When the file cannot be read, is damaged, or claims an absurd size.
pub(crate) fn decompress(path: &str, content: &Content) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path.ends_with(".ko") {
        content
            .reader()
            .take(MAX_LENGTH + 1)
            .read_to_end(&mut bytes)
    } else if path.ends_with(".ko.xz") {
        let stream = Stream::new_stream_decoder(MAX_XZ_MEMORY, 0)?;
        bytes.reserve(4 * content.len().min(MAX_LENGTH / 4) as usize);
        XzDecoder::new_stream(content.reader(), stream)
            .take(MAX_LENGTH + 1)
            .read_to_end(&mut bytes)
    } else {
        bail!("{path} is neither a .ko nor a .ko.xz file");
    }
    .with_context(|| format!("cannot decompress {path}"))?;
    ensure!(
        bytes.len() as u64 <= MAX_LENGTH,
        "{path} is larger than {} MiB, which no module is",
        MAX_LENGTH >> 20
    );
    let length = without_signature(&bytes)
        .with_context(|| format!("the signature of {path} is damaged"))?
        .len();
    bytes.truncate(length);
    Ok(bytes)
}

/// The module that a signature is appended to; nothing when the signature
/// claims to be longer than the file.
fn without_signature(bytes: &[u8]) -> Option<&[u8]> {
    let Some(signed) = bytes.strip_suffix(SIGNED) else {
        return Some(bytes);
    };
    let (rest, length) = signed.split_last_chunk()?;
    let length = u32::from_be_bytes(*length) as usize;
    let before = SIGNATURE_INFO - size_of::<u32>();
    rest.get(..rest.len().checked_sub(before)?.checked_sub(length)?)
}

/// What a module says of itself in its `.modinfo` section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ModInfo {
    /// Modules whose symbols it uses, by name.
    pub(crate) depends: Vec<String>,
    /// Patterns of the devices and requests that it answers to.
    pub(crate) aliases: Vec<String>,
    /// Modules to load before or after it where there are any, as written.
    pub(crate) softdeps: Vec<String>,
}

impl ModInfo {
    /// Reads it out of a module.
    ///
    /// # Errors
    /// When the bytes are not a 64-bit little-endian ELF file with a
    /// `.modinfo` section.
    pub(crate) fn read(module: &[u8]) -> Result<Self> {
        let elf = ElfFile::<FileHeader64<LittleEndian>>::parse(module)
            .context("it is not a 64-bit ELF file")?;
        let section = elf
            .section_by_name(".modinfo")
            .context("it has no .modinfo section")?;
        let mut info = Self::default();
        for (key, value) in pairs(section.data().context("its .modinfo section is cut off")?) {
            match key {
                "depends" => {
                    let names = value.split(',').filter(|name| !name.is_empty());
                    info.depends.extend(names.map(name_of));
                }
                "alias" => info.aliases.push(value.to_owned()),
                "softdep" => info.softdeps.push(value.to_owned()),
                _ => {}
            }
        }
        Ok(info)
    }

    /// The names in its soft dependencies.
    pub(crate) fn soft_names(&self) -> impl Iterator<Item = String> {
        self.softdeps
            .iter()
            .flat_map(|line| line.split_whitespace())
            .filter(|word| !matches!(*word, "pre:" | "post:"))
            .map(name_of)
    }
}

/// `key=value` strings, each ended by a zero byte. What is not UTF-8 or has
/// no `=` is passed over, as depmod does.
pub(crate) fn pairs(section: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    section
        .split(|&byte| byte == 0)
        .filter_map(|entry| std::str::from_utf8(entry).ok()?.split_once('='))
}

/// The name of a module from its file name or from another spelling of it:
/// the kernel takes `-` and `_` for the same, and says `_`.
pub(crate) fn name_of(file: impl AsRef<str>) -> String {
    let file = file.as_ref();
    let file = file.rsplit('/').next().unwrap_or(file);
    let stem = file.split(".ko").next().unwrap_or(file);
    stem.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_has_one_name_however_it_is_written() {
        for text in [
            "kernel/drivers/net/mdio/mdio-bcm-unimac.ko.xz",
            "mdio-bcm-unimac.ko",
            "mdio_bcm-unimac",
        ] {
            assert_eq!(name_of(text), "mdio_bcm_unimac");
        }
    }

    #[test]
    fn soft_dependencies_are_names_without_their_words() {
        let info = ModInfo {
            softdeps: vec!["pre: snd-soc-hdmi-codec post: b".to_owned()],
            ..ModInfo::default()
        };
        let names: Vec<String> = info.soft_names().collect();
        assert_eq!(names, ["snd_soc_hdmi_codec", "b"]);
    }

    #[test]
    fn what_is_not_a_module_is_refused() {
        assert!(ModInfo::read(b"").is_err());
        assert!(ModInfo::read(b"\x7fELF").is_err());
        assert!(ModInfo::read(&[0; 4096]).is_err());
    }

    /// As the kernel's `sign-file` appends it.
    fn signed(module: &[u8], signature: &[u8], length: usize) -> Content {
        let mut bytes = module.to_vec();
        bytes.extend(signature);
        bytes.extend([0, 0, 2, 0, 0, 0, 0, 0]);
        bytes.extend((length as u32).to_be_bytes());
        bytes.extend(SIGNED);
        Content::from(bytes)
    }

    #[test]
    fn a_signature_is_left_off() {
        let whole = signed(b"\x7fELF module", &[7; 700], 700);
        assert_eq!(decompress("a.ko", &whole).unwrap(), b"\x7fELF module");
        assert_eq!(decompress("a.ko", &signed(b"", b"", 0)).unwrap(), b"");
    }

    #[test]
    fn a_signature_longer_than_the_file_is_refused() {
        for content in [
            signed(b"module", &[7; 700], 707),
            signed(b"", b"", u32::MAX as usize),
            Content::from(SIGNED.to_vec()),
            Content::from([&[0; 11], SIGNED].concat()),
        ] {
            let error = decompress("a.ko", &content).unwrap_err().to_string();
            assert_eq!(error, "the signature of a.ko is damaged");
        }
    }

    #[test]
    fn damaged_and_unknown_compression_is_refused() {
        let xz_magic = Content::from(b"\xfd7zXZ\0\0\x04".to_vec());
        assert!(decompress("a.ko.xz", &xz_magic).is_err());
        assert!(decompress("a.ko.xz", &"not xz".into()).is_err());
        assert!(decompress("a.ko.lzma", &"".into()).is_err());
        assert_eq!(decompress("a.ko", &"plain".into()).unwrap(), b"plain");
    }
}
