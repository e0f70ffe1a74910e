//! Follows the engine: what changes, and whether it is there.

use std::{
    collections::HashMap,
    sync::atomic::Ordering,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;

use super::{DockerProvider, container::FUNCTION_LABEL, presence};
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
        let gone = async {
            if let Err(error) = presence::gone(self.engine.socket()).await {
                eprintln!(
                    "gateway: cannot watch {}: {error}; the container engine takes longer to end",
                    self.engine.socket().display()
                );
                std::future::pending().await
            }
        };
        tokio::select! {
            () = listen => {}
            () = gone => {}
            () = async { tidy.await; std::future::pending().await } => {}
        }
        self.watching.store(false, Ordering::Release);
        self.changed();
        self.engine.forget();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io, sync::Arc};

    use axum::{Json, Router, body::Body, routing::get};
    use futures_util::stream;
    use serde_json::json;
    use tokio::{net::UnixListener, sync::Notify, time::timeout};

    use super::*;
    use crate::provider::docker::Options;

    /// What of an engine is followed. Its events never end by themselves;
    /// `asked` tells that somebody waits for them.
    fn engine(asked: Arc<Notify>) -> Router {
        let events = async move || {
            asked.notify_one();
            Body::from_stream(stream::pending::<io::Result<Vec<u8>>>())
        };
        Router::new()
            .route(
                "/version",
                get(async || Json(json!({ "ApiVersion": "1.44" }))),
            )
            .route("/info", get(async || Json(json!({}))))
            .route("/containers/json", get(async || Json(json!([]))))
            .route("/events", get(events))
    }

    /// An engine that is asked to end closes its socket, answers who has asked
    /// already, and waits for that.
    #[tokio::test]
    async fn an_engine_that_ends_does_not_wait_for_who_follows_it() {
        const LONG: Duration = Duration::from_secs(10);
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let provider = Arc::new(DockerProvider::new(Options {
            socket: socket.clone(),
            ..Options::default()
        }));
        let watching = Arc::clone(&provider);
        let watching = tokio::spawn(async move { watching.watch().await });
        // And is followed again when it is back.
        for _ in 0..2 {
            let (asked, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let listener = UnixListener::bind(&socket).unwrap();
            let until = Arc::clone(&end);
            let server = axum::serve(listener, engine(Arc::clone(&asked)))
                .with_graceful_shutdown(async move { until.notified().await });
            let server = tokio::spawn(server.into_future());
            timeout(LONG, asked.notified())
                .await
                .expect("it is followed");
            assert!(provider.watching.load(Ordering::Acquire));
            fs::remove_file(&socket).unwrap();
            end.notify_one();
            let ended = timeout(LONG, server).await.expect("nobody holds it up");
            ended.unwrap().unwrap();
            assert!(!provider.watching.load(Ordering::Acquire));
        }
        watching.abort();
    }
}
