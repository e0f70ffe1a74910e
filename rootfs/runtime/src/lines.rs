//! Cutting the output of a service into lines.

/// The longest line; a longer one is cut.
pub(crate) const LONGEST_LINE: usize = 8 * 1024;

/// Takes the next line off the front of `input`: its text without the end, and
/// how many bytes it takes up. `None`: there is no whole line yet. `flush`
/// makes a line of what has no end.
pub(crate) fn next_line(input: &[u8], flush: bool) -> Option<(&[u8], usize)> {
    let window = &input[..input.len().min(LONGEST_LINE + 1)];
    if let Some(end) = window.iter().position(|&byte| byte == b'\n') {
        let text = &input[..end];
        return Some((text.strip_suffix(b"\r").unwrap_or(text), end + 1));
    }
    if input.len() > LONGEST_LINE {
        let cut = character_boundary(input, LONGEST_LINE);
        return Some((&input[..cut], cut));
    }
    (flush && !input.is_empty()).then_some((input, input.len()))
}

/// The place at or shortly before `at` where no UTF-8 character is cut.
fn character_boundary(input: &[u8], at: usize) -> usize {
    let is_inside = |index: usize| input[index] & 0b1100_0000 == 0b1000_0000;
    (at.saturating_sub(3)..=at)
        .rev()
        .find(|&index| index > 0 && !is_inside(index))
        .unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_at_its_end() {
        assert_eq!(next_line(b"one\ntwo\n", false), Some((&b"one"[..], 4)));
        assert_eq!(next_line(b"\n", false), Some((&b""[..], 1)));
        assert_eq!(next_line(b"dos\r\n", false), Some((&b"dos"[..], 5)));
    }

    #[test]
    fn what_has_no_end_waits_or_is_flushed() {
        assert_eq!(next_line(b"par", false), None);
        assert_eq!(next_line(b"par", true), Some((&b"par"[..], 3)));
        assert_eq!(next_line(b"", true), None);
    }

    #[test]
    fn the_longest_line_is_whole_and_a_longer_one_is_cut() {
        let mut input = vec![b'x'; LONGEST_LINE];
        assert_eq!(next_line(&input, false), None);
        input.push(b'\n');
        assert_eq!(next_line(&input, false).unwrap().1, LONGEST_LINE + 1);
        input[LONGEST_LINE] = b'x';
        assert_eq!(next_line(&input, false).unwrap().1, LONGEST_LINE);
    }

    #[test]
    fn a_cut_does_not_split_a_character() {
        let mut input = vec![b'x'; LONGEST_LINE - 1];
        input.extend("ä and more".as_bytes());
        assert_eq!(next_line(&input, false).unwrap().1, LONGEST_LINE - 1);
        let garbage = vec![0x80; LONGEST_LINE + 9];
        assert_eq!(next_line(&garbage, false).unwrap().1, LONGEST_LINE);
    }
}
