//! The static mode: files of a folder.

mod content;
mod open;
mod range;
mod types;

use std::{fs::File, io, path::Path};

use hyper::{
    Method, Request, StatusCode,
    header::{self, HeaderValue},
};
use percent_encoding::percent_decode_str;

use self::open::open;
use crate::{
    answer::{self, Answer},
    body::Body,
    log,
};

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
            content::send(file, &name, request).unwrap_or_else(|error| broken(request, &error))
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
