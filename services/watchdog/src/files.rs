//! The static mode: files of a folder.

mod types;

use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::OwnedFd,
        unix::fs::{FileExt, MetadataExt},
    },
    path::Path,
    pin::Pin,
    task::{Context, Poll},
    time::{SystemTime, UNIX_EPOCH},
};

use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::{Bytes, Frame, SizeHint},
    header::{self, HeaderValue},
};
use percent_encoding::percent_decode_str;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat, openat2},
    io::Errno,
};

use crate::{
    answer::{self, Answer},
    body::{Body, Error},
    log, sniff,
};

/// Bytes that are read at once. Reading blocks the watchdog's only thread, so a
/// piece is short; the kernel reads ahead of it.
const CHUNK: usize = 64 << 10;
/// The file that stands for its folder.
const INDEX: &str = "index.html";

/// Answers with the file below `root` that a request names.
pub(crate) fn serve(root: &Path, request: &Request<Body>) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = answer::empty(StatusCode::METHOD_NOT_ALLOWED);
        let allowed = HeaderValue::from_static("GET, HEAD");
        answer.headers_mut().insert(header::ALLOW, allowed);
        return answer;
    }
    let found = match Wanted::of(request.uri().path()) {
        Some(wanted) => find(root, &wanted),
        None => Ok(Found::Nothing),
    };
    match found {
        Ok(Found::File(file, name)) => {
            send(file, &name, request).unwrap_or_else(|error| broken(request, &error))
        }
        Ok(Found::Elsewhere(path)) => moved(&path, request.uri().query()),
        Ok(Found::Nothing) => answer::plain(StatusCode::NOT_FOUND, "404 page not found\n"),
        Err(error) => broken(request, &error),
    }
}

fn broken(request: &Request<Body>, error: &io::Error) -> Answer {
    log::line(format_args!(
        "cannot read the file of {}: {error}",
        request.uri().path()
    ));
    answer::plain(
        StatusCode::INTERNAL_SERVER_ERROR,
        "500 Internal Server Error\n",
    )
}

fn moved(path: &str, query: Option<&str>) -> Answer {
    let target = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut answer = answer::empty(StatusCode::MOVED_PERMANENTLY);
    if let Ok(target) = HeaderValue::from_str(&target) {
        answer.headers_mut().insert(header::LOCATION, target);
    }
    answer
}

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    /// Relative to the root; empty for the root itself.
    path: String,
    /// Whether the path ends as that of a folder does.
    folder: bool,
}

impl Wanted {
    /// Reads the path of a request; nothing where it names no file: what is not
    /// text, or steps out of a folder.
    fn of(path: &str) -> Option<Self> {
        let path = String::from_utf8(percent_decode_str(path).collect()).ok()?;
        if path.contains('\0') || path.split('/').any(|part| part == "..") {
            return None;
        }
        let parts: Vec<&str> = path
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        Some(Self {
            folder: path.ends_with('/') || parts.is_empty(),
            path: parts.join("/"),
        })
    }
}

enum Found {
    /// A file and its name.
    File(File, String),
    /// The path under which it is to be asked for.
    Elsewhere(String),
    Nothing,
}

fn find(root: &Path, wanted: &Wanted) -> io::Result<Found> {
    let root = match File::open(root) {
        Ok(root) => root,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    let path = if wanted.path.is_empty() {
        "."
    } else {
        &wanted.path
    };
    let Some(file) = open(&root, path)? else {
        return Ok(Found::Nothing);
    };
    let kind = file.metadata()?.file_type();
    let name = wanted.path.rsplit('/').next().unwrap_or_default();
    if kind.is_file() {
        return Ok(if wanted.folder {
            Found::Elsewhere(format!("../{}", encoded(name)))
        } else {
            Found::File(file, name.to_owned())
        });
    }
    if !kind.is_dir() {
        return Ok(Found::Nothing);
    }
    if !wanted.folder {
        // Relative links of a page are relative to the last slash.
        return Ok(Found::Elsewhere(format!("{}/", encoded(name))));
    }
    match open(&file, INDEX)? {
        Some(index) if index.metadata()?.is_file() => Ok(Found::File(index, INDEX.to_owned())),
        _ => Ok(Found::Nothing),
    }
}

/// A name as a part of a URL, also where it looks like a scheme.
fn encoded(name: &str) -> percent_encoding::PercentEncode<'_> {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC)
}

/// Reading, and without waiting, so that a FIFO in the folder does no harm.
const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);

/// Opens what lies below `folder`. The kernel sees to it that no link leads out
/// of it; nothing when there is no such file, or it is not to be had.
fn open(folder: &File, path: &str) -> io::Result<Option<File>> {
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    loop {
        let opened = match openat2(folder, path, FLAGS, Mode::empty(), within) {
            // Something was renamed meanwhile.
            Err(Errno::AGAIN) => continue,
            // A kernel, or an emulation of one, that is older than the call.
            Err(Errno::NOSYS | Errno::PERM) => step_by_step(folder, path),
            opened => opened,
        };
        return match opened {
            Ok(file) => Ok(Some(file.into())),
            // No such file, a link that leads out, or into a circle, a name that no
            // file can have, or one that is not for everybody.
            Err(
                Errno::NOENT
                | Errno::NOTDIR
                | Errno::XDEV
                | Errno::LOOP
                | Errno::NAMETOOLONG
                | Errno::ACCESS,
            ) => Ok(None),
            Err(error) => Err(error.into()),
        };
    }
}

/// Opens one folder after the other, and follows no links at all.
fn step_by_step(folder: &File, path: &str) -> Result<OwnedFd, Errno> {
    let mut at = folder.try_clone().map_err(|_| Errno::MFILE)?.into();
    for part in path.split('/') {
        at = openat(&at, part, FLAGS | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(at)
}

fn send(file: File, name: &str, request: &Request<Body>) -> io::Result<Answer> {
    let metadata = file.metadata()?;
    let length = metadata.len();
    let changed = metadata.modified()?;
    let tag = format!(
        "\"{:x}-{:x}-{:x}\"",
        metadata.mtime(),
        metadata.mtime_nsec(),
        length
    );
    let mut answer = if is_known(request.headers(), &tag, changed) {
        answer::empty(StatusCode::NOT_MODIFIED)
    } else {
        let kind = match types::by_name(name) {
            Some(kind) => kind,
            None => {
                let mut start = [0; sniff::WINDOW];
                let read = file.read_at(&mut start, 0)?;
                sniff::content_type(&start[..read])
            }
        };
        let body = if request.method() == Method::HEAD {
            Body::empty()
        } else {
            Body::stream(Content { file, left: length })
        };
        let mut answer = answer::empty(StatusCode::OK).map(|_| body);
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CONTENT_LENGTH, length.into());
        answer
    };
    let headers = answer.headers_mut();
    if let Ok(changed) = HeaderValue::try_from(httpdate::fmt_http_date(changed)) {
        headers.insert(header::LAST_MODIFIED, changed);
    }
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    Ok(answer)
}

/// Whether the caller has this version of the file. The tag counts before the
/// time, as it is more exact.
fn is_known(headers: &HeaderMap, tag: &str, changed: SystemTime) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(tags) = text(header::IF_NONE_MATCH) {
        return tags
            .split(',')
            .map(|have| have.trim().trim_start_matches("W/"))
            .any(|have| have == tag || have == "*");
    }
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs());
    text(header::IF_MODIFIED_SINCE)
        .and_then(|time| httpdate::parse_http_date(time).ok())
        .is_some_and(|since| seconds(changed) <= seconds(since))
}

/// What a file held when it was opened.
struct Content {
    file: File,
    left: u64,
}

impl hyper::body::Body for Content {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let most = usize::try_from(self.left).map_or(CHUNK, |left| left.min(CHUNK));
        let mut chunk = vec![0; most];
        let read = loop {
            match self.file.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        Poll::Ready(Some(match read {
            Ok(0) => Err("the file became shorter while it was sent".into()),
            Ok(read) => {
                self.left -= read as u64;
                chunk.truncate(read);
                Ok(Frame::data(chunk.into()))
            }
            Err(error) => Err(error.into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_path_names_a_file_below_the_root() {
        for (path, file, folder) in [
            ("/", "", true),
            ("/a.html", "a.html", false),
            ("/a/b/", "a/b", true),
            ("//a/./b", "a/b", false),
            ("/a%20b", "a b", false),
            ("/a%2Fb", "a/b", false),
            ("/..a/b..", "..a/b..", false),
            ("", "", true),
        ] {
            let expected = Wanted {
                path: file.to_owned(),
                folder,
            };
            assert_eq!(Wanted::of(path), Some(expected), "{path}");
        }
    }

    #[test]
    fn a_path_that_steps_out_names_nothing() {
        for path in [
            "/..",
            "/a/../b",
            "/%2e%2e/b",
            "/a%2f..%2fb",
            "/a%00",
            "/%ff",
        ] {
            assert_eq!(Wanted::of(path), None, "{path}");
        }
    }

    #[test]
    fn without_the_help_of_the_kernel_no_link_is_followed() {
        let folder = std::env::temp_dir().join(format!("fwatchdog-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("a")).unwrap();
        std::fs::write(folder.join("a/file"), "here").unwrap();
        std::os::unix::fs::symlink("a", folder.join("link")).unwrap();
        std::os::unix::fs::symlink("file", folder.join("a/link")).unwrap();
        let root = File::open(&folder).unwrap();
        let opened = |path| step_by_step(&root, path).map(drop);
        assert_eq!(opened("a/file"), Ok(()));
        assert_eq!(opened("."), Ok(()));
        assert_eq!(opened("a/none"), Err(Errno::NOENT));
        assert_eq!(opened("a/link"), Err(Errno::LOOP));
        assert!(opened("link/file").is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_caller_has_a_file_by_its_tag_or_its_time() {
        let changed = UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
        let known = |name: header::HeaderName, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            is_known(&headers, "\"a-b\"", changed)
        };
        assert!(known(header::IF_NONE_MATCH, "\"x\", W/\"a-b\""));
        assert!(known(header::IF_NONE_MATCH, "*"));
        assert!(!known(header::IF_NONE_MATCH, "\"x\""));
        let since = |time| known(header::IF_MODIFIED_SINCE, time);
        assert!(since("Tue, 14 Nov 2023 22:13:20 GMT"));
        assert!(!since("Tue, 14 Nov 2023 22:13:19 GMT"));
        assert!(!since("yesterday"));
        assert!(!is_known(&HeaderMap::new(), "\"a-b\"", changed));
    }
}
