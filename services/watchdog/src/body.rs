//! The body of a request or of an answer.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// Why a body broke off.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

const LATE: &str = "the body did not end in time";

/// A body whose end can be waited for, and that can be bounded in time.
pub(crate) struct Body {
    source: Source,
    passed: u64,
    deadline: Option<Instant>,
    /// Made when the body is waited for: most are there at once.
    alarm: Option<Pin<Box<Sleep>>>,
    end: Option<End>,
}

/// What is called with the number of bytes that were passed on.
type End = Box<dyn FnOnce(u64) + Send>;

/// Where the bytes of a body come from when it is made piece by piece.
pub(crate) type Stream = dyn hyper::body::Body<Data = Bytes, Error = Error> + Send;

enum Source {
    Full(Bytes),
    Incoming(Incoming),
    Stream(Pin<Box<Stream>>),
}

impl Body {
    fn new(source: Source) -> Self {
        Self {
            source,
            passed: 0,
            deadline: None,
            alarm: None,
            end: None,
        }
    }

    /// No bytes.
    pub(crate) fn empty() -> Self {
        Self::from(Bytes::new())
    }

    /// A body that is made piece by piece.
    pub(crate) fn stream(
        stream: impl hyper::body::Body<Data = Bytes, Error = Error> + Send + 'static,
    ) -> Self {
        Self::new(Source::Stream(Box::pin(stream)))
    }

    /// The same, which breaks off at `deadline`.
    pub(crate) fn until(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Calls `end` with the number of bytes when the body is over, or dropped.
    pub(crate) fn on_end(mut self, end: impl FnOnce(u64) + Send + 'static) -> Self {
        self.end = Some(match self.end.take() {
            None => Box::new(end),
            Some(earlier) => Box::new(move |bytes| {
                earlier(bytes);
                end(bytes);
            }),
        });
        self
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::new(Source::Full(bytes))
    }
}

impl From<Incoming> for Body {
    fn from(incoming: Incoming) -> Self {
        Self::new(Source::Incoming(incoming))
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end(self.passed);
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        // Also while there is something to pass on: a slow caller has no more time
        // than a slow function.
        if self
            .deadline
            .is_some_and(|deadline| deadline <= Instant::now())
        {
            return Poll::Ready(Some(Err(LATE.into())));
        }
        let frame = match &mut self.source {
            Source::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Source::Incoming(body) => Pin::new(body)
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(Error::from))),
            Source::Stream(body) => body.as_mut().poll_frame(context),
        };
        if let Poll::Ready(frame) = frame {
            if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()) {
                self.passed += data.data_ref().map_or(0, |data| data.len() as u64);
            }
            return Poll::Ready(frame);
        }
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        self.alarm
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)))
            .as_mut()
            .poll(context)
            .map(|()| Some(Err(LATE.into())))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Full(bytes) => bytes.is_empty(),
            Source::Incoming(body) => body.is_end_stream(),
            Source::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Incoming(body) => body.size_hint(),
            Source::Stream(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
        time::Duration,
    };

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(work)
    }

    /// A body that never has anything.
    struct Silent;

    impl hyper::body::Body for Silent {
        type Data = Bytes;
        type Error = Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            Poll::Pending
        }
    }

    #[test]
    fn the_end_of_a_body_tells_its_length_to_everyone() {
        let total = Arc::new(AtomicU64::new(0));
        let add = |factor: u64| {
            let total = Arc::clone(&total);
            move |bytes| {
                total.fetch_add(bytes * factor, Ordering::Relaxed);
            }
        };
        let body = Body::from(Bytes::from_static(b"hello"))
            .on_end(add(1))
            .on_end(add(100));
        let bytes = run(body.collect()).unwrap().to_bytes();
        assert_eq!(bytes, "hello");
        assert_eq!(total.load(Ordering::Relaxed), 505);
    }

    #[test]
    fn a_body_breaks_off_at_its_deadline() {
        let error = run(async {
            let deadline = Instant::now() + Duration::from_millis(10);
            Body::stream(Silent)
                .until(Some(deadline))
                .collect()
                .await
                .err()
        });
        assert_eq!(error.unwrap().to_string(), "the body did not end in time");
    }
}
