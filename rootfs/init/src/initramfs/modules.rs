//! The modules that lead to the root filesystem.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::steps::Outcome;
use crate::{cmdline, log, sys};

const FOLDER: &str = "/modules";

/// Loads the modules of the initramfs in their order. One that the kernel
/// refuses is passed over: an image serves several boards.
pub(super) fn load_all() -> Outcome {
    let list = Path::new(FOLDER).join("order");
    let order =
        fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let cmdline = cmdline::text();
    let mut refused = 0;
    for file in files(&order) {
        let options = cmdline::module_options(&cmdline, module_name(file));
        if let Err(error) = sys::module::load(&Path::new(FOLDER).join(file), &options) {
            log::info(&format!("module {file} is not loaded: {error}"));
            refused += 1;
        }
    }
    Ok((refused > 0).then(|| format!("{refused} not loaded")))
}

fn files(order: &str) -> impl Iterator<Item = &str> {
    order.lines().map(str::trim).filter(|l| !l.is_empty())
}

fn module_name(file: &str) -> &str {
    file.split('.').next().unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::{files, module_name};

    #[test]
    fn the_order_is_one_file_a_line() {
        let order = "crc16.ko\n\n ext4.ko.xz \n";
        let names: Vec<_> = files(order).map(module_name).collect();
        assert_eq!(files(order).collect::<Vec<_>>(), ["crc16.ko", "ext4.ko.xz"]);
        assert_eq!(names, ["crc16", "ext4"]);
    }
}
