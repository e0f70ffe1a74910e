//! What the environment tells the watchdog.

use std::time::Duration;

use crate::{contract, duration};

/// How a function is run. The other modes of OpenFaaS's watchdogs get a variant
/// of their own here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One process a request; its output is the answer.
    Classic,
}

/// The settings of one watchdog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How the function is run.
    pub mode: Mode,
    /// The program and its arguments; never empty.
    pub process: Vec<String>,
    /// How long a request may take to arrive.
    pub read_timeout: Duration,
    /// How long an answer may take.
    pub write_timeout: Duration,
    /// After which the process is killed; zero for never.
    pub exec_timeout: Duration,
    /// How long a watchdog that was told to stop goes on serving, so that those
    /// who probe its health notice.
    pub healthcheck_interval: Duration,
    /// The port of the function.
    pub port: u16,
    /// The port of the metrics.
    pub metrics_port: u16,
    /// Whether output is logged.
    pub write_debug: bool,
    /// Whether request headers are logged.
    pub debug_headers: bool,
    /// Whether standard error is part of the answer.
    pub combine_output: bool,
    /// Whether the request is described in the environment of the process.
    pub cgi_headers: bool,
    /// Whether the process gets headers and body as JSON.
    pub marshal_request: bool,
    /// The type of every answer, where set.
    pub content_type: Option<String>,
    /// Whether the lock file is left out.
    pub suppress_lock: bool,
    /// Most requests at a time; zero for no bound.
    pub max_inflight: usize,
}

impl Config {
    /// Reads the settings through `get`, which looks a variable up.
    ///
    /// # Errors
    /// When there is no process to run, or the mode is unknown.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let text = |name| get(name).filter(|value| !value.is_empty());
        let period = |name, default| {
            text(name)
                .and_then(|value| duration::parse(&value))
                .unwrap_or(default)
        };
        let flag = |name, default| text(name).map_or(default, |value| value == "true");
        let port = |name, default| {
            text(name)
                .and_then(|value| value.parse().ok())
                .unwrap_or(default)
        };

        let mode = match text("mode").as_deref() {
            None | Some("classic") => Mode::Classic,
            Some(other) => {
                return Err(format!(
                    "mode \"{other}\" is not supported; leave \"mode\" unset for one process a request"
                ));
            }
        };
        let process: Vec<String> = text("fprocess")
            .map(|line| line.split(' ').map(str::to_owned).collect())
            .unwrap_or_default();
        if process.first().is_none_or(String::is_empty) {
            return Err("provide a valid process via the fprocess environment variable".to_owned());
        }
        let default = Duration::from_secs(30);
        let write_timeout = period("write_timeout", default);
        Ok(Self {
            mode,
            process,
            read_timeout: period("read_timeout", default),
            write_timeout,
            exec_timeout: period("exec_timeout", Duration::ZERO),
            healthcheck_interval: period("healthcheck_interval", write_timeout),
            port: port("port", contract::PORT),
            metrics_port: port("metrics_port", contract::METRICS_PORT),
            write_debug: flag("write_debug", false),
            debug_headers: flag("debug_headers", false),
            combine_output: flag("combine_output", true),
            cgi_headers: flag("cgi_headers", true),
            marshal_request: flag("marshal_request", false),
            content_type: text("content_type"),
            suppress_lock: flag("suppress_lock", false),
            max_inflight: text("max_inflight")
                .and_then(|value| value.parse().ok())
                .unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
        Config::read(|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let config = read(&[("fprocess", "cat")]).unwrap();
        let thirty = Duration::from_secs(30);
        assert_eq!(
            config,
            Config {
                mode: Mode::Classic,
                process: vec!["cat".to_owned()],
                read_timeout: thirty,
                write_timeout: thirty,
                exec_timeout: Duration::ZERO,
                healthcheck_interval: thirty,
                port: 8080,
                metrics_port: 8081,
                write_debug: false,
                debug_headers: false,
                combine_output: true,
                cgi_headers: true,
                marshal_request: false,
                content_type: None,
                suppress_lock: false,
                max_inflight: 0,
            }
        );
    }

    #[test]
    fn the_process_is_split_on_single_spaces_without_quoting() {
        let config = read(&[("fprocess", "sh -c 'a  b'")]).unwrap();
        assert_eq!(config.process, ["sh", "-c", "'a", "", "b'"]);
    }

    #[test]
    fn without_a_process_there_is_nothing_to_run() {
        for variables in [&[][..], &[("fprocess", "")], &[("fprocess", " cat")]] {
            assert!(read(variables).unwrap_err().contains("fprocess"));
        }
    }

    #[test]
    fn the_health_interval_follows_the_write_timeout() {
        let config = read(&[("fprocess", "cat"), ("write_timeout", "5")]).unwrap();
        assert_eq!(config.healthcheck_interval, Duration::from_secs(5));
        let config = read(&[
            ("fprocess", "cat"),
            ("write_timeout", "5"),
            ("healthcheck_interval", "1s"),
        ])
        .unwrap();
        assert_eq!(config.healthcheck_interval, Duration::from_secs(1));
    }

    #[test]
    fn only_the_word_true_is_true_and_nonsense_is_the_default() {
        for word in ["1", "TRUE", "yes", "false"] {
            let config = read(&[("fprocess", "cat"), ("combine_output", word)]).unwrap();
            assert!(!config.combine_output, "{word}");
        }
        let config = read(&[
            ("fprocess", "cat"),
            ("combine_output", ""),
            ("read_timeout", "soon"),
            ("port", "99999"),
            ("max_inflight", "-1"),
        ])
        .unwrap();
        assert!(config.combine_output);
        assert_eq!(config.read_timeout, Duration::from_secs(30));
        assert_eq!((config.port, config.max_inflight), (8080, 0));
    }

    #[test]
    fn an_unknown_mode_is_refused_rather_than_misread() {
        let error = read(&[("fprocess", "cat"), ("mode", "http")]).unwrap_err();
        assert!(error.contains("\"http\""));
    }
}
