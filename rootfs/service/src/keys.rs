//! Places in TOML texts, for errors that name the key.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// The dotted key whose value covers an offset of the text; `None` where the
/// offset lies outside of all of them.
pub fn key_at(table: &DeTable<'_>, offset: usize) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let name = key.get_ref();
        let inner = match value.get_ref() {
            DeValue::Table(inner) => key_at(inner, offset),
            DeValue::Array(list) => list.iter().find_map(|value| match value.get_ref() {
                DeValue::Table(inner) => key_at(inner, offset),
                _ => None,
            }),
            _ => None,
        };
        let covers = |span: Range<usize>| span.contains(&offset);
        match inner {
            Some(inner) => Some(format!("{name}.{inner}")),
            None => (covers(value.span()) || covers(key.span())).then(|| name.to_string()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_what_its_value_covers() {
        let text = "a = 1\n[b]\nc = \"x\"\n[[d]]\ne = 1\n[[d]]\nf = { g = 22 }\nh = [33]\n";
        let table = DeTable::parse(text).unwrap();
        for (at, key) in [("1", "a"), ("\"x\"", "b.c"), ("22", "d.f.g"), ("33", "d.h")] {
            let offset = text.find(at).unwrap();
            assert_eq!(key_at(table.get_ref(), offset).as_deref(), Some(key));
        }
        assert_eq!(key_at(table.get_ref(), text.len()), None);
    }
}
