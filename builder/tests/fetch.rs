//! Downloads from servers that break off, lie, or have nothing.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    thread,
    time::Duration,
};

use rubus::{
    cache::Cache,
    digest::Digest,
    fetch::{FetchError, Fetcher, Item, Progress, Retry},
};

/// What a server does with its next request.
#[derive(Clone, Copy)]
enum Answer {
    /// Sends the file, from the offset asked for.
    Whole,
    /// Sends the file from its beginning, whatever was asked for.
    FromTheStart,
    /// Announces all of it, sends so many bytes, and hangs up.
    BreakAfter(usize),
    /// Sends a file of the same length.
    Corrupt,
    /// Sends without an end, and without saying how much.
    Endless,
    /// Sends a status without a body.
    Status(u16),
}

/// A server of one file; it keeps the `Range` of each request.
struct Server {
    url: String,
    ranges: Arc<Mutex<Vec<Option<String>>>>,
}

impl Server {
    /// Answers as told; the last answer is repeated.
    fn start(content: &[u8], answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/file", listener.local_addr().unwrap());
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&ranges);
        let (content, answers) = (content.to_vec(), answers.to_vec());
        thread::spawn(move || {
            let mut answers = answers.iter();
            let mut answer = Answer::Whole;
            for stream in listener.incoming() {
                answer = *answers.next().unwrap_or(&answer);
                let stream = stream.unwrap();
                let range = read_request(&stream);
                seen.lock().unwrap().push(range.clone());
                // A client that hangs up first is no concern of the server's.
                let _ = respond(stream, &content, range, answer);
            }
        });
        Self { url, ranges }
    }

    fn ranges(&self) -> Vec<Option<String>> {
        self.ranges.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream) -> Option<String> {
    let mut range = None;
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        if let Some(value) = line.to_lowercase().strip_prefix("range: ") {
            range = Some(value.to_owned());
        }
        if line.is_empty() {
            break;
        }
    }
    range
}

fn respond(
    mut stream: TcpStream,
    content: &[u8],
    range: Option<String>,
    answer: Answer,
) -> std::io::Result<()> {
    let offset: usize = range
        .and_then(|range| Some(range.strip_prefix("bytes=")?.strip_suffix('-')?.to_owned()))
        .map_or(0, |offset| offset.parse().unwrap());
    let offset = match answer {
        Answer::FromTheStart => 0,
        _ => offset,
    };
    let body = &content[offset..];
    let status = match (answer, offset) {
        (Answer::Status(status), _) => {
            return write!(
                stream,
                "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            );
        }
        (_, 0) => "200 OK".to_owned(),
        (_, offset) => format!(
            "206 Partial Content\r\nContent-Range: bytes {offset}-{}/{}",
            content.len() - 1,
            content.len()
        ),
    };
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n")?;
    if let Answer::Endless = answer {
        write!(stream, "\r\n")?;
        loop {
            stream.write_all(&[0; 4096])?;
        }
    }
    write!(stream, "Content-Length: {}\r\n\r\n", body.len())?;
    match answer {
        Answer::BreakAfter(count) => stream.write_all(&body[..count]),
        Answer::Corrupt => stream.write_all(&vec![0; body.len()]),
        _ => stream.write_all(body),
    }
}

fn content() -> Vec<u8> {
    (0..100_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn item(content: &[u8], servers: &[&Server]) -> Item {
    Item {
        name: "the file".into(),
        urls: servers.iter().map(|server| server.url.clone()).collect(),
        sha256: Digest::of(content),
        size: content.len() as u64,
    }
}

fn fetcher() -> Fetcher {
    Fetcher::new(false).with_retry(Retry {
        rounds: 3,
        pause: Duration::from_millis(1),
    })
}

fn cache() -> (tempfile::TempDir, Cache) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path()).unwrap();
    (folder, cache)
}

fn fetch(cache: &Cache, item: Item) -> Result<Vec<u8>, FetchError> {
    let paths = fetcher().fetch(cache, &[item], &())?;
    Ok(std::fs::read(&paths[0]).unwrap())
}

#[test]
fn a_download_that_breaks_off_is_resumed_where_it_stopped() {
    let content = content();
    let server = Server::start(&content, &[Answer::BreakAfter(1000), Answer::Whole]);
    let (_folder, cache) = cache();
    assert_eq!(fetch(&cache, item(&content, &[&server])).unwrap(), content);
    assert_eq!(server.ranges(), [None, Some("bytes=1000-".into())]);
}

#[test]
fn a_later_run_resumes_what_an_earlier_one_left() {
    let content = content();
    let server = Server::start(&content, &[Answer::BreakAfter(1000), Answer::Status(403)]);
    let (_folder, cache) = cache();
    assert!(fetch(&cache, item(&content, &[&server])).is_err());
    let server = Server::start(&content, &[Answer::Whole]);
    assert_eq!(fetch(&cache, item(&content, &[&server])).unwrap(), content);
    assert_eq!(server.ranges(), [Some("bytes=1000-".into())]);
}

#[test]
fn a_server_that_cannot_resume_is_read_from_the_start() {
    let content = content();
    let server = Server::start(&content, &[Answer::BreakAfter(1000), Answer::FromTheStart]);
    let (_folder, cache) = cache();
    assert_eq!(fetch(&cache, item(&content, &[&server])).unwrap(), content);
}

#[test]
fn a_wrong_hash_is_refused_and_the_next_server_is_asked() {
    let content = content();
    let liar = Server::start(&content, &[Answer::Corrupt]);
    let (_folder, cache) = cache();
    let error = fetch(&cache, item(&content, &[&liar])).unwrap_err();
    assert!(matches!(error, FetchError::WrongHash { .. }), "{error}");
    assert!(
        cache
            .find(&Digest::of(&content), content.len() as u64)
            .is_none()
    );

    let honest = Server::start(&content, &[Answer::Whole]);
    assert_eq!(
        fetch(&cache, item(&content, &[&liar, &honest])).unwrap(),
        content
    );
}

#[test]
fn resuming_on_top_of_wrong_bytes_begins_anew() {
    let content = content();
    let (_folder, cache) = cache();
    let rubbish = vec![0; content.len()];
    let liar = Server::start(&rubbish, &[Answer::BreakAfter(1000), Answer::Status(403)]);
    assert!(fetch(&cache, item(&content, &[&liar])).is_err());
    let honest = Server::start(&content, &[Answer::Whole]);
    assert_eq!(fetch(&cache, item(&content, &[&honest])).unwrap(), content);
    assert_eq!(honest.ranges(), [Some("bytes=1000-".into()), None]);
}

#[test]
fn an_endless_answer_is_cut_at_the_size() {
    let content = content();
    let server = Server::start(&content, &[Answer::Endless]);
    let (_folder, cache) = cache();
    let error = fetch(&cache, item(&content, &[&server])).unwrap_err();
    assert!(error.to_string().contains("more than"), "{error}");
    let error = fetcher()
        .get("small", std::slice::from_ref(&server.url), 5000)
        .unwrap_err();
    assert!(error.to_string().contains("longer than 5000"), "{error}");
}

#[test]
fn a_file_that_no_server_has_names_the_way_out() {
    let content = content();
    let server = Server::start(&content, &[Answer::Status(404)]);
    let (_folder, cache) = cache();
    let error = fetch(&cache, item(&content, &[&server])).unwrap_err();
    assert!(matches!(error, FetchError::Gone { .. }), "{error}");
    assert!(error.to_string().contains("rubus lock"), "{error}");
    assert_eq!(
        server.ranges().len(),
        1,
        "what is gone is not asked for again"
    );
}

#[test]
fn a_busy_server_is_asked_again() {
    let content = content();
    let server = Server::start(&content, &[Answer::Status(503), Answer::Whole]);
    let (_folder, cache) = cache();
    assert_eq!(fetch(&cache, item(&content, &[&server])).unwrap(), content);
}

#[test]
fn offline_uses_the_cache_and_says_what_is_missing() {
    let (_folder, cache) = cache();
    let offline = Fetcher::new(true);
    let wanted = item(b"hello", &[]);
    let error = offline
        .fetch(&cache, std::slice::from_ref(&wanted), &())
        .unwrap_err();
    assert!(matches!(error, FetchError::Offline { ref name } if name == "the file"));
    cache.store(b"hello").unwrap();
    offline.fetch(&cache, &[wanted], &()).unwrap();
}

#[test]
fn progress_adds_up_even_when_a_download_begins_anew() {
    #[derive(Default)]
    struct Sum(AtomicI64);
    impl Progress for Sum {
        fn advance(&self, bytes: i64) {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }
    }
    let content = content();
    let server = Server::start(&content, &[Answer::BreakAfter(1000), Answer::FromTheStart]);
    let (_folder, cache) = cache();
    let sum = Sum::default();
    fetcher()
        .fetch(&cache, &[item(&content, &[&server])], &sum)
        .unwrap();
    assert_eq!(sum.0.into_inner(), content.len() as i64);
}
