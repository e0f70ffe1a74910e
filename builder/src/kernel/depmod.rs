//! What depmod would write: which module needs which, and which answers to
//! what. As text, for people and for our own modprobe, and as kmod's indexes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};

use super::{
    index::Index,
    module::{ModInfo, name_of, pairs},
};

/// A module of the image.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    /// Path below the folder of the release.
    pub(crate) path: String,
    /// What it says of itself.
    pub(crate) info: ModInfo,
}

/// The lists that come with the kernel.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    /// `modules.order`.
    pub(crate) order: String,
    /// `modules.builtin`.
    pub(crate) builtin: String,
    /// `modules.builtin.modinfo`.
    pub(crate) builtin_modinfo: Vec<u8>,
}

/// Makes the `modules.*` files for a set of modules, by name.
///
/// # Errors
/// When a module depends on one that is not in the set, or on itself through
/// others.
pub(crate) fn tables(
    modules: &BTreeMap<String, Module>,
    lists: &Lists,
) -> Result<Vec<(&'static str, Vec<u8>)>> {
    // Modules that come first in modules.order are preferred where several
    // answer to one alias, so everything is written in that order.
    let position: BTreeMap<String, usize> = lists.order.lines().map(name_of).zip(0..).collect();
    let mut ordered: Vec<(&String, &Module)> = modules.iter().collect();
    ordered.sort_by_key(|(name, _)| position.get(*name).copied().unwrap_or(usize::MAX));

    let mut order = String::new();
    let mut dep = String::new();
    let mut alias = String::from("# Aliases extracted from modules themselves.\n");
    let mut softdep = String::from("# Soft dependencies extracted from modules themselves.\n");
    let mut devname = String::from("# Device nodes to trigger on-demand module loading.\n");
    let mut dep_index = Index::default();
    let mut alias_index = Index::default();
    for (priority, (name, module)) in (0..).zip(ordered) {
        order.push_str(&format!("{}\n", module.path));

        let mut line = format!("{}:", module.path);
        for needed in load_order(modules, name)?.into_iter().rev().skip(1) {
            line.push(' ');
            line.push_str(&modules[needed].path);
        }
        dep_index.add(name, priority, &line);
        dep.push_str(&format!("{line}\n"));

        for pattern in &module.info.aliases {
            alias.push_str(&format!("alias {pattern} {name}\n"));
            alias_index.add(&underscores(pattern), priority, name);
        }
        for line in &module.info.softdeps {
            softdep.push_str(&format!("softdep {name} {line}\n"));
        }
        if let Some(node) = device_node(&module.info) {
            devname.push_str(&format!("{name} {node}\n"));
        }
    }

    let mut builtin_index = Index::default();
    for path in lists.builtin.lines() {
        builtin_index.add(&name_of(path), 0, "");
    }
    let mut builtin_alias_index = Index::default();
    for (key, value) in pairs(&lists.builtin_modinfo) {
        if let Some((name, "alias")) = key.split_once('.') {
            builtin_alias_index.add(&underscores(value), 0, &name_of(name));
        }
    }

    Ok(vec![
        ("modules.alias", alias.into_bytes()),
        ("modules.alias.bin", alias_index.write()),
        ("modules.builtin", lists.builtin.clone().into_bytes()),
        ("modules.builtin.alias.bin", builtin_alias_index.write()),
        ("modules.builtin.bin", builtin_index.write()),
        ("modules.builtin.modinfo", lists.builtin_modinfo.clone()),
        ("modules.dep", dep.into_bytes()),
        ("modules.dep.bin", dep_index.write()),
        ("modules.devname", devname.into_bytes()),
        ("modules.order", order.into_bytes()),
        ("modules.softdep", softdep.into_bytes()),
        // libkmod opens this one too and gives up without it. It answers
        // requests for a symbol, which only DVB drivers make.
        ("modules.symbols.bin", Index::default().write()),
    ])
}

/// A module and everything that it depends on, each after what it needs; the
/// module itself comes last.
///
/// # Errors
/// As [`tables`].
pub(crate) fn load_order<'a>(
    modules: &'a BTreeMap<String, Module>,
    name: &'a str,
) -> Result<Vec<&'a str>> {
    let mut order = Vec::new();
    let mut done = BTreeSet::new();
    // The path from the module to the one being visited: each with those of
    // its dependencies that are still to be looked at.
    let mut path: Vec<(&str, std::slice::Iter<'a, String>)> = Vec::new();
    let mut next = Some(name);
    loop {
        if let Some(name) = next.take() {
            if path.iter().any(|(above, _)| *above == name) {
                bail!("the kernel module {name} depends on itself");
            }
            if done.insert(name) {
                let module = modules
                    .get(name)
                    .with_context(|| format!("the kernel module {name} is not in the image"))?;
                path.push((name, module.info.depends.iter()));
            }
        }
        let Some((name, rest)) = path.last_mut() else {
            return Ok(order);
        };
        match rest.next() {
            Some(needed) => next = Some(needed),
            None => {
                order.push(*name);
                path.pop();
            }
        }
    }
}

/// The device node that loads a module when it is opened, as `name type:numbers`:
/// from an alias that gives the name and one that gives the numbers.
fn device_node(info: &ModInfo) -> Option<String> {
    let name = info
        .aliases
        .iter()
        .find_map(|alias| alias.strip_prefix("devname:"))?;
    info.aliases.iter().find_map(|alias| {
        let (kind, rest) = match alias.strip_prefix("char-major-") {
            Some(rest) => ('c', rest),
            None => ('b', alias.strip_prefix("block-major-")?),
        };
        let (major, minor) = rest.split_once('-')?;
        let minor = if minor == "*" { "0" } else { minor };
        Some(format!("{name} {kind}{major}:{minor}"))
    })
}

/// An alias as lookups spell it: `_` for `-`, but not within brackets, where
/// it is a range.
fn underscores(alias: &str) -> String {
    let mut in_brackets = false;
    alias
        .chars()
        .map(|character| {
            match character {
                '[' => in_brackets = true,
                ']' => in_brackets = false,
                '-' if !in_brackets => return '_',
                _ => {}
            }
            character
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str, depends: &[&str], aliases: &[&str]) -> (String, Module) {
        let info = ModInfo {
            depends: depends.iter().map(ToString::to_string).collect(),
            aliases: aliases.iter().map(ToString::to_string).collect(),
            softdeps: Vec::new(),
        };
        let path = path.to_owned();
        (name_of(&path), Module { path, info })
    }

    fn text(tables: &[(&str, Vec<u8>)], name: &str) -> String {
        let (_, bytes) = tables.iter().find(|(table, _)| *table == name).unwrap();
        String::from_utf8(bytes.clone()).unwrap()
    }

    #[test]
    fn a_module_follows_what_it_needs_and_everything_is_named_once() {
        let modules = BTreeMap::from([
            module("kernel/top.ko", &["left", "right"], &[]),
            module("kernel/left.ko", &["base"], &[]),
            module("kernel/right.ko", &["base"], &[]),
            module("kernel/base.ko", &[], &[]),
        ]);
        assert_eq!(
            load_order(&modules, "top").unwrap(),
            ["base", "left", "right", "top"]
        );
        let tables = tables(&modules, &Lists::default()).unwrap();
        // modprobe loads a line from its end.
        assert!(
            text(&tables, "modules.dep")
                .contains("kernel/top.ko: kernel/right.ko kernel/left.ko kernel/base.ko\n")
        );
    }

    #[test]
    fn a_missing_module_and_a_cycle_are_errors() {
        let missing = BTreeMap::from([module("kernel/a.ko", &["b"], &[])]);
        assert!(load_order(&missing, "a").is_err());
        let cycle = BTreeMap::from([
            module("kernel/a.ko", &["b"], &[]),
            module("kernel/b.ko", &["a"], &[]),
        ]);
        assert!(tables(&cycle, &Lists::default()).is_err());
    }

    #[test]
    fn tables_are_in_the_order_of_the_kernel() {
        let modules = BTreeMap::from([
            module("kernel/a.ko", &[], &["x-y[a-z]"]),
            module("kernel/b.ko", &[], &["x-y[a-z]"]),
        ]);
        let lists = Lists {
            order: "kernel/b.ko\nkernel/a.ko\n".to_owned(),
            ..Lists::default()
        };
        let tables = tables(&modules, &lists).unwrap();
        let aliases = text(&tables, "modules.alias");
        let lines: Vec<&str> = aliases.lines().skip(1).collect();
        assert_eq!(lines, ["alias x-y[a-z] b", "alias x-y[a-z] a"]);
        assert_eq!(text(&tables, "modules.order"), "kernel/b.ko\nkernel/a.ko\n");
    }

    #[test]
    fn a_device_node_has_a_name_and_numbers() {
        let (name, tun) = module("tun.ko", &[], &["devname:net/tun", "char-major-10-200"]);
        let modules = BTreeMap::from([(name, tun), module("x.ko", &[], &["devname:x"])]);
        let tables = tables(&modules, &Lists::default()).unwrap();
        assert!(text(&tables, "modules.devname").ends_with("loading.\ntun net/tun c10:200\n"));
    }

    #[test]
    fn ranges_in_aliases_keep_their_dash() {
        assert_eq!(underscores("of:N-a[0-9]b-c"), "of:N_a[0-9]b_c");
    }
}
