//! WebSockets: once a function has switched, bytes go both ways as they come.

use axum::body::Body;
use hyper::{Response, body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::io;

use crate::metrics::Invocation;

/// Joins the connection of the caller with that of the function, for as long as
/// both want: a socket has no time limit. Until then the request counts as in
/// flight.
pub(super) fn join(
    caller: OnUpgrade,
    mut answer: Response<Incoming>,
    invocation: Invocation,
) -> Response<Body> {
    let function = hyper::upgrade::on(&mut answer);
    tokio::spawn(async move {
        // Whoever goes first ends it for the other; nobody is left to tell.
        if let (Ok(caller), Ok(function)) = tokio::join!(caller, function) {
            let (mut caller, mut function) = (TokioIo::new(caller), TokioIo::new(function));
            let _ = io::copy_bidirectional(&mut caller, &mut function).await;
        }
        drop(invocation);
    });
    answer.map(|_| Body::empty())
}
