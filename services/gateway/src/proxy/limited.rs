//! Bodies of requests, up to a size.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use axum::body::Body;
use hyper::body::{Bytes, Frame, SizeHint};

/// A body that breaks off where it becomes too large.
struct Limited {
    body: Body,
    left: u64,
    exceeded: Arc<AtomicBool>,
}

/// Whether a body turned out to be too large, known once it was sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Exceeded(Arc<AtomicBool>);

impl Exceeded {
    pub(super) fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bounds a body. Nothing when its length is known to be more.
pub(super) fn limit(body: Body, most: u64) -> Option<(Body, Exceeded)> {
    use hyper::body::Body as _;
    let exceeded = Exceeded::default();
    let size = body.size_hint();
    if most == 0 || size.upper().is_some_and(|bytes| bytes <= most) {
        return Some((body, exceeded));
    }
    if size.lower() > most {
        return None;
    }
    let body = Limited {
        body,
        left: most,
        exceeded: Arc::clone(&exceeded.0),
    };
    Some((Body::new(body), exceeded))
}

impl hyper::body::Body for Limited {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            match self.left.checked_sub(bytes) {
                Some(left) => self.left = left,
                None => {
                    self.exceeded.store(true, Ordering::Relaxed);
                    return Poll::Ready(Some(Err(axum::Error::new("the request is too large"))));
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
