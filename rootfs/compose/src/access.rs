//! Values of a file as what a key wants, each with the key that leads to it for
//! what is said of a wrong one.

use std::collections::BTreeMap;

use crate::{
    Problem,
    interpolate::interpolate,
    yaml::{Key, Node, Value},
};

pub(crate) type Outcome<T> = Result<T, Problem>;

/// The file that is read.
pub(crate) struct Reader<'a> {
    pub(crate) file: &'a str,
}

/// A value with the key that leads to it.
pub(crate) struct At<'a> {
    pub(crate) key: String,
    pub(crate) node: &'a Node,
}

impl<'a> At<'a> {
    pub(crate) fn below(&self, name: &str, node: &'a Node) -> At<'a> {
        let key = match self.key.as_str() {
            "" => name.to_owned(),
            above => format!("{above}.{name}"),
        };
        At { key, node }
    }
}

impl Reader<'_> {
    pub(crate) fn wrong<T>(&self, at: &At<'_>, message: impl Into<String>) -> Outcome<T> {
        Err(Problem {
            file: self.file.to_owned(),
            line: Some(at.node.line),
            key: at.key.clone(),
            message: message.into(),
        })
    }

    pub(crate) fn wrong_key<T>(&self, at: &At<'_>, key: &Key, message: String) -> Outcome<T> {
        Err(Problem {
            file: self.file.to_owned(),
            line: Some(key.line),
            key: at.below(&key.name, at.node).key,
            message,
        })
    }

    pub(crate) fn map<'n>(&self, at: &At<'n>) -> Outcome<&'n [(Key, Node)]> {
        match &at.node.value {
            Value::Map(map) => Ok(map),
            _ => self.wrong(at, "keys with values belong here"),
        }
    }

    /// Text, also where it looks like something else.
    pub(crate) fn text(&self, at: &At<'_>) -> Outcome<String> {
        let text = match &at.node.value {
            Value::Text(text) => text.clone(),
            Value::Number(text) => text.clone(),
            Value::Bool(truth) => truth.to_string(),
            _ => return self.wrong(at, "one value belongs here"),
        };
        let text = interpolate(&text).or_else(|message| self.wrong(at, message))?;
        if text.contains('\0') {
            return self.wrong(at, "it has a zero byte in it");
        }
        Ok(text)
    }

    pub(crate) fn parsed<T>(
        &self,
        at: &At<'_>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Outcome<T> {
        // YAML takes an unquoted `no` for a truth, and `restart: no` is common.
        let text = match at.node.value {
            Value::Bool(false) => "no".to_owned(),
            _ => self.text(at)?,
        };
        parse(&text).or_else(|message| self.wrong(at, message))
    }

    pub(crate) fn truth(&self, at: &At<'_>) -> Outcome<bool> {
        match &at.node.value {
            Value::Bool(truth) => Ok(*truth),
            _ => self.wrong(at, "it is neither true nor false"),
        }
    }

    /// The items of a list, or one value as a list of one.
    pub(crate) fn each<'n, T>(
        &self,
        at: &At<'n>,
        read: impl Fn(&At<'n>) -> Outcome<T>,
    ) -> Outcome<Vec<T>> {
        match &at.node.value {
            Value::List(list) => {
                let at = |node| At {
                    key: at.key.clone(),
                    node,
                };
                list.iter().map(|node| read(&at(node))).collect()
            }
            Value::Null => Ok(Vec::new()),
            Value::Map(_) => self.wrong(at, "a list belongs here"),
            _ => Ok(vec![read(at)?]),
        }
    }

    pub(crate) fn texts(&self, at: &At<'_>) -> Outcome<Vec<String>> {
        self.each(at, |at| self.text(at))
    }

    /// A command: a list of words, or a line that is split as a shell does it.
    pub(crate) fn words(&self, at: &At<'_>) -> Outcome<Option<Vec<String>>> {
        match &at.node.value {
            Value::Null => Ok(None),
            Value::List(_) => self.texts(at).map(Some),
            _ => match shlex::split(&self.text(at)?) {
                Some(words) => Ok(Some(words)),
                None => self.wrong(at, "its quotes do not end"),
            },
        }
    }

    /// Pairs: a map, or a list of `NAME=value`.
    pub(crate) fn pairs(&self, at: &At<'_>) -> Outcome<BTreeMap<String, String>> {
        let mut pairs = BTreeMap::new();
        if let Value::Map(map) = &at.node.value {
            for (key, value) in map {
                let it = at.below(&key.name, value);
                if value.value == Value::Null {
                    return self.wrong(&it, "it has no value");
                }
                pairs.insert(key.name.clone(), self.text(&it)?);
            }
            return Ok(pairs);
        }
        for pair in self.texts(at)? {
            let Some((name, value)) = pair.split_once('=').filter(|(name, _)| !name.is_empty())
            else {
                return self.wrong(
                    at,
                    format!("\"{pair}\" has no value; write it as NAME=value"),
                );
            };
            pairs.insert(name.to_owned(), value.to_owned());
        }
        Ok(pairs)
    }
}
