//! YAML that anybody may have written, with the line of every value.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Options, Spanned, budget, options};

/// The largest file that is read.
pub(crate) const MOST_BYTES: usize = 256 << 10;

/// A value, and where it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) line: u64,
    pub(crate) value: Value,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// As it is written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<(Key, Node)>),
}

/// A key, and where it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub(crate) line: u64,
    pub(crate) name: String,
}

/// Reads one document. Its size, depth, number of nodes and what aliases may
/// expand to are bounded.
///
/// # Errors
/// The line, if it is known, and what is wrong.
pub(crate) fn parse(text: &str) -> Result<Node, (Option<u64>, String)> {
    if text.len() > MOST_BYTES {
        return Err((None, format!("it is larger than {} KiB", MOST_BYTES >> 10)));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err((None, "it is empty; name services".to_owned()));
    }
    serde_saphyr::from_str_with_options::<Located>(text, limits())
        .map(|Located(node)| node)
        .map_err(|error| {
            let words = error.without_snippet().to_string();
            // Its own words begin with the place too, and may repeat the text.
            let words = words.lines().next().unwrap_or_default();
            let line = error.location().map(|place| place.line());
            (line, format!("it is not YAML: {words}"))
        })
}

fn limits() -> Options {
    options! {
        budget: budget! {
            max_reader_input_bytes: Some(MOST_BYTES),
            max_events: 100_000,
            max_aliases: 1_000,
            max_anchors: 100,
            max_depth: 32,
            max_documents: 1,
            max_nodes: 50_000,
            max_total_scalar_bytes: MOST_BYTES,
            max_merge_keys: 100,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 50_000,
            max_replay_stack_depth: 8,
            max_alias_expansions_per_anchor: 200,
        },
        with_snippet: false,
    }
}

/// What reading makes: the location comes from outside of the value.
struct Located(Node);

impl<'de> Deserialize<'de> for Located {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Plain>::deserialize(deserializer)?;
        let line = spanned.referenced.line();
        let Plain(value) = spanned.value;
        Ok(Located(Node { line, value }))
    }
}

struct Plain(Value);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor).map(Plain)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Located(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some((key, Located(value))) = entries.next_entry::<Spanned<String>, _>()? {
            let line = key.referenced.line();
            map.push((
                Key {
                    line,
                    name: key.value,
                },
                value,
            ));
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_line() {
        let node = parse("a: 1\nb:\n  - x\n  - {c: true}\n\nd:\n").unwrap();
        let Value::Map(map) = node.value else {
            panic!()
        };
        let lines: Vec<_> = map
            .iter()
            .map(|(key, _)| (key.name.as_str(), key.line))
            .collect();
        assert_eq!(lines, [("a", 1), ("b", 2), ("d", 6)]);
        assert_eq!(map[0].1.value, Value::Number("1".into()));
        assert_eq!(map[2].1.value, Value::Null);
        let Value::List(list) = &map[1].1.value else {
            panic!()
        };
        assert_eq!((list[0].line, list[1].line), (3, 4));
    }

    #[test]
    fn text_stays_text() {
        for (yaml, expected) in [
            ("\"80\"", Value::Text("80".into())),
            ("no", Value::Bool(false)),
            ("\"no\"", Value::Text("no".into())),
            ("1.5", Value::Number("1.5".into())),
            ("~", Value::Null),
        ] {
            assert_eq!(parse(yaml).unwrap().value, expected, "{yaml}");
        }
    }

    #[test]
    fn anchors_and_merges_are_resolved() {
        let node = parse("a: &x {k: 1}\nb: *x\nc:\n  <<: *x\n  l: 2\n").unwrap();
        let Value::Map(map) = node.value else {
            panic!()
        };
        for (_, node) in &map {
            let Value::Map(inner) = &node.value else {
                panic!()
            };
            assert!(inner.iter().any(|(key, _)| key.name == "k"));
        }
    }

    #[test]
    fn what_is_hostile_is_refused() {
        let bomb: String = (0..30).fold("a0: &a0 [x,x,x,x,x,x,x,x]\n".to_owned(), |text, i| {
            text + &format!(
                "a{}: &a{} [{}*a{i}]\n",
                i + 1,
                i + 1,
                format!("*a{i},").repeat(7)
            )
        });
        assert!(parse(&bomb).is_err());
        assert!(parse(&"[".repeat(10_000)).is_err());
        assert!(parse(&"x".repeat(MOST_BYTES + 1)).is_err());
        assert!(parse("a: 1\na: 2\n").is_err());
        assert_eq!(
            parse("a: [\n").unwrap_err().0.map(|line| line >= 1),
            Some(true)
        );
        assert!(parse("a: 1\n---\nb: 2\n").is_err());
    }
}
