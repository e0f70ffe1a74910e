//! What the environment tells the watchdog.
//!
//! The classic mode keeps the rules of OpenFaaS's classic-watchdog, the other
//! modes those of its of-watchdog: they differ in defaults and in what counts as
//! true.

#[cfg(test)]
mod tests;
mod upstream;

use std::{path::PathBuf, time::Duration};

pub(crate) use self::upstream::Upstream;
use crate::{contract, duration};

/// The time that every limit has where nothing is said.
const LIMIT: Duration = Duration::from_secs(30);
/// Longest line of a process that is logged in one piece.
const LOG_LINE: usize = 64 << 10;

/// How a function is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One process a request; its output is the answer.
    Classic(Classic),
    /// One process that speaks HTTP itself.
    Http(Http),
    /// One process a request; its output is passed on as it comes.
    Streaming,
    /// One process a request; its output is the answer once it has ended.
    Serializing,
    /// Files of this folder, and no process.
    Static(PathBuf),
}

/// What only the classic mode knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Classic {
    /// Whether output is logged.
    pub(crate) write_debug: bool,
    /// Whether request headers are logged.
    pub(crate) debug_headers: bool,
    /// Whether standard error is part of the answer.
    pub(crate) combine_output: bool,
    /// Whether the request is described in the environment of the process.
    pub(crate) cgi_headers: bool,
    /// Whether the process gets headers and body as JSON.
    pub(crate) marshal_request: bool,
}

/// What only the http mode knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Http {
    /// Where the process listens.
    pub(crate) upstream: Upstream,
    /// Whether a request body is read whole before it is passed on, for
    /// processes that know no chunked bodies.
    pub(crate) buffer_body: bool,
    /// Whether the call id is part of the log line of a request.
    pub(crate) log_call_id: bool,
}

/// How lines that a process writes are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lines {
    /// Whether time and name of the stream stand before them.
    pub(crate) prefix: bool,
    /// Longest line in bytes; a longer one becomes several.
    pub(crate) longest: Option<usize>,
}

/// The settings of one watchdog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How the function is run.
    pub(crate) mode: Mode,
    /// The program and its arguments; empty in static mode only.
    pub(crate) process: Vec<String>,
    /// How long a request may take to arrive.
    pub(crate) read_timeout: Duration,
    /// How long an answer may take.
    pub(crate) write_timeout: Duration,
    /// How long the function may work on a request; zero for no bound.
    pub(crate) exec_timeout: Duration,
    /// How long a watchdog that was told to stop goes on serving, so that those
    /// who probe its health notice.
    pub(crate) healthcheck_interval: Duration,
    /// The port of the function.
    pub(crate) port: u16,
    /// The port of the metrics.
    pub(crate) metrics_port: u16,
    /// The type of every answer of a forking mode, where set.
    pub(crate) content_type: Option<String>,
    /// Whether the lock file is left out.
    pub(crate) suppress_lock: bool,
    /// Most requests at a time; zero for no bound.
    pub(crate) max_inflight: usize,
    /// The path of the function that tells whether it is ready.
    pub(crate) ready_path: Option<String>,
    /// How output of the process is logged that is not part of an answer.
    pub(crate) lines: Lines,
}

impl Config {
    /// Reads the settings through `get`, which looks a variable up.
    ///
    /// # Errors
    /// When there is no process to run, the mode is unknown, or it lacks
    /// something.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let variables = Variables { get };
        match variables.text("mode").as_deref() {
            None | Some("classic") => variables.classic(),
            Some("http") => {
                let http = variables.http()?;
                variables.of("http", Mode::Http(http))
            }
            Some("streaming") => variables.of("streaming", Mode::Streaming),
            Some("serializing") => variables.of("serializing", Mode::Serializing),
            Some("static") => {
                let folder = variables.text("static_path");
                let folder = folder.unwrap_or_else(|| "/home/app/public".to_owned());
                variables.of("static", Mode::Static(folder.into()))
            }
            Some(other) => Err(format!(
                "mode \"{other}\" is not supported; set \"mode\" to classic, http, streaming, serializing or static"
            )),
        }
    }

    /// How long a whole exchange may take, if it is bounded: what comes first of
    /// the time that the function has and the one that the answer has.
    pub(crate) fn exchange_limit(&self, exec_timeout: Duration) -> Option<Duration> {
        [exec_timeout, self.write_timeout]
            .into_iter()
            .filter(|limit| !limit.is_zero())
            .min()
    }

    /// Whether requests and drains are logged as of-watchdog does.
    pub(crate) fn is_classic(&self) -> bool {
        matches!(self.mode, Mode::Classic(_))
    }
}

/// The environment.
struct Variables<G> {
    get: G,
}

impl<G: Fn(&str) -> Option<String>> Variables<G> {
    /// A variable; an empty one counts as absent.
    fn text(&self, name: &str) -> Option<String> {
        (self.get)(name).filter(|value| !value.is_empty())
    }

    /// A number; nonsense counts as absent.
    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    fn period(&self, name: &str, default: Duration) -> Duration {
        self.text(name)
            .and_then(|value| duration::parse(&value))
            .unwrap_or(default)
    }

    /// A flag of classic-watchdog: nothing but `true` is true.
    fn flag(&self, name: &str, default: bool) -> bool {
        self.text(name).map_or(default, |value| value == "true")
    }

    /// A flag of of-watchdog.
    fn switch(&self, name: &str) -> bool {
        matches!(self.text(name).as_deref(), Some("true" | "1"))
    }

    fn process(&self) -> Vec<String> {
        let line = self
            .text("function_process")
            .or_else(|| self.text("fprocess"));
        line.map(|line| line.split(' ').map(str::to_owned).collect())
            .filter(|words: &Vec<String>| !words[0].is_empty())
            .unwrap_or_default()
    }

    fn classic(&self) -> Result<Config, String> {
        let mode = Mode::Classic(Classic {
            write_debug: self.flag("write_debug", false),
            debug_headers: self.flag("debug_headers", false),
            combine_output: self.flag("combine_output", true),
            cgi_headers: self.flag("cgi_headers", true),
            marshal_request: self.flag("marshal_request", false),
        });
        let config = Config {
            exec_timeout: self.period("exec_timeout", Duration::ZERO),
            content_type: self.text("content_type"),
            suppress_lock: self.flag("suppress_lock", false),
            ..self.common(mode)
        };
        if config.process.is_empty() {
            return Err("provide a valid process via the fprocess environment variable".to_owned());
        }
        Ok(config)
    }

    /// The settings of a mode of of-watchdog.
    fn of(&self, name: &str, mode: Mode) -> Result<Config, String> {
        let content_type = self.text("content_type");
        let longest = match self.text("log_buffer_size") {
            None => Some(LOG_LINE),
            Some(text) => match text.parse::<i64>() {
                Ok(-1) => None,
                Ok(bytes) if bytes > 0 => usize::try_from(bytes).ok(),
                _ => {
                    return Err(format!(
                        "invalid log_buffer_size value: \"{text}\"; set it to a number of bytes, or to -1 for lines of any length"
                    ));
                }
            },
        };
        let config = Config {
            content_type: content_type.or_else(|| Some("application/octet-stream".to_owned())),
            exec_timeout: self.period("exec_timeout", LIMIT),
            suppress_lock: self.switch("suppress_lock"),
            lines: Lines {
                prefix: self
                    .text("prefix_logs")
                    .and_then(|value| go_bool(&value))
                    .unwrap_or(true),
                longest,
            },
            ..self.common(mode)
        };
        if config.write_timeout.is_zero() {
            return Err(format!(
                "HTTP write timeout must be over 0s in mode \"{name}\"; set \"write_timeout\" to the longest time that an answer may take"
            ));
        }
        if config.process.is_empty() && !matches!(config.mode, Mode::Static(_)) {
            return Err("provide a \"function_process\" or \"fprocess\" environmental variable for your function".to_owned());
        }
        Ok(config)
    }

    fn http(&self) -> Result<Http, String> {
        let wanted = "For \"mode=http\" you must specify a valid URL for \"http_upstream_url\"";
        let url = self
            .text("http_upstream_url")
            .or_else(|| self.text("upstream_url"))
            .ok_or_else(|| format!("{wanted}, such as http://127.0.0.1:3000"))?;
        Ok(Http {
            upstream: Upstream::parse(&url).map_err(|error| format!("{wanted}, error: {error}"))?,
            buffer_body: self.switch("buffer_http") || self.switch("http_buffer_req_body"),
            log_call_id: self.switch("log_callid"),
        })
    }

    /// What has one meaning in all modes.
    fn common(&self, mode: Mode) -> Config {
        let write_timeout = self.period("write_timeout", LIMIT);
        Config {
            mode,
            process: self.process(),
            read_timeout: self.period("read_timeout", LIMIT),
            write_timeout,
            exec_timeout: LIMIT,
            healthcheck_interval: self.period("healthcheck_interval", write_timeout),
            port: self.number("port").unwrap_or(contract::PORT),
            metrics_port: self
                .number("metrics_port")
                .unwrap_or(contract::METRICS_PORT),
            content_type: None,
            suppress_lock: false,
            max_inflight: self.number("max_inflight").unwrap_or(0),
            ready_path: self.text("ready_path").map(|path| {
                if path.starts_with('/') {
                    path
                } else {
                    format!("/{path}")
                }
            }),
            lines: Lines {
                prefix: true,
                longest: Some(LOG_LINE),
            },
        }
    }
}

/// Reads a flag as Go's `strconv.ParseBool` does.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
