//! The database of dpkg: which packages a root has, and what of it is theirs.
//!
//! It is what `dpkg` would have written while it installed them. No maintainer
//! script has run, but they are there for when a package is upgraded or removed.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context, Result, ensure};
use deb822_fast::Deb822;
use md5::{Digest, Md5};

use crate::{
    debian::deb::Control,
    tree::{Kind, Node, Tree},
};

const FOLDER: &str = "var/lib/dpkg";
/// The version of the layout of `info`.
const FORMAT: &str = "1\n";

/// A package of a root.
#[derive(Clone, Copy, Debug)]
pub struct Installed<'a> {
    /// What it says of itself.
    pub control: &'a Control,
    /// What of it is in the root.
    pub files: &'a Tree,
}

/// Writes the database.
///
/// # Errors
/// When a package describes itself in a way that cannot be read.
pub fn write_database(tree: &mut Tree, packages: &[Installed<'_>]) -> Result<()> {
    let mut status = String::new();
    let mut triggers = Triggers::default();
    for package in packages {
        let fields = Fields::read(&package.control.fields)?;
        let id = fields.id();
        package
            .write(tree, &fields, &id, &mut status, &mut triggers)
            .with_context(|| format!("cannot enter {id} into the database of dpkg"))?;
    }
    put(tree, "status", 0o644, status)?;
    put(tree, "info/format", 0o644, FORMAT)?;
    for folder in ["alternatives", "parts", "updates"] {
        tree.insert(&format!("{FOLDER}/{folder}"), Node::directory(0o755))?;
    }
    for empty in ["available", "diversions", "statoverride"] {
        put(tree, empty, 0o644, "")?;
    }
    triggers.write(tree)
}

/// The fields of a package that say what its files are called.
struct Fields {
    name: String,
    architecture: String,
    same: bool,
}

impl Fields {
    fn read(text: &str) -> Result<Self> {
        let stanzas: Deb822 = text
            .parse()
            .map_err(|error| anyhow::anyhow!("a control file cannot be read: {error}"))?;
        let stanza = stanzas.iter().next().context("a control file is empty")?;
        let field = |name: &str| {
            let value = stanza.get(name).unwrap_or_default().to_owned();
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
            ensure!(
                !value.is_empty() && value.bytes().all(plain),
                "a control file has the impossible {name} {value:?}"
            );
            Ok(value)
        };
        Ok(Self {
            name: field("Package")?,
            architecture: field("Architecture")?,
            same: stanza.get("Multi-Arch") == Some("same"),
        })
    }

    /// What dpkg calls it: with its architecture where there may be another.
    fn id(&self) -> String {
        if self.same {
            format!("{}:{}", self.name, self.architecture)
        } else {
            self.name.clone()
        }
    }
}

impl Installed<'_> {
    fn write(
        &self,
        tree: &mut Tree,
        fields: &Fields,
        id: &str,
        status: &mut String,
        triggers: &mut Triggers,
    ) -> Result<()> {
        let mut list = String::from("/.\n");
        for (path, _) in self.files.iter() {
            list.push('/');
            list.push_str(path);
            list.push('\n');
        }
        put(tree, &format!("info/{id}.list"), 0o644, list)?;
        for (name, content) in &self.control.files {
            let mode = match name.as_str() {
                "preinst" | "postinst" | "prerm" | "postrm" | "config" => 0o755,
                _ => 0o644,
            };
            let content = match name.as_str() {
                "md5sums" => self.sums_of_kept(content),
                _ => content.clone(),
            };
            put(tree, &format!("info/{id}.{name}"), mode, content)?;
        }
        if let Some(text) = self.control.files.get("triggers") {
            triggers.add(&String::from_utf8_lossy(text), id);
        }
        let own = self.control.fields.trim_end();
        // Writing to a string cannot fail.
        let _ = writeln!(status, "{own}\nStatus: install ok installed");
        status.push_str(&self.conffiles()?);
        status.push('\n');
        ensure!(!own.contains("\n\n"), "{} has two paragraphs", fields.name);
        Ok(())
    }

    /// The field `Conffiles`: how the files that people may change were when
    /// they were installed.
    fn conffiles(&self) -> Result<String> {
        let Some(list) = self.control.files.get("conffiles") else {
            return Ok(String::new());
        };
        let mut field = String::new();
        for line in String::from_utf8_lossy(list).lines() {
            // Those that an upgrade removes have a flag before them.
            let Some(path) = line.trim().strip_prefix('/') else {
                continue;
            };
            if let Some(Node {
                kind: Kind::File(content),
                ..
            }) = self.files.get(path)
            {
                let _ = writeln!(field, " /{path} {:x}", Md5::digest(content.read()?));
            }
        }
        if field.is_empty() {
            return Ok(field);
        }
        Ok(format!("Conffiles:\n{field}"))
    }

    /// The sums of what is there: documentation may have been left out.
    fn sums_of_kept(&self, sums: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(sums);
        let kept = text.lines().filter(|line| {
            line.split_once("  ")
                .is_some_and(|(_, path)| self.files.get(path).is_some())
        });
        kept.flat_map(|line| format!("{line}\n").into_bytes())
            .collect()
    }
}

/// Who wants to know when something happens: packages by file, or by the name
/// of what happens.
#[derive(Default)]
struct Triggers {
    by_file: String,
    by_name: BTreeMap<String, String>,
}

impl Triggers {
    fn add(&mut self, text: &str, id: &str) {
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let (Some(directive), Some(name)) = (words.next(), words.next()) else {
                continue;
            };
            let awaited = match directive {
                "interest" | "interest-await" => "",
                "interest-noawait" => "/noawait",
                _ => continue,
            };
            let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
            if name.starts_with('/') {
                self.by_file += &format!("{name} {id}{awaited}\n");
            } else if name.bytes().all(plain) && !name.starts_with('.') {
                let entry = self.by_name.entry(name.to_owned()).or_default();
                *entry += &format!("{id}{awaited}\n");
            }
        }
    }

    fn write(self, tree: &mut Tree) -> Result<()> {
        put(tree, "triggers/File", 0o644, self.by_file)?;
        put(tree, "triggers/Unincorp", 0o644, "")?;
        for (name, packages) in self.by_name {
            put(tree, &format!("triggers/{name}"), 0o644, packages)?;
        }
        Ok(())
    }
}

fn put(tree: &mut Tree, name: &str, mode: u16, content: impl Into<Vec<u8>>) -> Result<()> {
    tree.insert(
        &format!("{FOLDER}/{name}"),
        Node::file(mode, content.into()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(fields: &str, files: &[(&str, &str)]) -> Control {
        Control {
            fields: format!("{fields}\nDescription: x\n"),
            files: files
                .iter()
                .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()))
                .collect(),
        }
    }

    fn files(paths: &[&str]) -> Tree {
        let mut tree = Tree::new();
        for path in paths {
            tree.insert(path, Node::file(0o644, "x")).unwrap();
        }
        tree
    }

    fn text(tree: &Tree, name: &str) -> String {
        match &tree.get(&format!("{FOLDER}/{name}")).expect(name).kind {
            Kind::File(content) => String::from_utf8(content.read().unwrap()).unwrap(),
            _ => panic!("{name} is no file"),
        }
    }

    #[test]
    fn a_package_is_installed_with_its_files_and_scripts() {
        let library = control(
            "Package: libx\nArchitecture: arm64\nMulti-Arch: same\nVersion: 1",
            &[(
                "triggers",
                "# so\nactivate-noawait ldconfig\ninterest /usr/lib/x\n",
            )],
        );
        let tool = control(
            "Package: tool\nArchitecture: all\nMulti-Arch: foreign\nVersion: 2",
            &[
                (
                    "conffiles",
                    "/etc/tool.conf\nremove-on-upgrade /etc/old\n/etc/gone\n",
                ),
                ("md5sums", "00  usr/bin/tool\n11  usr/share/man/tool.1\n"),
                ("postinst", "#!/bin/sh\n"),
                (
                    "triggers",
                    "interest-noawait done # when done\ninterest done\n",
                ),
            ],
        );
        let (of_library, of_tool) = (
            files(&["usr/lib/x"]),
            files(&["etc/tool.conf", "usr/bin/tool"]),
        );
        let mut tree = Tree::new();
        write_database(
            &mut tree,
            &[
                Installed {
                    control: &library,
                    files: &of_library,
                },
                Installed {
                    control: &tool,
                    files: &of_tool,
                },
            ],
        )
        .unwrap();
        assert_eq!(
            text(&tree, "status"),
            "Package: libx\nArchitecture: arm64\nMulti-Arch: same\nVersion: 1\nDescription: x\n\
             Status: install ok installed\n\n\
             Package: tool\nArchitecture: all\nMulti-Arch: foreign\nVersion: 2\nDescription: x\n\
             Status: install ok installed\n\
             Conffiles:\n /etc/tool.conf 9dd4e461268c8034f5c8564e155c67a6\n\n"
        );
        assert_eq!(
            text(&tree, "info/tool.list"),
            "/.\n/etc\n/etc/tool.conf\n/usr\n/usr/bin\n/usr/bin/tool\n"
        );
        // Another architecture of it could be there too.
        assert_eq!(
            text(&tree, "info/libx:arm64.list"),
            "/.\n/usr\n/usr/lib\n/usr/lib/x\n"
        );
        assert_eq!(text(&tree, "info/tool.md5sums"), "00  usr/bin/tool\n");
        let script = tree.get(&format!("{FOLDER}/info/tool.postinst")).unwrap();
        assert_eq!(script.mode, 0o755);
        assert_eq!(text(&tree, "info/format"), "1\n");
        assert_eq!(text(&tree, "triggers/File"), "/usr/lib/x libx:arm64\n");
        assert_eq!(text(&tree, "triggers/done"), "tool/noawait\ntool\n");
        assert!(tree.get("var/lib/dpkg/triggers/ldconfig").is_none());
    }

    #[test]
    fn a_package_cannot_write_elsewhere_or_smuggle_in_another() {
        for (fields, triggers) in [
            ("Package: ../x\nArchitecture: all", ""),
            ("Package: x\nArchitecture: a/b\nMulti-Arch: same", ""),
            ("Architecture: all", ""),
            (
                "Package: x\nArchitecture: all\n\nPackage: y\nArchitecture: all",
                "",
            ),
        ] {
            let hostile = control(fields, &[("triggers", triggers)]);
            let package = Installed {
                control: &hostile,
                files: &Tree::new(),
            };
            assert!(
                write_database(&mut Tree::new(), &[package]).is_err(),
                "{fields}"
            );
        }
        let hostile = control(
            "Package: x\nArchitecture: all",
            &[(
                "triggers",
                "interest ../../../etc/x\ninterest .\ninterest a/b\n",
            )],
        );
        let package = Installed {
            control: &hostile,
            files: &Tree::new(),
        };
        let mut tree = Tree::new();
        write_database(&mut tree, &[package]).unwrap();
        let named = tree.iter().filter(|(path, _)| path.contains("triggers/"));
        assert_eq!(named.count(), 2, "File and Unincorp");
    }
}
