//! A connection that no longer speaks HTTP: bytes are passed on both ways.

use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{io::copy_bidirectional, time};

/// Passes bytes on between the caller and the process until both have ended, one
/// of them breaks, or `limit` is over. `guard` is kept meanwhile.
pub(super) fn open(
    caller: OnUpgrade,
    process: OnUpgrade,
    limit: Option<Duration>,
    guard: impl Send + 'static,
) {
    tokio::spawn(async move {
        let _guard = guard;
        let work = async {
            // The process has switched already, the caller does with its answer.
            let (Ok(caller), Ok(process)) = tokio::join!(caller, process) else {
                return;
            };
            let (mut caller, mut process) = (TokioIo::new(caller), TokioIo::new(process));
            // Whoever breaks a connection has its reasons.
            let _ = copy_bidirectional(&mut caller, &mut process).await;
        };
        match limit {
            Some(limit) => {
                let _ = time::timeout(limit, work).await;
            }
            None => work.await,
        }
    });
}
