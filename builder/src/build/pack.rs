//! From the system root to the files in the output folder.

use std::{
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result};
use rubus_config::image::ImageInfo;
use tempfile::NamedTempFile;

use super::{Output, describe, plan::Plan};
use crate::{
    cli::Compress,
    image::{
        cpio, disk, fat,
        output::{self, Compression, Finished, Outputs},
        squashfs,
    },
    kernel::{self, Kernel, firmware::Firmware},
    manifest,
    tree::{CacheFile, Content, Tree},
    ui::{self, Ui},
};

/// What an image is packed from.
pub(super) struct Parts<'a> {
    pub(super) plan: &'a Plan,
    pub(super) info: &'a ImageInfo,
    pub(super) system: &'a Tree,
    pub(super) init: Content,
    pub(super) kernel: &'a Kernel,
    pub(super) firmware: &'a Firmware,
}

impl Parts<'_> {
    /// Writes all output files; they get their names together, at the end.
    pub(super) fn write(
        &self,
        folder: &Path,
        output: Output,
        ui: &mut Ui,
    ) -> Result<Vec<Finished>> {
        let name = image_name(&self.info.board);
        let mut outputs = Outputs::open(folder, &name)?;
        let squashfs = ui.step("System image", |_| self.pack_system(folder))?;

        let layout = disk::Layout::new(
            self.plan.board.partition_table,
            &self.info.build_id,
            self.plan.slot_size,
        )?;
        let image = outputs.image()?;
        let (ranges, manifest) = ui.step("Disk image", |_| {
            let mut slot = self.slot(&layout, &squashfs.content)?;
            let manifest = describe::manifest(self.plan, self.info, &slot, &squashfs.stats)?;
            let manifest = manifest.to_json()?;
            slot.insert(manifest::FILE_NAME.to_owned(), manifest.as_str().into());
            let ranges = disk::write(
                &layout,
                self.info.timestamp,
                &self.boot_partition(),
                &slot,
                &image,
            )
            .with_context(|| format!("cannot write the image in {}", folder.display()))?;
            Ok((ranges, manifest))
        })?;
        ui.step("Compression and map", |bar| {
            ui::count_bytes(bar, layout.size);
            outputs.pack(
                &image,
                &ranges,
                compression(output),
                cores(),
                &mut |position| bar.set_position(position),
            )?;
            let bill = describe::bill_of_materials(self.plan, self.info, &name)?;
            outputs.add("spdx.json", bill.as_bytes())?;
            outputs.add("manifest.json", manifest.as_bytes())?;
            outputs.commit()
        })
    }

    /// The packed system root, in a file without a name of its own.
    fn pack_system(&self, folder: &Path) -> Result<Packed> {
        let mut file = tempfile::Builder::new()
            .prefix(&format!(".{}.system.", image_name(&self.info.board)))
            .suffix(output::TEMPORARY)
            .tempfile_in(folder)
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        let timestamp = u32::try_from(self.info.timestamp)?;
        let options = squashfs::Options::default();
        let stats = squashfs::write(self.system, timestamp, options, file.as_file_mut())
            .with_context(|| format!("cannot write the system image in {}", folder.display()))?;
        Ok(Packed {
            content: Content::Slice {
                file: CacheFile::new(file.path().to_path_buf()),
                offset: 0,
                len: stats.size,
            },
            stats,
            _file: file,
        })
    }

    fn slot(&self, layout: &disk::Layout, system: &Content) -> Result<fat::Files> {
        let initramfs = kernel::initramfs::tree(self.init.clone(), self.kernel)?;
        let timestamp = u32::try_from(self.info.timestamp)?;
        let initramfs = cpio::initramfs(&initramfs, timestamp, cpio::LEVEL)?;
        let cmdline = &self.plan.board.kernel.cmdline;
        let cmdline = format!("{}\n", cmdline.replace("{slot}", &layout.slot.partuuid));

        let mut files = self.firmware.slot.clone();
        files.extend(self.kernel.dtbs.iter().cloned());
        files.insert("vmlinuz".to_owned(), self.kernel.image.clone());
        files.insert("initrd.img".to_owned(), initramfs.into());
        files.insert("cmdline.txt".to_owned(), cmdline.into());
        files.insert(rubus_config::paths::SYSTEM_IMAGE.to_owned(), system.clone());
        insert_text(&mut files, "config.txt", &self.config_txt()?);
        Ok(files)
    }

    /// `config.txt`, with a place for lines of the settings; empty where no
    /// firmware reads one.
    fn config_txt(&self) -> Result<String> {
        let (board, settings) = (&self.plan.board.config, &self.plan.settings.firmware);
        if board.is_empty() {
            return Ok(String::new());
        }
        rubus_config::firmware::config_txt(board, &settings.lines())
            .context("the lines of `firmware.config` do not fit into config.txt")
    }

    fn boot_partition(&self) -> fat::Files {
        let mut files = self.firmware.start.clone();
        insert_text(&mut files, "autoboot.txt", &self.plan.board.autoboot);
        files
    }
}

struct Packed {
    content: Content,
    stats: squashfs::Stats,
    /// Removes the file when the image holds its content.
    _file: NamedTempFile,
}

/// The name of a board's image, without an ending.
pub(super) fn image_name(board: &str) -> String {
    format!("rubus-{board}")
}

/// Where a board's image is in an output folder.
pub fn image_path(folder: &Path, board: &str) -> PathBuf {
    folder.join(format!("{}.img", image_name(board)))
}

fn insert_text(files: &mut fat::Files, name: &str, text: &str) {
    if !text.is_empty() {
        files.insert(name.to_owned(), text.into());
    }
}

fn compression(output: Output) -> Compression {
    match (output.compress, output.level) {
        (Compress::None, _) => Compression::None,
        (Compress::Zst, None) => Compression::DEFAULT,
        (Compress::Zst, Some(level)) => Compression::Zstd(level.cast_signed()),
        (Compress::Xz, level) => Compression::Xz(level.unwrap_or(Compression::XZ_LEVEL)),
    }
}

/// Threads to use.
pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, Into::into)
}
