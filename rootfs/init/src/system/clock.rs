//! The clock of a board that has none of its own: it never starts before the
//! image was made, nor before the machine was last seen running.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use rubus_config::image::ImageInfo;
use rubus_config::paths;

use crate::log;
use crate::steps::Outcome;
use rubus_config::files;

/// The year 2100: a time behind it was not written by us.
const END: i64 = 4_102_444_800;

pub(super) fn raise_to_floor() -> Outcome {
    let saved = fs::read_to_string(saved_time()).ok();
    let image = fs::read(paths::IMAGE_INFO)
        .map_err(anyhow::Error::from)
        .and_then(|text| Ok(serde_json::from_slice::<ImageInfo>(&text)?));
    let built = image.as_ref().map_or(0, |image| image.timestamp);
    if let Some(floor) = floor(built, saved.as_deref(), now()) {
        clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(floor, 0))
            .context("cannot set the clock")?;
    }
    image.with_context(|| format!("cannot read {}", paths::IMAGE_INFO))?;
    Ok(None)
}

/// Saves the time for the next boot. The periodic saves do not wait for the
/// card: losing one costs minutes of a floor.
pub(crate) fn save() {
    let text = format!("{}\n", now());
    if let Err(error) = files::replace_lazily(&saved_time(), text.as_bytes(), 0o644) {
        log::error(&format!("cannot save the time: {error}"));
    }
}

fn saved_time() -> PathBuf {
    Path::new(paths::STATE).join("time")
}

fn now() -> i64 {
    clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, |t| t.tv_sec())
}

/// What the clock has to be raised to; none when it is not behind.
fn floor(built: i64, saved: Option<&str>, now: i64) -> Option<i64> {
    let saved = saved
        .and_then(|text| text.trim().parse().ok())
        .filter(|time| (0..END).contains(time))
        .unwrap_or(0);
    let floor = built.max(saved);
    (now < floor).then_some(floor)
}

#[cfg(test)]
mod tests {
    use super::{END, floor};

    #[test]
    fn the_clock_is_raised_to_the_later_of_build_and_last_save() {
        assert_eq!(floor(1000, Some("900\n"), 0), Some(1000));
        assert_eq!(floor(1000, Some("2000\n"), 0), Some(2000));
        assert_eq!(floor(1000, None, 0), Some(1000));
    }

    #[test]
    fn a_clock_that_is_ahead_is_left_alone() {
        assert_eq!(floor(1000, Some("2000"), 2000), None);
        assert_eq!(floor(1000, Some("2000"), 3000), None);
    }

    #[test]
    fn a_damaged_save_counts_for_nothing() {
        for saved in ["", "\0\0\0\0", "-5", "99999999999999999999", "12 34"] {
            assert_eq!(floor(1000, Some(saved), 0), Some(1000), "{saved:?}");
        }
        assert_eq!(floor(1000, Some(&END.to_string()), 0), Some(1000));
    }
}
