//! The boot as an ordered list of named steps.
//!
//! A stage is a table of [`Step`]s. Each one is numbered, timed, shown on the
//! console and written to the boot record; the first needed step that fails
//! ends the stage and names itself.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;

use nix::time::{ClockId, clock_gettime};
use rubus_config::boot::{Stage, Step as Record};
use rubus_config::paths;

use crate::log;

/// What a step says when it went well: nothing, or a note worth recording.
pub(crate) type Outcome = anyhow::Result<Option<String>>;

/// One step of a stage whose state is `C`.
pub(crate) struct Step<C> {
    /// What it does, in a few words.
    pub(crate) name: &'static str,
    /// What happens when it fails.
    pub(crate) on_failure: OnFailure,
    /// Does it.
    pub(crate) run: fn(&mut C) -> Outcome,
}

/// What the failure of a step means for the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// There is no way on.
    Stop,
    /// The node is more useful without it than not at all.
    Continue,
}

/// A step that the boot cannot go on without has failed.
#[derive(Debug)]
pub(crate) struct Failed {
    stage: Stage,
    number: u32,
    name: &'static str,
    error: anyhow::Error,
}

impl Failed {
    /// The failure of what comes after the steps of a stage.
    pub(crate) fn after(
        stage: Stage,
        steps: usize,
        name: &'static str,
        error: anyhow::Error,
    ) -> Self {
        Self {
            stage,
            number: u32::try_from(steps).unwrap_or(u32::MAX).saturating_add(1),
            name,
            error,
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "boot stopped in the {} stage at step {}, \"{}\": {:#}",
            stage_name(self.stage),
            self.number,
            self.name,
            self.error
        )
    }
}

/// Runs the steps of a stage in order.
pub(crate) fn run<C>(stage: Stage, steps: &[Step<C>], state: &mut C) -> Result<(), Failed> {
    run_recorded(stage, steps, state, now_us, &mut publish)
}

fn run_recorded<C>(
    stage: Stage,
    steps: &[Step<C>],
    state: &mut C,
    now_us: impl Fn() -> u64,
    publish: &mut dyn FnMut(&Record),
) -> Result<(), Failed> {
    for (number, step) in (1..).zip(steps) {
        let start_us = now_us();
        let outcome = (step.run)(state);
        let duration_us = now_us().saturating_sub(start_us);
        let note = match outcome {
            Ok(note) => note,
            Err(error) if step.on_failure == OnFailure::Continue => {
                log::error(&format!("{}: {error:#}; going on without", step.name));
                Some(format!("failed: {error:#}"))
            }
            Err(error) => {
                return Err(Failed {
                    stage,
                    number,
                    name: step.name,
                    error,
                });
            }
        };
        publish(&Record {
            stage,
            number,
            name: step.name.to_owned(),
            start_us,
            duration_us,
            note,
        });
    }
    Ok(())
}

/// Microseconds since the kernel started.
pub(crate) fn now_us() -> u64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |t| {
        u64::try_from(t.tv_sec()).unwrap_or(0) * 1_000_000
            + u64::try_from(t.tv_nsec()).unwrap_or(0) / 1000
    })
}

/// Shows a step and appends it to the boot record.
fn publish(record: &Record) {
    log::info(&console_line(record));
    let Ok(mut line) = serde_json::to_vec(record) else {
        return;
    };
    line.push(b'\n');
    // A boot without its record is still a boot.
    let written = OpenOptions::new()
        .append(true)
        .create(true)
        .open(paths::BOOT_RECORD)
        .and_then(|mut file| file.write_all(&line));
    if let Err(error) = written {
        log::error(&format!("cannot write {}: {error}", paths::BOOT_RECORD));
    }
}

fn console_line(record: &Record) -> String {
    let mut line = format!(
        "{} {:2}  {} ({} ms)",
        stage_name(record.stage),
        record.number,
        record.name,
        record.duration_us / 1000
    );
    if let Some(note) = &record.note {
        line.push_str(": ");
        line.push_str(note);
    }
    line
}

const fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Initramfs => "initramfs",
        Stage::System => "system",
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const STEPS: &[Step<Vec<&'static str>>] = &[
        Step {
            name: "first",
            on_failure: OnFailure::Stop,
            run: |done| {
                done.push("first");
                Ok(Some("made it".to_owned()))
            },
        },
        Step {
            name: "may fail",
            on_failure: OnFailure::Continue,
            run: |_| anyhow::bail!("no such device"),
        },
        Step {
            name: "must not fail",
            on_failure: OnFailure::Stop,
            run: |_| anyhow::bail!("no card; insert one"),
        },
        Step {
            name: "never reached",
            on_failure: OnFailure::Stop,
            run: |done| {
                done.push("never reached");
                Ok(None)
            },
        },
    ];

    #[test]
    fn steps_are_numbered_timed_and_stop_at_the_first_that_must_not_fail() {
        let clock = Cell::new(0);
        let tick = || {
            clock.set(clock.get() + 1500);
            clock.get()
        };
        let (mut done, mut records) = (Vec::new(), Vec::new());
        let failed = run_recorded(Stage::Initramfs, STEPS, &mut done, tick, &mut |r| {
            records.push(r.clone());
        })
        .expect_err("the third step fails");

        assert_eq!(done, ["first"]);
        assert_eq!(
            failed.to_string(),
            "boot stopped in the initramfs stage at step 3, \"must not fail\": \
             no card; insert one"
        );
        let seen: Vec<_> = records
            .iter()
            .map(|r| (r.number, r.start_us, r.duration_us, r.note.as_deref()))
            .collect();
        assert_eq!(
            seen,
            [
                (1, 1500, 1500, Some("made it")),
                (2, 4500, 1500, Some("failed: no such device")),
            ]
        );
    }

    #[test]
    fn a_step_is_one_line_on_the_console() {
        let record = Record {
            stage: Stage::System,
            number: 7,
            name: "write /etc".to_owned(),
            start_us: 0,
            duration_us: 2999,
            note: None,
        };
        assert_eq!(console_line(&record), "system  7  write /etc (2 ms)");
    }
}
