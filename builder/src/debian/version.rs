//! Debian's versions and their order.

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Serialize};

/// A version: `[EPOCH:]UPSTREAM[-REVISION]`.
///
/// The order is Debian's. Texts that differ may be equal (`1.0` and `1.00`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(String);

impl Version {
    /// Takes a text for a version; every text has its place in the order.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Epoch, upstream version and revision.
    fn parts(&self) -> (&str, &str, &str) {
        let (epoch, rest) = self.0.split_once(':').unwrap_or(("", &self.0));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch, upstream, revision)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.parts(), other.parts());
        compare(a.0, b.0)
            .then_with(|| compare(a.1, b.1))
            .then_with(|| compare(a.2, b.2))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

/// Compares runs of other characters and of digits in turn.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let order = compare_text(&mut a, &mut b).then_with(|| compare_number(&mut a, &mut b));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Compares up to the first digit on either side, and consumes that much.
fn compare_text(a: &mut &[u8], b: &mut &[u8]) -> Ordering {
    let is_text = |rest: &[u8]| rest.first().is_some_and(|byte| !byte.is_ascii_digit());
    while is_text(a) || is_text(b) {
        let order = weight(a.first()).cmp(&weight(b.first()));
        if order.is_ne() {
            return order;
        }
        // Equal weights are equal characters here: neither side has ended.
        *a = &a[1..];
        *b = &b[1..];
    }
    Ordering::Equal
}

/// `~` sorts before the end, letters before everything else.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None | Some(b'0'..=b'9') => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    }
}

/// Compares numbers of any length, and consumes them.
fn compare_number(a: &mut &[u8], b: &mut &[u8]) -> Ordering {
    let (x, y) = (take_number(a), take_number(b));
    x.len().cmp(&y.len()).then_with(|| x.cmp(y))
}

/// Takes leading digits, and returns them without leading zeros.
fn take_number<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, tail) = rest.split_at(digits);
    *rest = tail;
    let zeros = number.iter().take_while(|byte| **byte == b'0').count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each is lower than the next; those in one row are equal.
    const ORDER: &[&[&str]] = &[
        &["~~"],
        &["~~a"],
        &["~"],
        &["", "0", "00", "0:0", "0-0", ":"],
        &["0a"],
        &["0+"],
        &["0.1"],
        &["1.0~beta1~svc1245"],
        &["1.0~beta1"],
        &["1.0~rc1-1~bpo12+1"],
        &["1.0~rc1-1"],
        &["1.0", "1.00", "01.0", "1.0-0", "1.0-"],
        &["1.0-1~deb13u1"],
        &["1.0-1"],
        &["1.0-1ubuntu1", "1.0-01ubuntu1"],
        &["1.0-1+b1"],
        &["1.0-1.1"],
        &["1.0a"],
        &["1.0+dfsg1-1"],
        &["1.0-2-1"],
        &["1.0.1"],
        &["1.2"],
        &["1.10"],
        &["9"],
        &["10"],
        &["26.1.5+dfsg1-9+b12"],
        &["99999999999999999999999998"],
        &["99999999999999999999999999"],
        &["1:0", "01:0"],
        &["1:1.0~~"],
        &["2:0.1"],
        &["10:0"],
    ];

    #[test]
    fn versions_are_ordered_as_debian_orders_them() {
        for (i, row) in ORDER.iter().enumerate() {
            for (j, other) in ORDER.iter().enumerate() {
                for a in *row {
                    for b in *other {
                        assert_eq!(
                            Version::new(*a).cmp(&Version::new(*b)),
                            i.cmp(&j),
                            "{a:?} and {b:?}"
                        );
                    }
                }
            }
        }
    }

    /// All texts of up to four characters that matter to the order.
    fn texts() -> Vec<Version> {
        let mut texts = vec![String::new()];
        let mut begin = 0;
        for _ in 0..3 {
            let end = texts.len();
            for at in begin..end {
                for character in ['~', '0', '1', 'a', 'Z', '+', '.', '-', ':'] {
                    texts.push(format!("{}{character}", texts[at]));
                }
            }
            begin = end;
        }
        texts.into_iter().map(Version::new).collect()
    }

    #[test]
    fn the_order_is_total() {
        let texts = texts();
        for a in &texts {
            for b in &texts {
                assert_eq!(a.cmp(b), b.cmp(a).reverse(), "{a} and {b}");
            }
        }
        // Antisymmetry holds, so the order is transitive if and only if sorting
        // leaves no pair in the wrong order.
        let mut sorted = texts;
        sorted.sort();
        for (at, a) in sorted.iter().enumerate() {
            for b in &sorted[at..] {
                assert!(a <= b, "{a} and {b}");
            }
        }
    }
}
