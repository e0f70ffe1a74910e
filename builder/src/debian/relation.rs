//! Relations between packages: `a (>= 1) | b:any, c`.

use std::{cmp::Ordering, fmt};

use anyhow::{Context, Result, bail, ensure};

use super::{packages::ARCHITECTURE, version::Version};

/// One of the alternatives of a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alternative {
    pub(crate) name: String,
    pub(crate) version: Option<(Operator, Version)>,
}

/// How versions have to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Earlier,
    EarlierOrEqual,
    Equal,
    LaterOrEqual,
    Later,
}

impl Operator {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Earlier => order.is_lt(),
            Self::EarlierOrEqual => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::LaterOrEqual => order.is_ge(),
            Self::Later => order.is_gt(),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        }
    }
}

impl Alternative {
    /// Whether a package of that version will do.
    pub(crate) fn accepts(&self, version: &Version) -> bool {
        match &self.version {
            None => true,
            Some((operator, wanted)) => operator.holds(version.cmp(wanted)),
        }
    }

    /// Whether a package that provides the name, in a version or in none, will
    /// do.
    pub(crate) fn accepts_provided(&self, version: Option<&Version>) -> bool {
        match version {
            Some(version) => self.accepts(version),
            None => self.version.is_none(),
        }
    }
}

impl fmt::Display for Alternative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.version {
            None => Ok(()),
            Some((operator, version)) => write!(f, " ({} {version})", operator.as_str()),
        }
    }
}

/// The alternatives of one relation; the first that can be had is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation(pub(crate) Vec<Alternative>);

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, alternative) in self.0.iter().enumerate() {
            let bar = if at > 0 { " | " } else { "" };
            write!(f, "{bar}{alternative}")?;
        }
        Ok(())
    }
}

/// Parses a field such as `Depends`.
pub(crate) fn parse(field: &str) -> Result<Vec<Relation>> {
    field
        .split(',')
        .map(str::trim)
        .filter(|relation| !relation.is_empty())
        .map(|relation| {
            let alternatives = relation.split('|').map(parse_alternative);
            // One for another architecture is none for ours.
            Ok(Relation(
                alternatives
                    .filter_map(Result::transpose)
                    .collect::<Result<_>>()?,
            ))
        })
        .collect()
}

fn parse_alternative(text: &str) -> Result<Option<Alternative>> {
    let bad = || format!("{text:?} is not a relation to a package");
    let (name, version) = match text.split_once('(') {
        None => (text.trim(), None),
        Some((name, rest)) => {
            let inner = rest.trim_end().strip_suffix(')').with_context(bad)?;
            (name.trim(), Some(parse_version(inner).with_context(bad)?))
        }
    };
    let (name, architecture) = name.split_once(':').unwrap_or((name, "any"));
    ensure!(
        !name.is_empty() && !name.contains(char::is_whitespace),
        bad()
    );
    Ok(
        matches!(architecture, "any" | "native" | ARCHITECTURE).then(|| Alternative {
            name: name.to_owned(),
            version,
        }),
    )
}

fn parse_version(text: &str) -> Result<(Operator, Version)> {
    let text = text.trim();
    let length = text.len() - text.trim_start_matches(['<', '=', '>']).len();
    let (operator, version) = text.split_at(length);
    let operator = match operator {
        "<<" => Operator::Earlier,
        // A single `<` or `>` is old, and means this.
        "<=" | "<" => Operator::EarlierOrEqual,
        "=" => Operator::Equal,
        ">=" | ">" => Operator::LaterOrEqual,
        ">>" => Operator::Later,
        other => bail!("{other:?} does not compare versions"),
    };
    let version = version.trim();
    ensure!(!version.is_empty(), "there is no version");
    Ok((operator, Version::new(version)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(field: &str) -> Vec<String> {
        let relations = parse(field).unwrap();
        relations.iter().map(Relation::to_string).collect()
    }

    #[test]
    fn relations_are_read_as_debian_writes_them() {
        assert_eq!(
            shown("libc6 (>= 2.38), a:any|b (<<1:2~),\n c:native ( = 3 ), , d (>4)"),
            ["libc6 (>= 2.38)", "a | b (<< 1:2~)", "c (= 3)", "d (>= 4)"]
        );
        assert_eq!(shown(""), Vec::<String>::new());
    }

    #[test]
    fn another_architecture_is_no_alternative() {
        assert_eq!(shown("a:amd64 | b:arm64"), ["b"]);
        assert_eq!(parse("a:amd64").unwrap(), [Relation(Vec::new())]);
    }

    #[test]
    fn what_is_not_a_relation_is_an_error() {
        for bad in [
            "a (1)", "a (>= )", "a (>= 1", "a b", "(>= 1)", "a (=> 1)", "|",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn versions_are_compared_as_the_operator_says() {
        let table = [
            ("<<", [true, false, false]),
            ("<=", [true, true, false]),
            ("=", [false, true, false]),
            (">=", [false, true, true]),
            (">>", [false, false, true]),
        ];
        for (operator, expected) in table {
            let relations = parse(&format!("a ({operator} 1.0)")).unwrap();
            let found = ["1.0~rc1", "1.00", "1.0-1"]
                .map(|version| relations[0].0[0].accepts(&Version::new(version)));
            assert_eq!(found, expected, "{operator}");
        }
    }
}
