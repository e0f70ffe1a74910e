//! Follows the engine: what changes, and whether it is there.

use std::{
    collections::HashMap,
    sync::atomic::Ordering,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;

use super::{DockerProvider, container::FUNCTION_LABEL};
use crate::provider::Result;

/// Shortest and longest pause before the engine is looked for again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// Events that change which replicas there are or where they are reached.
const EVENTS: [&str; 7] = [
    "create", "start", "restart", "die", "pause", "unpause", "destroy",
];

impl DockerProvider {
    /// Follows the engine as long as the gateway runs.
    pub async fn watch(&self) {
        let mut pause = PAUSE.0;
        let mut reason = String::new();
        loop {
            match self.follow().await {
                Ok(()) => {
                    eprintln!("gateway: the container engine went away");
                    (pause, reason) = (PAUSE.0, String::new());
                }
                Err(error) => {
                    let error = error.to_string();
                    if error != reason {
                        eprintln!("gateway: {error}");
                        reason = error;
                    }
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Follows the engine until it goes away.
    async fn follow(&self) -> Result<()> {
        let info = self.engine.info().await?;
        eprintln!(
            "gateway: container engine {} is there",
            info.server_version
                .as_deref()
                .unwrap_or("(of unknown version)")
        );
        self.live_restore
            .store(info.live_restore_enabled == Some(true), Ordering::Release);
        // What happens before the engine has taken the request is told too.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let options = EventsOptionsBuilder::default()
            .since(&now.as_secs().saturating_sub(1).to_string())
            .filters(&HashMap::from([
                ("type", vec!["container"]),
                ("label", vec![FUNCTION_LABEL]),
                ("event", EVENTS.to_vec()),
            ]))
            .build();
        let client = self.engine.client().await?;
        let mut events = client.events(Some(options));
        self.changed();
        self.watching.store(true, Ordering::Release);
        let tidy = async {
            if let Err(error) = self.tidy().await {
                eprintln!("gateway: cannot remove old containers: {error}");
            }
        };
        let listen = async {
            while let Some(Ok(_)) = events.next().await {
                self.changed();
            }
        };
        tokio::select! {
            () = listen => {}
            () = async { tidy.await; std::future::pending().await } => {}
        }
        self.watching.store(false, Ordering::Release);
        self.changed();
        self.engine.forget();
        Ok(())
    }
}
