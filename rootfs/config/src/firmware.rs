//! The lines of the settings in the firmware's `config.txt`.
//!
//! They have a sector of their own at the end of the file, which is filled with
//! empty lines. A change replaces that sector and nothing else of the slot, so
//! that a power cut leaves the old lines or the new ones, and the filesystem
//! need not be writable.

/// Bytes of a sector.
pub const SECTOR: usize = 512;

/// Begins the sector. What stands before it may have ended with a filter.
const HEAD: &str = "\n# Of `firmware.config`; on a computer, remove what follows.\n[all]\n";

/// What fits into the sector: all lines with their ends.
pub const ROOM: usize = SECTOR - HEAD.len();

/// A `config.txt` with room for lines at its end, and these in it.
pub fn config_txt(board: &str, lines: &[&str]) -> Option<String> {
    let mut text = board.to_owned();
    text.extend(std::iter::repeat_n(
        '\n',
        board.len().next_multiple_of(SECTOR) - board.len(),
    ));
    text += &sector(lines)?;
    Some(text)
}

/// The sector with these lines; `None` when they do not fit.
pub fn sector(lines: &[&str]) -> Option<String> {
    fill(lines, SECTOR)
}

/// The same for a file that a person made shorter: so much of the sector is
/// left.
pub fn fill(lines: &[&str], room: usize) -> Option<String> {
    let mut text = HEAD.to_owned();
    for line in lines {
        text += line;
        text.push('\n');
    }
    let left = room.checked_sub(text.len())?;
    text.extend(std::iter::repeat_n('\n', left));
    Some(text)
}

/// Whether what is in the last sector of a `config.txt` is the place for these
/// lines.
pub fn is_place(sector: &[u8]) -> bool {
    sector.starts_with(HEAD.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_the_last_sector() {
        for board in [
            "",
            "a=1\n",
            &"x".repeat(511),
            &"x".repeat(512),
            &"x".repeat(700),
        ] {
            let text = config_txt(board, &["gpu_mem=32", "hdmi_group=1"]).unwrap();
            assert!(text.starts_with(board) && text.len().is_multiple_of(SECTOR));
            let last = &text[text.len() - SECTOR..];
            assert!(is_place(last.as_bytes()));
            assert!(last.contains("\n[all]\ngpu_mem=32\nhdmi_group=1\n\n"));
            assert_eq!(sector(&["gpu_mem=32", "hdmi_group=1"]).unwrap(), last);
        }
        assert!(!is_place(&[b'\n'; SECTOR]) && !is_place(b""));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let fits = "x".repeat(ROOM - 1);
        assert!(sector(&[&fits]).is_some());
        assert!(sector(&[&fits, "y"]).is_none());
        assert!(config_txt("", &[&format!("{fits}x")]).is_none());
        assert_eq!(
            fill(&["a=1"], HEAD.len() + 6).unwrap(),
            format!("{HEAD}a=1\n\n\n")
        );
        assert!(fill(&["a=1"], HEAD.len() + 3).is_none());
    }
}
