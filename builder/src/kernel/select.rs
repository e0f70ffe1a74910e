//! Finds what kernel packages hold, wherever this version of them puts it,
//! and which of its modules a board's patterns mean.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use glob::{MatchOptions, Pattern as Glob};

use super::module::name_of;
use crate::{
    board::Pattern,
    tree::{Content, Kind, Tree},
};

const MODULES: &str = "usr/lib/modules/";

/// A module file of the packages.
#[derive(Clone, Debug)]
pub(crate) struct ModuleFile {
    /// Path below the folder of the release, as it will be: `kernel/...ko`.
    pub(crate) path: String,
    /// Path in the package, with its compression's ending.
    pub(crate) source: String,
    /// The file.
    pub(crate) content: Content,
}

/// The parts of an unpacked kernel.
#[derive(Debug)]
pub(crate) struct Parts {
    /// What `uname -r` will say.
    pub(crate) release: String,
    /// The uncompressed kernel.
    pub(crate) image: Content,
    /// All modules, by name.
    pub(crate) modules: BTreeMap<String, ModuleFile>,
    /// Names of the modules that are built in, each with its path.
    pub(crate) builtin: BTreeMap<String, String>,
    /// `modules.builtin`, `.builtin.modinfo` and `.order`, by name.
    pub(crate) lists: BTreeMap<String, Content>,
    /// All device trees, by path.
    dtbs: BTreeMap<String, Content>,
}

impl Parts {
    /// Finds them in the merged tree of the kernel packages.
    ///
    /// # Errors
    /// When there is not exactly one kernel in it, or a part is missing.
    pub(crate) fn find(tree: &Tree) -> Result<Self> {
        let release = release(tree)?;
        let folder = format!("{MODULES}{release}/");
        let file = |path: &str| match tree.resolve(path)?.1.kind {
            Kind::File(ref content) => Some(content.clone()),
            _ => None,
        };
        let image = [
            format!("{folder}vmlinuz"),
            format!("boot/vmlinuz-{release}"),
        ]
        .iter()
        .find_map(|path| file(path))
        .with_context(|| format!("the packages of kernel {release} hold no vmlinuz"))?;

        let mut parts = Self {
            image,
            modules: BTreeMap::new(),
            builtin: BTreeMap::new(),
            lists: BTreeMap::new(),
            dtbs: BTreeMap::new(),
            release,
        };
        for name in [
            "modules.builtin",
            "modules.builtin.modinfo",
            "modules.order",
        ] {
            let list = file(&format!("{folder}{name}"))
                .with_context(|| format!("kernel {} has no {name}", parts.release))?;
            parts.lists.insert(name.to_owned(), list);
        }
        let builtin = parts.list("modules.builtin")?;
        for path in builtin.lines() {
            parts.builtin.insert(name_of(path), path.to_owned());
        }
        for (path, node) in tree.iter() {
            let Kind::File(content) = &node.kind else {
                continue;
            };
            if path.ends_with(".dtb") {
                parts.dtbs.insert(path.to_owned(), content.clone());
            } else if let Some(below) = path.strip_prefix(&folder)
                && let Some((stem, _)) = below.rsplit_once(".ko")
                && below.starts_with("kernel/")
            {
                let module = ModuleFile {
                    path: format!("{stem}.ko"),
                    source: path.to_owned(),
                    content: content.clone(),
                };
                if let Some(twin) = parts.modules.insert(name_of(below), module) {
                    bail!("{} and {path} are two modules of one name", twin.source);
                }
            }
        }
        Ok(parts)
    }

    /// One of the text lists.
    pub(crate) fn list(&self, name: &str) -> Result<String> {
        let bytes = match self.lists.get(name) {
            Some(content) => content.read()?,
            None => Vec::new(),
        };
        String::from_utf8(bytes).with_context(|| format!("{name} is not text"))
    }

    /// The device tree of a name such as `bcm2711-rpi-4-b`.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub(crate) fn dtb(&self, name: &str) -> Result<&Content> {
        let ending = format!("/{name}.dtb");
        let mut found = self.dtbs.iter().filter(|(path, _)| path.ends_with(&ending));
        let (_, dtb) = found
            .next()
            .with_context(|| format!("kernel {} has no {name}.dtb", self.release))?;
        ensure!(
            found.next().is_none(),
            "kernel {} has several files named {name}.dtb",
            self.release
        );
        Ok(dtb)
    }

    /// The names of the modules that a pattern means, in order. Empty when all
    /// that it means is built in.
    ///
    /// # Errors
    /// When it means nothing that this kernel has.
    pub(crate) fn matching(&self, pattern: &Pattern) -> Result<BTreeSet<String>> {
        let alternatives = pattern
            .text
            .split('|')
            .map(Matcher::new)
            .collect::<Result<Vec<_>>>()
            .with_context(|| format!("{}: {:?} is no pattern", pattern.place, pattern.text))?;
        let matches = |name: &str, path: &str| {
            let path = path.strip_prefix("kernel/").unwrap_or(path);
            let path = path.strip_suffix(".ko").unwrap_or(path);
            alternatives.iter().any(|one| one.matches(name, path))
        };
        let names: BTreeSet<String> = self
            .modules
            .iter()
            .filter(|(name, module)| matches(name, &module.path))
            .map(|(name, _)| name.clone())
            .collect();
        ensure!(
            !names.is_empty() || self.builtin.iter().any(|(name, path)| matches(name, path)),
            "{}: kernel {} has no module {:?}; correct it or take it out",
            pattern.place,
            self.release,
            pattern.text
        );
        Ok(names)
    }
}

/// One alternative of a pattern.
enum Matcher {
    Name(Glob),
    Path(Glob),
}

impl Matcher {
    fn new(text: &str) -> Result<Self> {
        Ok(if text.contains('/') {
            Self::Path(Glob::new(text)?)
        } else {
            Self::Name(Glob::new(&text.replace('-', "_"))?)
        })
    }

    fn matches(&self, name: &str, path: &str) -> bool {
        let within_one_name = MatchOptions {
            require_literal_separator: true,
            ..MatchOptions::new()
        };
        match self {
            Self::Name(glob) => glob.matches(name),
            Self::Path(glob) => glob.matches_with(path, within_one_name),
        }
    }
}

/// The one folder below `usr/lib/modules` that holds modules.
fn release(tree: &Tree) -> Result<String> {
    let releases: BTreeSet<&str> = tree
        .iter()
        .filter_map(|(path, _)| path.strip_prefix(MODULES)?.split_once("/kernel/"))
        .map(|(release, _)| release)
        .filter(|release| !release.contains('/'))
        .collect();
    let mut releases = releases.into_iter();
    match (releases.next(), releases.next()) {
        (Some(release), None) => Ok(release.to_owned()),
        (Some(one), Some(other)) => {
            bail!("the kernel packages hold two kernels, {one} and {other}")
        }
        (None, _) => bail!("the kernel packages hold no modules"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Node;

    fn pattern(text: &str) -> Pattern {
        Pattern {
            text: text.to_owned(),
            place: "boards/x.toml:7".to_owned(),
        }
    }

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::new();
        for (path, text) in files {
            tree.insert(path, Node::file(0o644, *text)).unwrap();
        }
        tree
    }

    const FILES: [(&str, &str); 9] = [
        ("boot/vmlinuz-1.2", "kernel"),
        ("usr/lib/linux-image-1.2/broadcom/bcm1.dtb", "one"),
        ("usr/lib/linux-image-1.2/other/xbcm1.dtb", "two"),
        (
            "usr/lib/modules/1.2/modules.builtin",
            "kernel/fs/in-it.ko\n",
        ),
        ("usr/lib/modules/1.2/modules.builtin.modinfo", ""),
        ("usr/lib/modules/1.2/modules.order", ""),
        ("usr/lib/modules/1.2/kernel/net/usb/a-b.ko.xz", "a"),
        ("usr/lib/modules/1.2/kernel/net/usb/deep/c.ko.xz", "c"),
        ("usr/lib/modules/1.2/kernel/net/d.ko.xz", "d"),
    ];

    fn names(parts: &Parts, text: &str) -> Vec<String> {
        let names = parts.matching(&pattern(text)).unwrap();
        names.into_iter().collect()
    }

    #[test]
    fn the_parts_are_found_in_both_layouts_of_debian() {
        let parts = Parts::find(&tree(&FILES)).unwrap();
        assert_eq!(parts.release, "1.2");
        assert_eq!(parts.image.read().unwrap(), b"kernel");
        assert_eq!(parts.dtb("bcm1").unwrap().read().unwrap(), b"one");
        assert_eq!(parts.modules["a_b"].path, "kernel/net/usb/a-b.ko");

        let mut split = tree(&FILES[3..]);
        for (path, text) in [("vmlinuz", "kernel"), ("dtb/broadcom/bcm1.dtb", "one")] {
            let path = format!("usr/lib/modules/1.2/{path}");
            split.insert(&path, Node::file(0o644, text)).unwrap();
        }
        split
            .insert("usr/lib/linux-image-1.2", Node::symlink("modules/1.2/dtb"))
            .unwrap();
        let parts = Parts::find(&split).unwrap();
        assert_eq!(parts.image.read().unwrap(), b"kernel");
        assert_eq!(parts.dtb("bcm1").unwrap().read().unwrap(), b"one");
    }

    #[test]
    fn a_pattern_is_a_name_or_a_path() {
        let parts = Parts::find(&tree(&FILES)).unwrap();
        assert_eq!(names(&parts, "a-b"), ["a_b"]);
        assert_eq!(names(&parts, "a_b"), ["a_b"]);
        assert_eq!(names(&parts, "[cd]"), ["c", "d"]);
        assert_eq!(names(&parts, "net/usb/*"), ["a_b"]);
        assert_eq!(names(&parts, "net/**/*"), ["a_b", "c", "d"]);
        assert_eq!(names(&parts, "gone|d"), ["d"]);
    }

    #[test]
    fn a_pattern_may_mean_what_is_built_in() {
        let parts = Parts::find(&tree(&FILES)).unwrap();
        assert!(names(&parts, "in-it").is_empty());
        assert!(names(&parts, "fs/in-it").is_empty());
    }

    #[test]
    fn a_pattern_that_means_nothing_is_an_error_that_names_its_place() {
        let parts = Parts::find(&tree(&FILES)).unwrap();
        let error = parts.matching(&pattern("gone")).unwrap_err().to_string();
        assert!(
            error.contains("boards/x.toml:7") && error.contains("\"gone\""),
            "{error}"
        );
        assert!(parts.matching(&pattern("[")).is_err());
    }

    #[test]
    fn no_kernel_and_two_kernels_are_refused() {
        assert!(Parts::find(&Tree::new()).is_err());
        let mut two = tree(&FILES);
        two.insert("usr/lib/modules/1.3/kernel/x.ko.xz", Node::file(0o644, ""))
            .unwrap();
        let error = Parts::find(&two).unwrap_err().to_string();
        assert!(error.contains("1.2 and 1.3"), "{error}");
        assert!(Parts::find(&tree(&FILES[1..])).is_err(), "without vmlinuz");
        let parts = Parts::find(&tree(&FILES)).unwrap();
        assert!(parts.dtb("bcm2").is_err());
    }
}
