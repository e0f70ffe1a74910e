//! One operation a function at a time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

use crate::model::FunctionId;

/// A lock for every function that is being worked on.
#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<HashMap<FunctionId, Arc<tokio::sync::Mutex<()>>>>);

impl Locks {
    /// Waits for the operations on this function that came before.
    pub(super) async fn lock(&self, id: &FunctionId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody holds or waits for are not needed any more.
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(id.clone()).or_default())
        };
        lock.lock_owned().await
    }
}
