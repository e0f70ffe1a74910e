//! The text indexes that `depmod` writes.

use super::glob;

/// The name of a module or alias with `-` as `_`, except between brackets,
/// where it makes a range.
pub(super) fn normalized(name: &str) -> String {
    let mut bracket = false;
    name.chars()
        .map(|c| {
            match c {
                '[' => bracket = true,
                ']' => bracket = false,
                _ => {}
            }
            if c == '-' && !bracket { '_' } else { c }
        })
        .collect()
}

/// The name of the module in a file.
pub(super) fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    normalized(file.split('.').next().unwrap_or(file))
}

/// The files to load for a module, in order, its own the last (`modules.dep`).
pub(super) fn dependencies<'a>(index: &'a str, name: &str) -> Option<Vec<&'a str>> {
    index
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(path, _)| module_name(path) == name)
        .map(|(path, needed)| {
            // The index lists what is needed last first.
            let mut files: Vec<&str> = needed.split_whitespace().rev().collect();
            files.push(path);
            files
        })
}

/// The modules that an alias stands for (`modules.alias`).
pub(super) fn aliased(index: &str, name: &str) -> Vec<String> {
    let mut modules: Vec<String> = Vec::new();
    for line in index.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some("alias"), Some(pattern), Some(module)) =
            (words.next(), words.next(), words.next())
        else {
            continue;
        };
        // There are thousands, and few begin alike.
        if begins_otherwise(pattern, name) {
            continue;
        }
        if glob::matches(&normalized(pattern), name) {
            let module = normalized(module);
            if !modules.contains(&module) {
                modules.push(module);
            }
        }
    }
    modules
}

/// Whether what a pattern says before its first `*`, `?` or `[` is not the
/// beginning of a normalized name.
fn begins_otherwise(pattern: &str, name: &str) -> bool {
    let mut name = name.bytes();
    pattern
        .bytes()
        .take_while(|byte| !b"*?[".contains(byte))
        .map(|byte| if byte == b'-' { b'_' } else { byte })
        .any(|byte| name.next() != Some(byte))
}

/// What a module wants beside it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Soft<'a> {
    /// Before it.
    pub(super) pre: Vec<&'a str>,
    /// After it.
    pub(super) post: Vec<&'a str>,
}

/// The soft dependencies of a module (`modules.softdep`).
pub(super) fn soft_dependencies<'a>(index: &'a str, name: &str) -> Soft<'a> {
    let mut soft = Soft::default();
    for line in index.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("softdep") || words.next().map(normalized).as_deref() != Some(name)
        {
            continue;
        }
        let mut post = false;
        for word in words {
            match word {
                "pre:" => post = false,
                "post:" => post = true,
                module if post => soft.post.push(module),
                module => soft.pre.push(module),
            }
        }
    }
    soft
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "\
kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/lib/crc16.ko kernel/fs/mbcache.ko
kernel/lib/crc16.ko:
kernel/net/ipv4/netfilter/nf-nat.ko.xz: kernel/net/netfilter/nf_conntrack.ko.xz
";

    #[test]
    fn what_a_module_needs_comes_before_it() {
        assert_eq!(
            dependencies(DEP, "ext4").unwrap(),
            [
                "kernel/fs/mbcache.ko",
                "kernel/lib/crc16.ko",
                "kernel/fs/jbd2/jbd2.ko",
                "kernel/fs/ext4/ext4.ko"
            ]
        );
        assert_eq!(dependencies(DEP, "crc16").unwrap(), ["kernel/lib/crc16.ko"]);
        assert_eq!(dependencies(DEP, "ext"), None);
    }

    #[test]
    fn dash_and_underscore_are_one() {
        assert!(dependencies(DEP, &normalized("nf-nat")).is_some());
        assert!(dependencies(DEP, "nf_nat").is_some());
        assert_eq!(normalized("a-b[0-9]-c"), "a_b[0-9]_c");
    }

    #[test]
    fn an_alias_stands_for_every_module_that_matches_once() {
        let index = "\
# Aliases extracted from modules themselves.
alias fs-ext4 ext4
alias fs-ext3 ext4
alias virtio:d00000002v* virtio-blk
alias virtio:d00000002v* other
alias virtio:d0000000?v* other
alias broken
";
        assert_eq!(aliased(index, &normalized("fs-ext3")), ["ext4"]);
        assert_eq!(
            aliased(index, "virtio:d00000002v00001AF4"),
            ["virtio_blk", "other"]
        );
        assert!(aliased(index, "broken").is_empty());
        assert!(aliased(index, "fs_xfs").is_empty());
    }

    #[test]
    fn only_a_beginning_that_differs_rules_an_alias_out() {
        for (pattern, name) in [
            ("virtio:d0000000?v*", "virtio:d00000002v00001AF4"),
            ("snd-card-*", "snd_card_0"),
            ("[bf]s-ext4", "fs_ext4"),
            ("*", ""),
            ("fs-ext4", "fs_ext4"),
            // The pattern says the rest.
            ("fs-ext4", "fs_ext4x"),
        ] {
            assert!(!begins_otherwise(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("fs-ext4", "fs_ext"), ("snd-card-*", "snd_mixer_0")] {
            assert!(begins_otherwise(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn soft_dependencies_are_before_or_after() {
        let index = "softdep sctp-diag pre: sctp post: a b pre: c\nsoftdep other pre: x\n";
        let soft = soft_dependencies(index, "sctp_diag");
        assert_eq!(soft.pre, ["sctp", "c"]);
        assert_eq!(soft.post, ["a", "b"]);
        assert_eq!(soft_dependencies(index, "none"), Soft::default());
    }
}
