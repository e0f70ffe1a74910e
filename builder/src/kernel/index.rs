//! kmod's binary index: a radix tree of keys in a file, made to be searched
//! without reading it whole. libkmod, and through it udev, reads nothing else.
//!
//! All numbers are 32 bits, most significant byte first.
//!
//! | part | content |
//! |---|---|
//! | header | magic, version, reference to the root node |
//! | node | its prefix, ended by zero, if it has one; first and last character of its children, and a reference for each between them (0: none); number of values, and each value: priority, text, zero |
//!
//! A reference is the offset of a node; its top bits say which parts the node
//! has.

use std::collections::BTreeMap;

const MAGIC: u32 = 0xB007_F457;
const VERSION: u32 = 0x0002_0001;
const HAS_PREFIX: u32 = 0x8000_0000;
const HAS_VALUES: u32 = 0x4000_0000;
const HAS_CHILDREN: u32 = 0x2000_0000;

/// Values of a key, each with its priority.
type Values = Vec<(u32, String)>;

/// Keys and their values. A key may have several; they are found in the order
/// of their priorities.
#[derive(Debug, Default)]
pub(crate) struct Index {
    keys: BTreeMap<Vec<u8>, Values>,
}

impl Index {
    /// Adds a value to a key. A key that is not ASCII is passed over: the
    /// format has no place for it.
    pub(crate) fn add(&mut self, key: &str, priority: u32, value: &str) {
        if key.is_ascii() && !key.contains('\0') {
            let values = self.keys.entry(key.as_bytes().to_vec()).or_default();
            values.push((priority, value.to_owned()));
        }
    }

    /// The bytes of the file.
    pub(crate) fn write(mut self) -> Vec<u8> {
        for values in self.keys.values_mut() {
            values.sort();
        }
        let keys: Vec<(&[u8], &Values)> = self
            .keys
            .iter()
            .map(|(key, values)| (key.as_slice(), values))
            .collect();
        let mut out = Vec::new();
        for number in [MAGIC, VERSION, 0] {
            out.extend(number.to_be_bytes());
        }
        let root = write_node(&mut out, &keys, 0);
        out[8..12].copy_from_slice(&root.to_be_bytes());
        out
    }
}

/// Writes the node of some keys, all alike up to `depth`, after those below
/// it, and returns the reference to it. An index without keys has an empty
/// root.
fn write_node(out: &mut Vec<u8>, keys: &[(&[u8], &Values)], depth: usize) -> u32 {
    let prefix = common_prefix(keys, depth);
    let end = depth + prefix.len();
    let (values, below) = match keys.split_first() {
        Some(((key, values), below)) if key.len() == end => (values.as_slice(), below),
        _ => (&[][..], keys),
    };

    let mut children = Vec::new();
    if let (Some((first, _)), Some((last, _))) = (below.first(), below.last()) {
        children = vec![0; usize::from(last[end] - first[end]) + 1];
        for group in below.chunk_by(|(left, _), (right, _)| left[end] == right[end]) {
            let at = usize::from(group[0].0[end] - first[end]);
            children[at] = write_node(out, group, end + 1);
        }
    }

    let mut node = out.len() as u32;
    if !prefix.is_empty() {
        node |= HAS_PREFIX;
        out.extend(prefix);
        out.push(0);
    }
    if !children.is_empty() {
        node |= HAS_CHILDREN;
        out.push(below[0].0[end]);
        out.push(below[below.len() - 1].0[end]);
        for child in children {
            out.extend(child.to_be_bytes());
        }
    }
    if !values.is_empty() {
        node |= HAS_VALUES;
        out.extend((values.len() as u32).to_be_bytes());
        for (priority, value) in values {
            out.extend(priority.to_be_bytes());
            out.extend(value.as_bytes());
            out.push(0);
        }
    }
    node
}

/// What sorted keys have in common after `depth`.
fn common_prefix<'a>(keys: &[(&'a [u8], &Values)], depth: usize) -> &'a [u8] {
    let (Some((first, _)), Some((last, _))) = (keys.first(), keys.last()) else {
        return &[];
    };
    let (first, last) = (&first[depth..], &last[depth..]);
    let length = first.iter().zip(last).take_while(|(a, b)| a == b).count();
    &first[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds the values of a key the way libkmod does.
    fn find(file: &[u8], key: &str) -> Option<Vec<(u32, String)>> {
        let number = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap());
        let text = |at: usize| {
            let end = at + file[at..].iter().position(|&byte| byte == 0).unwrap();
            std::str::from_utf8(&file[at..end]).unwrap()
        };
        let mut key = key.as_bytes();
        let mut node = number(8);
        loop {
            let mut at = (node & 0x0fff_ffff) as usize;
            if node & HAS_PREFIX != 0 {
                let prefix = text(at);
                key = key.strip_prefix(prefix.as_bytes())?;
                at += prefix.len() + 1;
            }
            let mut children = (1, 0, 0);
            if node & HAS_CHILDREN != 0 {
                children = (file[at], file[at + 1], at + 2);
                at += 2 + 4 * usize::from(children.1 - children.0 + 1);
            }
            let Some((&first, rest)) = key.split_first() else {
                let count = (node & HAS_VALUES != 0).then(|| number(at))?;
                at += 4;
                return Some(
                    (0..count)
                        .map(|_| {
                            let value = (number(at), text(at + 4).to_owned());
                            at += 4 + value.1.len() + 1;
                            value
                        })
                        .collect(),
                );
            };
            if !(children.0..=children.1).contains(&first) {
                return None;
            }
            node = number(children.2 + 4 * usize::from(first - children.0));
            if node == 0 {
                return None;
            }
            key = rest;
        }
    }

    #[test]
    fn every_key_is_found_with_its_values_in_the_order_of_priority() {
        let mut index = Index::default();
        let keys = ["", "a", "ab", "abc", "abd", "b", "usb:v*", "usb:v1", "z"];
        for key in keys {
            index.add(key, 7, &format!("second of {key}"));
            index.add(key, 3, &format!("first of {key}"));
        }
        let file = index.write();
        for key in keys {
            let expected = vec![
                (3, format!("first of {key}")),
                (7, format!("second of {key}")),
            ];
            assert_eq!(find(&file, key), Some(expected), "{key:?}");
        }
        for key in ["abx", "c", "us", "usb:v", "zz", "~"] {
            assert_eq!(find(&file, key), None, "{key:?}");
        }
    }

    #[test]
    fn an_empty_index_is_a_header_and_a_root_with_nothing() {
        let file = Index::default().write();
        assert_eq!(file, [0xb0, 7, 0xf4, 0x57, 0, 2, 0, 1, 0, 0, 0, 12]);
    }

    #[test]
    fn keys_that_the_format_cannot_hold_are_left_out() {
        let mut index = Index::default();
        index.add("caf\u{e9}", 1, "x");
        assert_eq!(index.write(), Index::default().write());
    }
}
