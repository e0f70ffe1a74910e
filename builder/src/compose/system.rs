//! The system root: Debian's tools for `init` and the runtime, our programs,
//! kernel modules, firmware and the bundles of the services.

use anyhow::{Result, ensure};

use super::skeleton;
use crate::{
    project::SystemRoot,
    tree::{Content, Kind, Node, Tree},
};

/// The executables of the system root.
#[derive(Debug)]
pub struct Programs {
    /// PID 1, also `modprobe`.
    pub init: Content,
    /// What reads and renders the configuration.
    pub configure: Content,
    /// The device command.
    pub ros: Content,
    /// The supervisor.
    pub runtime: Content,
}

/// Composes the system root without its services.
///
/// # Errors
/// When a program that is to be kept is in no package.
pub fn root(definition: &SystemRoot, packages: &[&Tree], programs: &Programs) -> Result<Tree> {
    let mut debian = Tree::new();
    for package in packages {
        debian.merge("", package)?;
    }
    for name in &definition.keep_programs {
        ensure!(
            program_paths(name).any(|path| debian.get(&path).is_some()),
            "rootfs/system.toml keeps {name}, which none of its packages has"
        );
    }
    debian.retain(|path, node| keep(definition, path, node));

    let mut tree = skeleton()?;
    tree.merge("", &debian)?;
    for name in [
        "data",
        "usr/lib/firmware",
        "usr/lib/rubus/services",
        "var/lib/rubus",
    ] {
        tree.insert(name, Node::directory(0o755))?;
    }
    for (path, content) in [
        ("usr/sbin/init", &programs.init),
        ("usr/bin/configure", &programs.configure),
        ("usr/bin/ros", &programs.ros),
        ("usr/bin/system-runtime", &programs.runtime),
    ] {
        tree.insert(path, Node::file(0o755, content.clone()))?;
    }
    tree.insert("usr/sbin/modprobe", Node::symlink("init"))?;
    Ok(tree)
}

/// Of the packages, the named programs and folders, the libraries and the
/// licences stay.
fn keep(definition: &SystemRoot, path: &str, node: &Node) -> bool {
    if node.is_directory() {
        return false;
    }
    if definition
        .keep_programs
        .iter()
        .any(|name| program_paths(name).any(|kept| kept == path))
    {
        return true;
    }
    let inside = |folder: &String| {
        path.strip_prefix(folder.as_str())
            .is_some_and(|rest| rest.starts_with('/'))
    };
    definition.keep_folders.iter().any(inside)
        || path.starts_with("usr/share/doc/")
        || path == "usr/lib/ld-linux-aarch64.so.1"
        || is_library(path)
        || matches!(&node.kind, Kind::File(_)) && path == "etc/mke2fs.conf"
}

fn program_paths(name: &str) -> impl Iterator<Item = String> {
    ["usr/bin", "usr/sbin"]
        .map(|folder| format!("{folder}/{name}"))
        .into_iter()
}

/// A shared library right in the multiarch folder: those in folders below it
/// are plug-ins that nothing here loads.
fn is_library(path: &str) -> bool {
    path.strip_prefix("usr/lib/aarch64-linux-gnu/")
        .is_some_and(|name| !name.contains('/') && name.contains(".so"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_programs_and_libraries_stay() {
        let mut package = Tree::new();
        for path in [
            "usr/bin/crun",
            "usr/bin/other",
            "usr/lib/aarch64-linux-gnu/libc.so.6",
            "usr/lib/aarch64-linux-gnu/gconv/X.so",
            "usr/share/doc/crun/copyright",
            "usr/share/zoneinfo/Europe/Berlin",
            "usr/share/zoneinfo.old/UTC",
        ] {
            package.insert(path, Node::file(0o755, "x")).unwrap();
        }
        let mut definition = SystemRoot {
            packages: Vec::new(),
            exclude: Vec::new(),
            keep_programs: vec!["crun".to_owned()],
            keep_folders: vec!["usr/share/zoneinfo".to_owned()],
        };
        let programs = Programs {
            init: "i".into(),
            configure: "c".into(),
            ros: "r".into(),
            runtime: "s".into(),
        };
        let tree = root(&definition, &[&package], &programs).unwrap();
        assert!(tree.get("usr/bin/crun").is_some());
        assert!(tree.get("usr/bin/other").is_none());
        assert!(tree.get("usr/lib/aarch64-linux-gnu/libc.so.6").is_some());
        assert!(tree.get("usr/lib/aarch64-linux-gnu/gconv").is_none());
        assert!(tree.get("usr/share/zoneinfo/Europe/Berlin").is_some());
        assert!(tree.get("usr/share/zoneinfo.old").is_none());
        assert_eq!(tree.resolve("sbin/modprobe").unwrap().0, "usr/sbin/init");

        definition.keep_programs.push("mke2fs".to_owned());
        assert!(root(&definition, &[&package], &programs).is_err());
    }
}
