//! Downloads: in parallel, resumed, bounded, and checked before anyone reads them.

use std::{
    io::{self, Read},
    path::PathBuf,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use reqwest::{
    StatusCode,
    blocking::{Client, Response},
    header::{CONTENT_RANGE, RANGE},
};

use crate::{
    cache::{Cache, Claim, Partial},
    digest::Digest,
};

/// Hears how far a list of items is. Called from several threads.
pub trait Progress: Sync {
    /// So many items, of so many bytes together, are to be done.
    fn start(&self, _items: usize, _bytes: u64) {}
    /// An item begins.
    fn begin(&self, _name: &str) {}
    /// Bytes are done; fewer than none when a download has to begin anew.
    fn advance(&self, _bytes: i64) {}
    /// An item is done.
    fn done(&self, _name: &str) {}
}

/// Nobody listens.
impl Progress for () {}

/// A file to download.
#[derive(Clone, Debug)]
pub struct Item {
    /// What people call it.
    pub name: String,
    /// Where it may be, best first.
    pub urls: Vec<String>,
    /// Its hash.
    pub sha256: Digest,
    /// Its length; not a byte more is read.
    pub size: u64,
}

/// Why a file could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It is not in the cache, and the network is not to be used.
    #[error("{name} is not in the cache; build once without `--offline`")]
    Offline {
        /// What people call the file.
        name: String,
    },
    /// No server has it any more.
    #[error(
        "{name} is gone from every server asked ({urls}); configure a snapshot mirror, \
         or run `rubus lock` to take newer versions"
    )]
    Gone {
        /// What people call the file.
        name: String,
        /// Where it was looked for.
        urls: String,
    },
    /// A server has other bytes than those expected.
    #[error("{name} from {url} does not have the hash that it must have (SHA-256 {sha256})")]
    WrongHash {
        /// What people call the file.
        name: String,
        /// Where it came from.
        url: String,
        /// What was expected.
        sha256: Digest,
    },
    /// The network or a server failed.
    #[error("cannot download {name} from {url}: {reason}")]
    Failed {
        /// What people call the file.
        name: String,
        /// Where it was looked for last.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The cache cannot be used.
    #[error("cannot store {name}: {reason}")]
    Cache {
        /// What people call the file.
        name: String,
        /// What went wrong.
        reason: String,
    },
}

/// How a download is tried again.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// How often all of the addresses are tried.
    pub rounds: u32,
    /// The pause after the first round; it doubles from round to round.
    pub pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            rounds: 5,
            pause: Duration::from_millis(500),
        }
    }
}

/// Downloads files into the cache.
#[derive(Debug)]
pub struct Fetcher {
    client: OnceLock<Client>,
    offline: bool,
    parallel: usize,
    retry: Retry,
}

impl Fetcher {
    /// A fetcher that uses the network, or (`offline`) only the cache.
    pub fn new(offline: bool) -> Self {
        Self {
            client: OnceLock::new(),
            offline,
            parallel: 6,
            retry: Retry::default(),
        }
    }

    /// Changes how downloads are tried again.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Whether the network is not to be used.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// Makes sure that all items are in the cache, and returns where, in order.
    ///
    /// # Errors
    /// The first failure; downloads that are under way stop and can be resumed.
    pub fn fetch(
        &self,
        cache: &Cache,
        items: &[Item],
        progress: &dyn Progress,
    ) -> Result<Vec<PathBuf>, FetchError> {
        let missing: Vec<&Item> = items
            .iter()
            .filter(|item| cache.find(&item.sha256, item.size).is_none())
            .collect();
        if let Some(first) = missing.first() {
            if self.offline {
                return Err(FetchError::Offline {
                    name: first.name.clone(),
                });
            }
            progress.start(missing.len(), missing.iter().map(|item| item.size).sum());
            self.download_all(cache, &missing, progress)?;
        }
        Ok(items.iter().map(|item| cache.path(&item.sha256)).collect())
    }

    /// Reads a small file whose hash nobody knows beforehand; the first server
    /// that has it wins.
    ///
    /// # Errors
    /// When no server has it, or it is longer than the limit.
    pub fn get(&self, name: &str, urls: &[String], limit: u64) -> Result<Vec<u8>, FetchError> {
        if self.offline {
            return Err(FetchError::Offline {
                name: name.to_owned(),
            });
        }
        let read = |url: &str| {
            let response = self.request(url, 0)?;
            let mut bytes = Vec::new();
            response
                .take(limit + 1)
                .read_to_end(&mut bytes)
                .map_err(Trouble::passing)?;
            if bytes.len() as u64 > limit {
                return Err(Trouble::Server(format!("it is longer than {limit} bytes")));
            }
            Ok(bytes)
        };
        self.try_in_turn(name, urls, read)
    }

    fn download_all(
        &self,
        cache: &Cache,
        items: &[&Item],
        progress: &dyn Progress,
    ) -> Result<(), FetchError> {
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let failure = Mutex::new(None);
        thread::scope(|scope| {
            for _ in 0..self.parallel.min(items.len()) {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) else {
                            break;
                        };
                        progress.begin(&item.name);
                        if let Err(error) = self.download(cache, item, progress, &stop) {
                            stop.store(true, Ordering::Relaxed);
                            // The first failure is the cause; later ones may be
                            // no more than downloads that were told to stop.
                            if let Ok(mut failure) = failure.lock() {
                                failure.get_or_insert(error);
                            }
                            break;
                        }
                        progress.done(&item.name);
                    }
                });
            }
        });
        match failure.into_inner() {
            Ok(Some(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn download(
        &self,
        cache: &Cache,
        item: &Item,
        progress: &dyn Progress,
        stop: &AtomicBool,
    ) -> Result<(), FetchError> {
        let cannot_store = |error: anyhow::Error| FetchError::Cache {
            name: item.name.clone(),
            reason: format!("{error:#}"),
        };
        let mut partial = match cache.claim(item.sha256, item.size).map_err(cannot_store)? {
            Claim::Complete(_) => {
                progress.advance(item.size as i64);
                return Ok(());
            }
            Claim::Partial(partial) => Some(partial),
        };
        if let Some(partial) = &partial {
            progress.advance(partial.len() as i64);
        }
        self.try_in_turn(&item.name, &item.urls, |url| {
            let Some(mut mine) = partial.take() else {
                return Err(Trouble::Server("the download was given up".into()));
            };
            let resumed = !mine.is_empty();
            if let Err(trouble) = self.read_into(&mut mine, url, progress, stop) {
                partial = Some(mine);
                return Err(trouble);
            }
            match mine.finish().map_err(Trouble::local)? {
                Ok(_) => Ok(()),
                Err(emptied) => {
                    progress.advance(-(item.size as i64));
                    partial = Some(emptied);
                    // What was there before may be to blame, not this server.
                    Err(if resumed {
                        Trouble::Passing("its hash is wrong".into())
                    } else {
                        Trouble::WrongHash(item.sha256)
                    })
                }
            }
        })
    }

    /// Reads what is missing of a download from one server.
    fn read_into(
        &self,
        partial: &mut Partial,
        url: &str,
        progress: &dyn Progress,
        stop: &AtomicBool,
    ) -> Result<(), Trouble> {
        if partial.is_full() {
            return Ok(());
        }
        let mut response = self.request(url, partial.len())?;
        if !continues_at(&response, partial.len()) {
            progress.advance(-(partial.len() as i64));
            partial.restart().map_err(Trouble::local)?;
        }
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(Trouble::Server("the download was stopped".into()));
            }
            let count = response.read(&mut buffer).map_err(Trouble::passing)?;
            if count == 0 {
                break;
            }
            match partial.append(&buffer[..count]) {
                Ok(()) => progress.advance(count as i64),
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    return Err(Trouble::Server(error.to_string()));
                }
                Err(error) => return Err(Trouble::local(error)),
            }
        }
        if partial.is_full() {
            Ok(())
        } else {
            Err(Trouble::Passing("the connection broke off".into()))
        }
    }

    /// Asks for a file from an offset on.
    fn request(&self, url: &str, offset: u64) -> Result<Response, Trouble> {
        let mut request = self.client().map_err(Trouble::local)?.get(url);
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
        }
        let response = request.send().map_err(|error| {
            let reason = chain(&error.without_url());
            Trouble::Passing(reason)
        })?;
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::FORBIDDEN => Err(Trouble::Gone),
            status
                if status.is_server_error()
                    || status == StatusCode::TOO_MANY_REQUESTS
                    || status == StatusCode::REQUEST_TIMEOUT =>
            {
                Err(Trouble::Passing(format!("the server says {status}")))
            }
            status => Err(Trouble::Server(format!("the server says {status}"))),
        }
    }

    /// Tries the addresses in turn, round after round, until one works or none
    /// is left that might.
    fn try_in_turn<T>(
        &self,
        name: &str,
        urls: &[String],
        mut attempt: impl FnMut(&str) -> Result<T, Trouble>,
    ) -> Result<T, FetchError> {
        let mut left: Vec<&String> = urls.iter().collect();
        let mut last = None;
        let mut pause = self.retry.pause;
        for round in 0..self.retry.rounds {
            if round > 0 {
                thread::sleep(pause);
                pause *= 2;
            }
            let mut hopeful = Vec::new();
            for url in left {
                match attempt(url) {
                    Ok(value) => return Ok(value),
                    Err(Trouble::Local(reason)) => {
                        return Err(FetchError::Cache {
                            name: name.to_owned(),
                            reason,
                        });
                    }
                    // It counts only where nothing better is known.
                    Err(Trouble::Gone) => {}
                    Err(trouble) => {
                        if matches!(trouble, Trouble::Passing(_)) {
                            hopeful.push(url);
                        }
                        last = Some((url.clone(), trouble));
                    }
                }
            }
            left = hopeful;
            if left.is_empty() {
                break;
            }
        }
        let name = name.to_owned();
        Err(match last {
            None => FetchError::Gone {
                name,
                urls: urls.join(", "),
            },
            Some((url, Trouble::WrongHash(sha256))) => FetchError::WrongHash { name, url, sha256 },
            Some((url, trouble)) => FetchError::Failed {
                name,
                url,
                reason: trouble.reason(),
            },
        })
    }

    fn client(&self) -> Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = build_client()?;
        Ok(self.client.get_or_init(|| client))
    }
}

/// Why one attempt failed.
enum Trouble {
    /// It may work a moment later.
    Passing(String),
    /// The server does not have the file.
    Gone,
    /// This server will not do.
    Server(String),
    /// The server has other bytes.
    WrongHash(Digest),
    /// No server can help.
    Local(String),
}

impl Trouble {
    fn passing(error: io::Error) -> Self {
        Self::Passing(chain(&error))
    }

    fn local(error: impl Into<anyhow::Error>) -> Self {
        Self::Local(format!("{:#}", error.into()))
    }

    fn reason(self) -> String {
        match self {
            Self::Passing(reason) | Self::Server(reason) | Self::Local(reason) => reason,
            Self::Gone => "it is not there".into(),
            Self::WrongHash(_) => "its hash is wrong".into(),
        }
    }
}

/// Whether a response goes on from an offset; if not, it begins at 0.
fn continues_at(response: &Response, offset: u64) -> bool {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return offset == 0;
    }
    response
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|range| range.starts_with(&format!("bytes {offset}-")))
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn build_client() -> Result<Client> {
    install_tls_provider();
    let builder = || {
        Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(READ_TIMEOUT)
    };
    match builder().build() {
        Ok(client) => Ok(client),
        // A host without certificates of its own; plain http must still work.
        Err(_) => {
            let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS
                .iter()
                .map(|der| reqwest::Certificate::from_der(der))
                .collect::<Result<Vec<_>, _>>()?;
            builder()
                .tls_certs_only(roots)
                .build()
                .context("cannot set up HTTP")
        }
    }
}

/// How the builder names itself to servers.
pub(crate) const USER_AGENT: &str = concat!("rubus/", env!("CARGO_PKG_VERSION"));
/// How long a server may take to accept a connection.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a server may be silent.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Chooses `ring` for TLS: unlike rustls's default it needs only a C compiler.
pub(crate) fn install_tls_provider() {
    // An error says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
