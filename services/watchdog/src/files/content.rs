//! A file as an answer: whole, in part, or not at all.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::{Bytes, Frame, SizeHint},
    header::{self, HeaderName, HeaderValue},
};

use super::{
    range::{self, Asked},
    types,
};
use crate::{
    answer::{self, Answer},
    body::{Body, Error},
    sniff,
};

/// Bytes that are read at once. Reading blocks the watchdog's only thread, so a
/// piece is short; the kernel reads ahead of it.
const CHUNK: usize = 64 << 10;
/// The last second that HTTP can write, in the year 9999: a file may claim any.
const LATEST: Duration = Duration::from_secs(253_402_300_799);

/// Answers with a file of this name.
pub(super) fn send(file: File, name: &str, request: &Request<Body>) -> io::Result<Answer> {
    let version = Version::of(&file)?;
    let headers = request.headers();
    let mut answer = if version.is_known(headers) {
        answer::empty(StatusCode::NOT_MODIFIED)
    } else {
        let asked = if version.may_be_asked_in_part(headers) {
            range::asked(text(headers, header::RANGE), version.length)
        } else {
            Asked::Whole
        };
        let length = version.length;
        match asked {
            Asked::Whole => whole_or_part(StatusCode::OK, file, name, request, 0..length)?,
            Asked::Part(part) => {
                let place = format!("bytes {}-{}/{length}", part.start, part.end - 1);
                let status = StatusCode::PARTIAL_CONTENT;
                let mut answer = whole_or_part(status, file, name, request, part)?;
                set(&mut answer, header::CONTENT_RANGE, place);
                answer
            }
            Asked::Nothing => {
                let mut answer = answer::empty(StatusCode::RANGE_NOT_SATISFIABLE);
                set(
                    &mut answer,
                    header::CONTENT_RANGE,
                    format!("bytes */{length}"),
                );
                answer
            }
        }
    };
    set(&mut answer, header::ACCEPT_RANGES, "bytes".to_owned());
    set(&mut answer, header::LAST_MODIFIED, version.time);
    set(&mut answer, header::ETAG, version.tag);
    Ok(answer)
}

fn set(answer: &mut Answer, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        answer.headers_mut().insert(name, value);
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn whole_or_part(
    status: StatusCode,
    file: File,
    name: &str,
    request: &Request<Body>,
    part: Range<u64>,
) -> io::Result<Answer> {
    let kind = match types::by_name(name) {
        Some(kind) => kind,
        None => {
            let mut start = [0; sniff::WINDOW];
            let read = file.read_at(&mut start, 0)?;
            sniff::content_type(&start[..read])
        }
    };
    let length = part.end - part.start;
    let body = if request.method() == Method::HEAD {
        Body::empty()
    } else {
        Body::stream(Content { file, part })
    };
    let mut answer = answer::empty(status).map(|_| body);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, length.into());
    Ok(answer)
}

/// What tells one state of a file from another.
struct Version {
    length: u64,
    changed: SystemTime,
    /// When it changed, as HTTP writes it.
    time: String,
    tag: String,
}

impl Version {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let (length, changed) = (metadata.len(), metadata.modified()?);
        let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
        Ok(Self {
            length,
            changed,
            time: httpdate::fmt_http_date(changed.clamp(UNIX_EPOCH, UNIX_EPOCH + LATEST)),
            tag: format!("\"{seconds:x}-{nanoseconds:x}-{length:x}\""),
        })
    }

    /// Whether the caller has it. The tag counts before the time, as it is more
    /// exact.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        if let Some(tags) = text(headers, header::IF_NONE_MATCH) {
            return tags
                .split(',')
                .map(|have| have.trim().trim_start_matches("W/"))
                .any(|have| have == self.tag || have == "*");
        }
        let seconds =
            |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs());
        text(headers, header::IF_MODIFIED_SINCE)
            .and_then(|time| httpdate::parse_http_date(time).ok())
            .is_some_and(|since| seconds(self.changed) <= seconds(since))
    }

    /// Whether a part of it goes with the parts that the caller has.
    fn may_be_asked_in_part(&self, headers: &HeaderMap) -> bool {
        text(headers, header::IF_RANGE).is_none_or(|have| have == self.tag || have == self.time)
    }
}

/// A part of what a file held when it was opened.
struct Content {
    file: File,
    part: Range<u64>,
}

impl hyper::body::Body for Content {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let left = self.part.end - self.part.start;
        if left == 0 {
            return Poll::Ready(None);
        }
        let most = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        let mut chunk = vec![0; most];
        let read = loop {
            match self.file.read_at(&mut chunk, self.part.start) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        Poll::Ready(Some(match read {
            Ok(0) => Err("the file became shorter while it was sent".into()),
            Ok(read) => {
                self.part.start += read as u64;
                chunk.truncate(read);
                Ok(Frame::data(chunk.into()))
            }
            Err(error) => Err(error.into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.part.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.part.end - self.part.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> Version {
        let changed = UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
        Version {
            length: 1,
            changed,
            time: httpdate::fmt_http_date(changed),
            tag: "\"a-b\"".to_owned(),
        }
    }

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_caller_has_a_file_by_its_tag_or_its_time() {
        let known = |name, value| version().is_known(&headers(name, value));
        assert!(known(header::IF_NONE_MATCH, "\"x\", W/\"a-b\""));
        assert!(known(header::IF_NONE_MATCH, "*"));
        assert!(!known(header::IF_NONE_MATCH, "\"x\""));
        let since = |time| known(header::IF_MODIFIED_SINCE, time);
        assert!(since("Tue, 14 Nov 2023 22:13:20 GMT"));
        assert!(!since("Tue, 14 Nov 2023 22:13:19 GMT"));
        assert!(!since("yesterday"));
        assert!(!version().is_known(&HeaderMap::new()));
    }

    #[test]
    fn parts_of_different_versions_do_not_go_together() {
        let fits = |value| version().may_be_asked_in_part(&headers(header::IF_RANGE, value));
        assert!(fits("\"a-b\""));
        assert!(fits("Tue, 14 Nov 2023 22:13:20 GMT"));
        assert!(!fits("\"x\""));
        assert!(!fits("W/\"a-b\""));
        assert!(!fits("Tue, 14 Nov 2023 22:13:21 GMT"));
        assert!(version().may_be_asked_in_part(&HeaderMap::new()));
    }
}
