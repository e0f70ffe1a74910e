//! What to do with the data partition: make its filesystem, check it, mount
//! it, or leave it alone. The rule above all others: what may be somebody's
//! data is never formatted.

use std::fmt;

use super::ext4::{Content, Head};

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Make the filesystem; whatever is there is not data.
    Make,
    /// Check it.
    Check(Mode),
    /// Mount it; the kernel replays the journal.
    Mount,
    /// Leave it alone and stop.
    Refuse(Refusal),
}

/// How to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// `e2fsck -p`: repairs what can be repaired without loss.
    Preen,
    /// `e2fsck -y`: repairs whatever it takes.
    Thorough,
}

/// Why the partition is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It holds a filesystem that is not ours.
    Foreign(String),
    /// The filesystem is larger than its partition.
    CutOff,
    /// No check could repair it.
    BeyondRepair,
    /// It is in order for `e2fsck`, and the kernel does not mount it.
    CannotMount,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(label) => write!(
                f,
                "it holds a filesystem labelled {label:?}; save what is on it, then remove \
                 partition 4 or wipe its beginning"
            ),
            Self::CutOff => f.write_str(
                "its filesystem is larger than the partition; copy the card to one that is as \
                 large as the original",
            ),
            Self::BeyondRepair => f.write_str(
                "e2fsck cannot repair it; copy what is left in another machine, then write the \
                 image to a new card",
            ),
            Self::CannotMount => f.write_str(
                "the kernel does not mount it although e2fsck finds it in order; look at the \
                 kernel's messages above",
            ),
        }
    }
}

/// What to do first with a partition of `size` bytes that begins with `head`.
pub(super) fn first(head: &Head, size: u64) -> Next {
    match (&head.content, head.marked) {
        (Content::Ours { bytes, .. }, _) if *bytes > size => Next::Refuse(Refusal::CutOff),
        (Content::Ours { errors: true, .. }, _) => Next::Check(Mode::Preen),
        (Content::Ours { errors: false, .. }, _) => Next::Mount,
        // The superblock was destroyed after the filesystem was whole; e2fsck
        // finds its copies.
        (_, true) => Next::Check(Mode::Thorough),
        (Content::Foreign(label), false) => Next::Refuse(Refusal::Foreign(label.clone())),
        // mke2fs writes the superblock last: it never got that far.
        (Content::Nothing, false) => Next::Make,
    }
}

/// What to do after a check that ended with `code`; none means that it was
/// killed.
pub(super) fn after_check(mode: Mode, code: Option<i32>) -> Next {
    /// Bits of e2fsck's exit code that mean "repaired".
    const REPAIRED: i32 = 1 | 2;
    match (mode, code) {
        (_, Some(code)) if code & !REPAIRED == 0 => Next::Mount,
        (Mode::Preen, _) => Next::Check(Mode::Thorough),
        (Mode::Thorough, _) => Next::Refuse(Refusal::BeyondRepair),
    }
}

/// What to do after the kernel refused to mount what was `checked` so far.
pub(super) fn after_failed_mount(checked: Option<Mode>) -> Next {
    match checked {
        None => Next::Check(Mode::Preen),
        Some(Mode::Preen) => Next::Check(Mode::Thorough),
        Some(Mode::Thorough) => Next::Refuse(Refusal::CannotMount),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 1000;

    fn ours(errors: bool, bytes: u64) -> Content {
        Content::Ours { errors, bytes }
    }

    #[test]
    fn every_beginning_has_its_answer() {
        let foreign = || Content::Foreign("photos".to_owned());
        let refuse = |why| Next::Refuse(why);
        let table = [
            (Content::Nothing, false, Next::Make),
            (Content::Nothing, true, Next::Check(Mode::Thorough)),
            (
                foreign(),
                false,
                refuse(Refusal::Foreign("photos".to_owned())),
            ),
            (foreign(), true, Next::Check(Mode::Thorough)),
            (ours(false, SIZE), false, Next::Mount),
            (ours(false, SIZE), true, Next::Mount),
            (ours(true, SIZE), false, Next::Check(Mode::Preen)),
            (ours(true, SIZE), true, Next::Check(Mode::Preen)),
            (ours(false, SIZE + 1), false, refuse(Refusal::CutOff)),
            (ours(false, SIZE + 1), true, refuse(Refusal::CutOff)),
            (ours(true, SIZE + 1), false, refuse(Refusal::CutOff)),
            (ours(true, SIZE + 1), true, refuse(Refusal::CutOff)),
        ];
        for (content, marked, next) in table {
            let head = Head { marked, content };
            assert_eq!(first(&head, SIZE), next, "{head:?}");
        }
    }

    #[test]
    fn only_an_unmarked_partition_without_a_filesystem_is_formatted() {
        for marked in [false, true] {
            for content in [
                Content::Nothing,
                Content::Foreign(String::new()),
                ours(false, SIZE),
                ours(true, SIZE),
                ours(false, SIZE * 2),
                ours(true, SIZE * 2),
            ] {
                let made = first(
                    &Head {
                        marked,
                        content: content.clone(),
                    },
                    SIZE,
                ) == Next::Make;
                assert_eq!(made, !marked && content == Content::Nothing);
            }
        }
        for code in (0..=255).map(Some).chain([None]) {
            assert_ne!(after_check(Mode::Preen, code), Next::Make);
            assert_ne!(after_check(Mode::Thorough, code), Next::Make);
        }
        for checked in [None, Some(Mode::Preen), Some(Mode::Thorough)] {
            assert_ne!(after_failed_mount(checked), Next::Make);
        }
    }

    #[test]
    fn a_check_goes_from_careful_to_thorough_to_giving_up() {
        for repaired in 0..=3 {
            assert_eq!(after_check(Mode::Preen, Some(repaired)), Next::Mount);
            assert_eq!(after_check(Mode::Thorough, Some(repaired)), Next::Mount);
        }
        for failed in [Some(4), Some(5), Some(8), Some(12), Some(127), None] {
            assert_eq!(
                after_check(Mode::Preen, failed),
                Next::Check(Mode::Thorough)
            );
            assert_eq!(
                after_check(Mode::Thorough, failed),
                Next::Refuse(Refusal::BeyondRepair)
            );
        }
    }

    #[test]
    fn a_mount_that_fails_is_followed_by_one_more_check_than_before() {
        assert_eq!(after_failed_mount(None), Next::Check(Mode::Preen));
        assert_eq!(
            after_failed_mount(Some(Mode::Preen)),
            Next::Check(Mode::Thorough)
        );
        assert_eq!(
            after_failed_mount(Some(Mode::Thorough)),
            Next::Refuse(Refusal::CannotMount)
        );
    }
}
