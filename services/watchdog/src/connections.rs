//! The connections of callers, from their start to the end of the watchdog.

use std::pin::pin;

use hyper::{
    Request, Response, body::Incoming, server::conn::http1::UpgradeableConnection, service::Service,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::watch};

use crate::body::Body;

/// The connections that are open. Each holds a receiver, by which it learns of
/// the end, and by which its own end is seen.
pub(crate) struct Connections(watch::Sender<()>);

impl Connections {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    /// Serves a connection, in a task of its own.
    pub(crate) fn serve<S>(&self, connection: UpgradeableConnection<TokioIo<TcpStream>, S>)
    where
        S: Service<Request<Incoming>, Response = Response<Body>> + Send + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut end = self.0.subscribe();
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            // A connection that breaks is its caller's affair.
            tokio::select! {
                _ = connection.as_mut() => return,
                _ = end.changed() => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
    }

    /// Lets no connection take another request, and waits until all are closed.
    pub(crate) async fn drain(&self) {
        self.0.send_replace(());
        self.0.closed().await;
    }
}
