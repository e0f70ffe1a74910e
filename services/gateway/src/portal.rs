//! The portal: a page that is compiled in, and speaks to `/system` only.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};

/// One file of the page.
struct File {
    name: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(File { name: $name, text: include_str!(concat!("../ui/", $name)) }),*]
    };
}

const INDEX: &str = "index.html";

const FILES: &[File] = files![
    "index.html",
    "style.css",
    "icon.svg",
    "api.js",
    "chart.js",
    "deploy.js",
    "dom.js",
    "functions.js",
    "invoke.js",
    "logs.js",
    "main.js",
    "node.js",
    "queue.js",
    "schedules.js",
    "secrets.js",
    "stats.js",
];

/// The page may run and fetch what the gateway serves, and nothing else; nobody
/// may show it inside a page of theirs. The referrer stays within the origin:
/// without any, browsers would call the origin of some requests unknown.
const GUARDS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    // Asked for every time, and sent when the gateway is another.
    (header::CACHE_CONTROL, "no-cache"),
];

/// The page itself.
pub(crate) async fn index(headers: HeaderMap) -> Response {
    serve(INDEX, &headers)
}

/// A file of the page.
pub(crate) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    serve(&name, &headers)
}

fn serve(name: &str, headers: &HeaderMap) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return (StatusCode::NOT_FOUND, GUARDS, "404 page not found\n").into_response();
    };
    let tag = file.tag();
    let given = headers.get_all(header::IF_NONE_MATCH);
    let known = given
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|tags| names(tags, &tag));
    let tag = [(header::ETAG, tag)];
    if known {
        return (StatusCode::NOT_MODIFIED, GUARDS, tag).into_response();
    }
    let kind = [(header::CONTENT_TYPE, file.kind())];
    (GUARDS, tag, kind, file.text).into_response()
}

/// Whether the value of `If-None-Match` names a tag.
fn names(tags: &str, tag: &str) -> bool {
    tags.split(',').map(str::trim).any(|it| {
        // Proxies that compress call a tag weak.
        it == "*" || it.strip_prefix("W/").unwrap_or(it) == tag
    })
}

impl File {
    /// What it is, for browsers that are told not to guess.
    fn kind(&self) -> &'static str {
        match self.name.rsplit_once('.') {
            Some((_, "html")) => "text/html; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            _ => "image/svg+xml",
        }
    }

    /// Another text has another tag.
    fn tag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.text.hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_among_others() {
        for (tags, found) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
            ("", false),
        ] {
            assert_eq!(names(tags, "\"a\""), found, "{tags}");
        }
    }

    /// A file that is forgotten in the list is missing on the node only.
    #[test]
    fn all_files_of_the_page_are_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/ui");
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut served: Vec<&str> = FILES.iter().map(|file| file.name).collect();
        there.sort();
        served.sort();
        assert_eq!(there, served);
    }
}
