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
