//! Files that hold a root filesystem or an image: archives that are unpacked one
//! over the other.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use flate2::read::MultiGzDecoder;
use rubus_service::ImageConfig;
use serde::Deserialize;
use tar::Archive;

use super::unpack::{self, Budget};

/// What `docker save` calls the list of images in its archive.
const MANIFEST: &str = "manifest.json";
/// More than such a list has, or the configuration of an image.
const LONGEST_DOCUMENT: u64 = 1 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// An image in an archive of `docker save`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    #[serde(default)]
    config: PathBuf,
    layers: Vec<PathBuf>,
}

/// The configuration of an image, of which this matters.
#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    config: Option<ImageConfig>,
}

/// Unpacks a file: a root filesystem as tar, or what `docker save` writes;
/// either may be compressed by gzip. Returns what an image says about running
/// it.
pub(super) fn unpack_file(
    file: &Path,
    root: &Path,
    budget: &mut Budget,
) -> Result<Option<ImageConfig>> {
    let Some(saved) = manifest(file)? else {
        unpack::unpack(open(file)?, root, budget, false)?;
        return Ok(None);
    };
    let [image] = &saved[..] else {
        bail!("it holds {} images; save one by itself", saved.len());
    };
    for layer in &image.layers {
        // The order in the archive is not that of the layers.
        with_entry(file, layer, |entry| {
            unpack::unpack(plain(entry)?, root, budget, true)
        })?
        .ok_or_else(|| anyhow!("its layer {} is missing", layer.display()))?;
    }
    with_entry(file, &image.config, |entry| {
        let read: Configuration = serde_json::from_slice(&text(entry)?)
            .context("its configuration cannot be understood")?;
        Ok(read.config.unwrap_or_default())
    })
}

/// Does something with an entry of an archive; nothing where it is not there.
fn with_entry<T>(
    file: &Path,
    path: &Path,
    act: impl FnOnce(&mut dyn Read) -> Result<T>,
) -> Result<Option<T>> {
    let mut archive = Archive::new(open(file)?);
    let mut entries = archive.entries().context("it cannot be read")?;
    let entry = entries.find_map(|entry| {
        let entry = entry.ok()?;
        (entry.path().ok()? == *path).then_some(entry)
    });
    entry.map(|mut entry| act(&mut entry)).transpose()
}

/// A document of an image.
fn text(stream: &mut dyn Read) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    stream.take(LONGEST_DOCUMENT).read_to_end(&mut text)?;
    Ok(text)
}

/// The images in an archive of `docker save`; none where it is a root
/// filesystem.
fn manifest(file: &Path) -> Result<Option<Vec<Saved>>> {
    let mut archive = Archive::new(open(file)?);
    for entry in archive.entries().context("it cannot be read")? {
        // What the library says quotes from the file.
        let mut entry = entry.map_err(|_| anyhow!("it is no tar archive, or it is cut off"))?;
        let is_it = entry.path().is_ok_and(|it| it == Path::new(MANIFEST));
        if is_it {
            let saved = serde_json::from_slice(&text(&mut entry)?)
                .with_context(|| format!("its {MANIFEST} cannot be understood"))?;
            return Ok(Some(saved));
        }
    }
    Ok(None)
}

fn open(file: &Path) -> Result<Box<dyn Read>> {
    let mut opened = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let mut start = [0; 2];
    let count = opened.read(&mut start)?;
    opened.seek(SeekFrom::Start(0))?;
    let reader = BufReader::new(opened);
    Ok(if count == 2 && start == GZIP {
        Box::new(MultiGzDecoder::new(reader))
    } else {
        Box::new(reader)
    })
}

/// A stream without its compression, if it has one.
fn plain<'a>(mut stream: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let mut start = Vec::new();
    stream.by_ref().take(2).read_to_end(&mut start)?;
    let is_gzip = start == GZIP;
    let whole = std::io::Cursor::new(start).chain(stream);
    Ok(if is_gzip {
        Box::new(MultiGzDecoder::new(whole))
    } else {
        Box::new(whole)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use tar::{Builder, Header};

    use super::*;
    use crate::roots::Owners;

    fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o755);
            builder.append_data(&mut header, name, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// What of `usr/bin/dockerd` comes out of a file.
    fn dockerd(bytes: &[u8]) -> Result<String> {
        let folder = tempfile::tempdir()?;
        let (file, root) = (folder.path().join("file"), folder.path().join("root"));
        fs::write(&file, bytes)?;
        fs::create_dir(&root)?;
        let mut budget = Budget::of(folder.path(), 1 << 20, Owners::Root)?;
        unpack_file(&file, &root, &mut budget)?;
        Ok(fs::read_to_string(root.join("usr/bin/dockerd"))?)
    }

    #[test]
    fn a_root_filesystem_and_a_saved_image_are_told_apart() {
        let root = tar(&[("usr/bin/dockerd", b"new")]);
        let below = tar(&[("usr/bin/dockerd", b"old")]);
        let saved = tar(&[
            ("b/layer.tar", &gzip(&root)),
            ("a/layer.tar", &below),
            (
                MANIFEST,
                br#"[{"Config":"c","RepoTags":["x"],"Layers":["a/layer.tar","b/layer.tar"]}]"#,
            ),
        ]);
        for bytes in [&root, &gzip(&root), &saved, &gzip(&saved)] {
            assert_eq!(dockerd(bytes).unwrap(), "new");
        }
    }

    #[test]
    fn an_image_says_how_it_is_run_and_a_root_filesystem_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let said = |files: &[(&str, &[u8])]| {
            let (file, root) = (folder.path().join("file"), folder.path().join("root"));
            fs::write(&file, tar(files)).unwrap();
            let _ = fs::create_dir(&root);
            let mut budget = Budget::of(folder.path(), 1 << 20, Owners::Root).unwrap();
            unpack_file(&file, &root, &mut budget)
        };
        let manifest: (&str, &[u8]) = (MANIFEST, br#"[{"Config":"c.json","Layers":[]}]"#);
        let config = br#"{"architecture":"arm64","config":{"Cmd":["/bin/web"],"Env":["A=b"]}}"#;
        let known = said(&[("c.json", config), manifest]).unwrap().unwrap();
        assert_eq!(
            (&known.cmd[..], &known.env[..]),
            (&["/bin/web".into()][..], &["A=b".into()][..])
        );
        let silent = said(&[("c.json", br#"{"config":null}"#), manifest]).unwrap();
        assert_eq!(silent, Some(ImageConfig::default()));
        assert_eq!(said(&[manifest]).unwrap(), None);
        assert_eq!(said(&[("bin/web", b"")]).unwrap(), None);
        assert!(said(&[("c.json", b"{"), manifest]).is_err());
    }

    #[test]
    fn what_is_neither_is_an_error() {
        let two = tar(&[(MANIFEST, br#"[{"Layers":[]},{"Layers":[]}]"#)]);
        let missing = tar(&[(MANIFEST, br#"[{"Layers":["nowhere"]}]"#)]);
        let broken = tar(&[(MANIFEST, b"{")]);
        for (bytes, word) in [
            (&two[..], "2 images"),
            (&missing, "nowhere is missing"),
            (&broken, "cannot be understood"),
            (&[7; 2000], "no tar archive"),
            (&gzip(&tar(&[("a", &[1; 5000])]))[..40], "cut off"),
        ] {
            let error = format!("{:#}", dockerd(bytes).unwrap_err());
            assert!(error.contains(word), "{error}");
        }
    }
}
