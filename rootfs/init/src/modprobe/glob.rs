//! Shell patterns, as aliases of modules use them.

/// Whether `text` as a whole matches `pattern`, which may hold `*`, `?` and
/// `[...]`.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on when the text behind the last star does not fit.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p + 1, t));
            p += 1;
        } else if let Some(next) = one(pattern, p, text[t]) {
            p = next;
            t += 1;
        } else if let Some((star, from)) = retry {
            // The star takes one byte more.
            retry = Some((star, from + 1));
            p = star;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

/// Matches one byte against what stands at `p`, and returns what follows it.
fn one(pattern: &[u8], p: usize, byte: u8) -> Option<usize> {
    match *pattern.get(p)? {
        b'?' => Some(p + 1),
        b'[' => match set(&pattern[p + 1..]) {
            Some((members, length)) => contains(members, byte).then_some(p + 1 + length),
            None => (byte == b'[').then_some(p + 1),
        },
        literal => (literal == byte).then_some(p + 1),
    }
}

/// What is between the brackets, and how long it is with the closing one.
fn set(rest: &[u8]) -> Option<(&[u8], usize)> {
    // A bracket right at the start is a member.
    let first = usize::from(matches!(rest.first(), Some(b'!' | b'^')));
    let close = rest.iter().skip(first + 1).position(|&b| b == b']')? + first + 1;
    Some((&rest[..close], close + 1))
}

fn contains(members: &[u8], byte: u8) -> bool {
    let (negated, mut members) = match members {
        [b'!' | b'^', rest @ ..] => (true, rest),
        all => (false, all),
    };
    let mut found = false;
    while let Some((&low, rest)) = members.split_first() {
        if let [b'-', high, tail @ ..] = rest {
            found |= (low..=*high).contains(&byte);
            members = tail;
        } else {
            found |= low == byte;
            members = rest;
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_take_what_they_must() {
        assert!(matches(
            "of:N*T*Cbrcm,bcm2835*",
            "of:NsocT(null)Cbrcm,bcm2835_wdt"
        ));
        assert!(matches("*", ""));
        assert!(matches("a*b*c", "aXbXbXc"));
        assert!(!matches("a*b*c", "aXbXb"));
        assert!(!matches("", "a"));
        assert!(matches("", ""));
    }

    #[test]
    fn sets_and_single_bytes() {
        assert!(matches("v?d[0-9A-F]x", "v1dCx"));
        assert!(!matches("v?d[0-9A-F]x", "v1dGx"));
        assert!(matches("[!0-9]", "a"));
        assert!(!matches("[!0-9]", "5"));
        assert!(matches("[]a]", "]"));
        assert!(matches("[", "["));
        assert!(matches("*[0-9]", "abc1"));
    }

    #[test]
    fn a_hostile_pattern_does_not_take_for_ever() {
        assert!(!matches(&"*a".repeat(50), &"a".repeat(49)));
        assert!(!matches(
            &format!("{}b", "*".repeat(100)),
            &"a".repeat(1000)
        ));
    }
}
