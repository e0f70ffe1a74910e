//! The static mode: files of a folder, and of no other.

use std::{fs, os::unix::fs::symlink, path::PathBuf, process::Command};

use crate::support::{self, Answer, Watchdog};

/// A watchdog that serves a folder; a file beside it must not be reached.
struct Site {
    watchdog: Watchdog,
    root: PathBuf,
}

impl Site {
    fn new() -> Self {
        let folder = support::folder();
        fs::write(folder.join("secret.txt"), "secret").unwrap();
        let root = folder.join("public");
        fs::create_dir(&root).unwrap();
        let watchdog =
            Watchdog::start(&[("mode", "static"), ("static_path", root.to_str().unwrap())]);
        Self { watchdog, root }
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn get(&self, path: &str) -> Answer {
        self.watchdog.request("GET", path, &[], b"")
    }
}

#[test]
fn a_file_is_served_with_its_type() {
    let site = Site::new();
    site.write("page.html", "<p>hello");
    site.write("data/some file.json", "{}");
    site.write("unknown", "\x7fELF\0");
    site.write("empty.txt", "");
    // Times of files are anything.
    let future = std::time::UNIX_EPOCH + std::time::Duration::from_secs(300_000_000_000);
    let file = fs::File::open(site.root.join("empty.txt")).unwrap();
    file.set_modified(future).unwrap();
    for (path, kind, content) in [
        ("/page.html", "text/html; charset=utf-8", "<p>hello"),
        ("/data/some%20file.json", "application/json", "{}"),
        ("/data//./some%20file.json?x=1", "application/json", "{}"),
        ("/unknown", "application/octet-stream", "\x7fELF\0"),
        ("/empty.txt", "text/plain; charset=utf-8", ""),
    ] {
        let answer = site.get(path);
        assert_eq!((answer.status, answer.text()), (200, content), "{path}");
        assert_eq!(answer.header("content-type"), Some(kind), "{path}");
        let length = content.len().to_string();
        assert_eq!(answer.header("content-length"), Some(length.as_str()));
    }
}

#[test]
fn a_large_file_is_served_whole_and_not_kept() {
    let site = Site::new();
    let content: Vec<u8> = (0..40_000_000_u32).map(|n| (n >> 3) as u8).collect();
    site.write("large.bin", &content);
    assert!(site.get("/large.bin").body == content);
    assert!(
        site.watchdog.peak() < 24 << 10,
        "{} KiB",
        site.watchdog.peak()
    );
}

#[test]
fn a_folder_is_its_index_and_has_a_slash_at_its_end() {
    let site = Site::new();
    site.write("index.html", "top");
    site.write("a/b c/index.html", "below");
    assert_eq!(site.get("/").text(), "top");
    assert_eq!(site.get("/a/b%20c/").text(), "below");
    let moved = site.get("/a/b%20c?x=1");
    assert_eq!(moved.status, 301);
    assert_eq!(moved.header("location"), Some("b%20c/?x=1"));
    let moved = site.get("/index.html/");
    assert_eq!(moved.status, 301);
    assert_eq!(moved.header("location"), Some("../index%2Ehtml"));
    // What is in a folder without an index is nobody's business.
    assert_eq!(site.get("/a/").status, 404);
}

#[test]
fn nothing_outside_the_folder_is_served() {
    let site = Site::new();
    site.write("inside.txt", "inside");
    symlink("../secret.txt", site.root.join("relative")).unwrap();
    symlink(site.root.join("../secret.txt"), site.root.join("absolute")).unwrap();
    symlink("..", site.root.join("up")).unwrap();
    symlink("circle", site.root.join("circle")).unwrap();
    symlink("inside.txt", site.root.join("link")).unwrap();
    for path in [
        "/../secret.txt",
        "/a/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/relative",
        "/absolute",
        "/up/secret.txt",
        "/up/",
        "/circle",
        "/inside.txt%00",
        "/inside.txt/x",
        "/%ff",
        "/nothing",
    ] {
        let answer = site.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text().contains("secret"), "{path}");
    }
    assert_eq!(site.get("/link").text(), "inside");
    let long = format!("/{}", "x".repeat(5000));
    assert_eq!(site.get(&long).status, 404);
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let site = Site::new();
    let fifo = site.root.join("fifo");
    assert!(Command::new("mkfifo").arg(fifo).status().unwrap().success());
    assert_eq!(site.get("/fifo").status, 404);
}

#[test]
fn a_file_that_is_known_is_not_sent_again() {
    let site = Site::new();
    site.write("a.txt", "one");
    let first = site.get("/a.txt");
    let tag = first.header("etag").unwrap().to_owned();
    let time = first.header("last-modified").unwrap().to_owned();
    for header in [
        format!("If-None-Match: {tag}"),
        format!("If-Modified-Since: {time}"),
    ] {
        let again = site.watchdog.request("GET", "/a.txt", &[&header], b"");
        assert_eq!((again.status, again.text()), (304, ""), "{header}");
        assert_eq!(again.header("etag"), Some(tag.as_str()));
    }
    site.write("a.txt", "other");
    let header = format!("If-None-Match: {tag}");
    let changed = site.watchdog.request("GET", "/a.txt", &[&header], b"");
    assert_eq!((changed.status, changed.text()), (200, "other"));
}

#[test]
fn a_part_of_a_file_can_be_asked_for() {
    let site = Site::new();
    site.write("a.txt", "0123456789");
    let part = |headers: &[&str]| site.watchdog.request("GET", "/a.txt", headers, b"");
    let answer = part(&["Range: bytes=2-4"]);
    assert_eq!((answer.status, answer.text()), (206, "234"));
    assert_eq!(answer.header("content-range"), Some("bytes 2-4/10"));
    let tag = answer.header("etag").unwrap().to_owned();
    assert_eq!(
        part(&["Range: bytes=-1", &format!("If-Range: {tag}")]).text(),
        "9"
    );
    let other = part(&["Range: bytes=-1", "If-Range: \"other\""]);
    assert_eq!((other.status, other.text()), (200, "0123456789"));
    let beyond = part(&["Range: bytes=10-"]);
    assert_eq!((beyond.status, beyond.text()), (416, ""));
    assert_eq!(beyond.header("content-range"), Some("bytes */10"));
}

#[test]
fn files_are_read_only() {
    let site = Site::new();
    site.write("a.txt", "one");
    let head = site.watchdog.request("HEAD", "/a.txt", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some("3"));
    for method in ["POST", "PUT", "DELETE"] {
        let answer = site.watchdog.request(method, "/a.txt", &[], b"x");
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    }
}

#[test]
fn health_and_readiness_are_not_files() {
    let site = Site::new();
    site.write("_/health", "no");
    assert_eq!(site.get("/_/health").text(), "OK");
    assert_eq!(site.get("/_/ready").status, 200);
    assert!(site.watchdog.log().contains("Serving files at: "));
}
