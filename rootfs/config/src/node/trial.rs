//! Settings on trial: shown to the services and not stored.
//!
//! The order of steps is what makes a trial end: first it is written down, then
//! the runtime is told, which from then on looks at the clock, then services see
//! the settings. Whoever dies in between, the runtime takes them back.

use std::fs;
use std::io::{self, ErrorKind};

use super::{ChangeError, Edited, Node, Planned, unreadable};
use crate::document::Problem;
use crate::edit::{EditError, Editor};
use crate::effects::Effects;
use crate::keys::Schema;
use crate::paths;
use crate::trial::Trial;

impl Node {
    /// What is on trial; nothing once it was taken back.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn trial(&self) -> Result<Option<Trial>, Problem> {
        let trial = self
            .read_trial()
            .map_err(|error| unreadable(paths::TRIAL, &error))?;
        Ok(trial.filter(|trial| trial.taken_back.is_none()))
    }

    /// Makes a change that lasts until `ends_us`, unless it is confirmed.
    /// `watch` makes the runtime look at the clock; without it nothing changes.
    ///
    /// # Errors
    /// When the change is wrong, counts from a boot only, cannot be written or
    /// is not watched, or others are on trial.
    pub fn try_change(
        &self,
        schema: &Schema,
        ends_us: u64,
        edit: impl FnOnce(&Editor<'_>) -> Result<Edited, EditError>,
        watch: impl FnOnce() -> Result<(), String>,
    ) -> Result<Effects, ChangeError> {
        let _lock = self.lock()?;
        let planned = self.plan(schema, edit)?;
        planned.must_not_be_on_trial()?;
        let Planned {
            edited, effects, ..
        } = planned;
        if !effects.reboot.is_empty() {
            return Err(ChangeError::TrialOfBoot(effects.reboot.join(", ")));
        }
        if effects.changed.is_empty() {
            return Ok(effects);
        }
        let trial = Trial {
            layer: edited.layer,
            keys: effects.changed.clone(),
            ends_us,
            taken_back: None,
        };
        self.write_trial(&trial)?;
        if let Err(why) = watch() {
            self.remove_trial()?;
            return Err(ChangeError::Unwatched(why));
        }
        if let Err(error) = self.render(&edited.settings) {
            // Some may have been shown already; what prevents that prevents
            // this too, and what went wrong first is what is told.
            let _ = self.show_old(schema);
            self.remove_trial()?;
            return Err(not_written(error));
        }
        Ok(effects)
    }

    /// Stores what is on trial.
    ///
    /// # Errors
    /// When nothing is, or it cannot be written.
    pub fn confirm(&self) -> Result<Trial, ChangeError> {
        let _lock = self.lock()?;
        let trial = self.trial().map_err(EditError::from)?;
        let trial = trial.ok_or(ChangeError::NotOnTrial)?;
        self.keep(&trial.layer)?;
        self.remove_trial()?;
        Ok(trial)
    }

    /// Takes back what is on trial; what follows is up to the caller.
    ///
    /// # Errors
    /// When nothing is on trial, or the old settings cannot be shown.
    pub fn revert(&self, schema: &Schema) -> Result<Effects, ChangeError> {
        let _lock = self.lock()?;
        let trial = self.trial().map_err(EditError::from)?;
        trial.ok_or(ChangeError::NotOnTrial)?;
        let effects = self.show_old(schema)?;
        self.remove_trial()?;
        Ok(effects)
    }

    /// Takes back what has been on trial for long enough, and writes down what
    /// follows: it is up to the runtime, which may be away just now.
    ///
    /// # Errors
    /// When the old settings cannot be shown.
    pub fn expire(&self, schema: &Schema, now_us: u64) -> Result<(), ChangeError> {
        let _lock = self.lock()?;
        let Some(trial) = self.trial().map_err(EditError::from)? else {
            return Ok(());
        };
        if now_us < trial.ends_us {
            return Ok(());
        }
        let taken_back = Some(self.show_old(schema)?);
        self.write_trial(&Trial {
            taken_back,
            ..trial
        })
    }

    /// Shows the services what is stored, and tells what follows from that.
    fn show_old(&self, schema: &Schema) -> Result<Effects, ChangeError> {
        let tried = self.load(schema).merged.settings;
        let stored = self.load_stored(schema).merged.settings;
        let effects = self.effects(schema, &tried, &stored)?;
        self.render(&stored).map_err(not_written)?;
        Ok(effects)
    }

    fn read_trial(&self) -> io::Result<Option<Trial>> {
        match fs::read(self.inside(paths::TRIAL)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write_trial(&self, trial: &Trial) -> Result<(), ChangeError> {
        let text = serde_json::to_vec(trial).map_err(|error| not_written(error.into()))?;
        self.replace(paths::TRIAL, &text).map_err(not_written)
    }

    fn remove_trial(&self) -> Result<(), ChangeError> {
        fs::remove_file(self.inside(paths::TRIAL)).map_err(not_written)
    }
}

/// What is on trial lies in memory.
fn not_written(source: io::Error) -> ChangeError {
    ChangeError::Write {
        path: paths::RUN.to_owned(),
        source,
    }
}
