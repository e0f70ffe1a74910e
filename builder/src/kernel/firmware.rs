//! Takes firmware files out of their packages.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use glob::{MatchOptions, Pattern as Glob};

use crate::{
    board::{Board, FirmwareSpec, Place},
    tree::{Content, Kind, Node, Tree},
};

/// Where the kernel looks for firmware.
const SYSTEM: &str = "usr/lib/firmware";

/// The firmware files of a board.
#[derive(Clone, Debug, Default)]
pub struct Firmware {
    /// Files of the first partition, by name.
    pub start: BTreeMap<String, Content>,
    /// Files of every slot, by name.
    pub slot: BTreeMap<String, Content>,
    /// `usr/lib/firmware` of the system root.
    pub system: Tree,
}

/// Selects a board's firmware from the trees of its packages, by their names.
///
/// # Errors
/// When a package is missing, or has nothing that fits a name of the board.
pub fn select(board: &Board, packages: &BTreeMap<String, Tree>) -> Result<Firmware> {
    let mut firmware = Firmware::default();
    for spec in &board.firmware {
        let package = packages
            .get(&spec.package)
            .with_context(|| format!("the package {} is missing", spec.package))?;
        for file in &spec.files {
            take(&mut firmware, spec, package, file)
                .with_context(|| format!("firmware of board {}", board.name))?;
        }
        link(&mut firmware.system, spec)
            .with_context(|| format!("firmware of board {}", board.name))?;
    }
    Ok(firmware)
}

fn take(firmware: &mut Firmware, spec: &FirmwareSpec, package: &Tree, file: &str) -> Result<()> {
    let within_one_name = MatchOptions {
        require_literal_separator: true,
        ..MatchOptions::new()
    };
    let glob = Glob::new(file).with_context(|| format!("{file:?} is no pattern"))?;
    let from = format!("{}/", spec.from);
    let mut found = false;
    for (path, node) in package.iter() {
        let Some(name) = path.strip_prefix(&from) else {
            continue;
        };
        if node.is_directory() || !glob.matches_with(name, within_one_name) {
            continue;
        }
        found = true;
        let (target, target_node) = package
            .resolve(path)
            .with_context(|| format!("{path} of {} leads nowhere", spec.package))?;
        let Kind::File(content) = &target_node.kind else {
            bail!("{path} of {} is not a file", spec.package);
        };
        for place in &spec.to {
            let files = match place {
                Place::System => {
                    // A link stays one, beside what it leads to: boards share
                    // files under many names.
                    firmware
                        .system
                        .insert(&system_path(path, &from)?, node.clone())?;
                    firmware
                        .system
                        .insert(&system_path(&target, &from)?, target_node.clone())?;
                    continue;
                }
                Place::Start => &mut firmware.start,
                Place::Slot => &mut firmware.slot,
            };
            ensure!(
                !name.contains('/'),
                "{name} is in a folder; partitions are flat"
            );
            files.insert(name.to_owned(), content.clone());
        }
    }
    ensure!(
        found,
        "{} has no file {file:?} in {}",
        spec.package,
        spec.from
    );
    Ok(())
}

fn link(system: &mut Tree, spec: &FirmwareSpec) -> Result<()> {
    for (path, target) in &spec.links {
        let place = format!("{SYSTEM}/{path}");
        ensure!(system.get(&place).is_none(), "{path} is there already");
        system.insert(&place, Node::symlink(target.as_str()))?;
        ensure!(
            system.resolve(&place).is_some(),
            "the link {path} leads to {target}, which is not there"
        );
    }
    Ok(())
}

fn system_path(path: &str, from: &str) -> Result<String> {
    let name = path
        .strip_prefix(from)
        .with_context(|| format!("{path} is not below {from}"))?;
    Ok(format!("{SYSTEM}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(files: &[&str], to: &[Place]) -> FirmwareSpec {
        FirmwareSpec {
            package: "wifi".to_owned(),
            from: "usr/lib/firmware".to_owned(),
            files: files.iter().map(ToString::to_string).collect(),
            to: to.to_vec(),
            links: BTreeMap::new(),
        }
    }

    fn package() -> Tree {
        let mut tree = Tree::new();
        for (path, node) in [
            ("cypress/chip.bin", Node::file(0o644, "chip")),
            ("brcm/chip.bin", Node::symlink("../cypress/chip.bin")),
            ("brcm/other.bin", Node::file(0o644, "other")),
            ("brcm/bad.bin", Node::symlink("../../../../etc/shadow")),
            ("start.elf", Node::file(0o644, "start")),
        ] {
            tree.insert(&format!("usr/lib/firmware/{path}"), node)
                .unwrap();
        }
        tree
    }

    fn take_all(spec: &FirmwareSpec) -> Result<Firmware> {
        let mut firmware = Firmware::default();
        for file in &spec.files {
            take(&mut firmware, spec, &package(), file)?;
        }
        Ok(firmware)
    }

    #[test]
    fn a_link_brings_its_target_and_nothing_else_comes() {
        let firmware = take_all(&spec(&["brcm/chip.*"], &[Place::System])).unwrap();
        let files: Vec<&str> = firmware
            .system
            .iter()
            .filter(|(_, node)| !node.is_directory())
            .map(|(path, _)| path)
            .collect();
        assert_eq!(
            files,
            [
                "usr/lib/firmware/brcm/chip.bin",
                "usr/lib/firmware/cypress/chip.bin"
            ]
        );
    }

    #[test]
    fn a_file_goes_to_every_place_that_is_named() {
        let firmware = take_all(&spec(&["start.elf"], &[Place::Start, Place::Slot])).unwrap();
        assert_eq!(firmware.start["start.elf"].read().unwrap(), b"start");
        assert!(firmware.slot.contains_key("start.elf"));
        assert!(firmware.system.is_empty());
    }

    #[test]
    fn links_are_made_to_what_is_there() {
        let linked = |path: &str, target: &str| {
            let mut spec = spec(&["brcm/other.bin"], &[Place::System]);
            spec.links.insert(path.to_owned(), target.to_owned());
            let mut firmware = take_all(&spec)?;
            link(&mut firmware.system, &spec)?;
            anyhow::Ok(firmware.system)
        };
        let system = linked("brcm/chip.bin", "other.bin").unwrap();
        let (target, _) = system.resolve("usr/lib/firmware/brcm/chip.bin").unwrap();
        assert_eq!(target, "usr/lib/firmware/brcm/other.bin");
        for (path, target) in [
            ("brcm/chip.bin", "gone.bin"),
            ("brcm/other.bin", "other.bin"),
            ("../chip.bin", "other.bin"),
        ] {
            assert!(linked(path, target).is_err(), "{path} to {target}");
        }
    }

    #[test]
    fn what_is_missing_or_leads_out_is_an_error() {
        for file in ["gone.bin", "brcm/bad.bin", "*.bin"] {
            assert!(
                take_all(&spec(&[file], &[Place::System])).is_err(),
                "{file}"
            );
        }
        assert!(take_all(&spec(&["brcm/other.bin"], &[Place::Slot])).is_err());
    }
}
