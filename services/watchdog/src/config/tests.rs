use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
    Config::read(|name| {
        variables
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    })
}

/// The settings of a mode of of-watchdog, with these variables besides.
fn of(mode: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let given = [
        ("mode", mode),
        ("fprocess", "node index.js"),
        ("upstream_url", "http://127.0.0.1:3000"),
    ];
    read(&[variables, &given].concat())
}

fn classic(config: Config) -> Classic {
    let Mode::Classic(classic) = config.mode else {
        panic!("{:?} is not classic", config.mode);
    };
    classic
}

fn http(config: Config) -> Http {
    let Mode::Http(http) = config.mode else {
        panic!("{:?} is not http", config.mode);
    };
    http
}

const THIRTY: Duration = Duration::from_secs(30);

#[test]
fn the_defaults_are_those_of_classic_watchdog() {
    let config = read(&[("fprocess", "cat")]).unwrap();
    assert_eq!(
        config,
        Config {
            mode: Mode::Classic(Classic {
                write_debug: false,
                debug_headers: false,
                combine_output: true,
                cgi_headers: true,
                marshal_request: false,
            }),
            process: vec!["cat".to_owned()],
            read_timeout: THIRTY,
            write_timeout: THIRTY,
            exec_timeout: Duration::ZERO,
            healthcheck_interval: THIRTY,
            port: 8080,
            metrics_port: 8081,
            content_type: None,
            suppress_lock: false,
            max_inflight: 0,
            ready_path: None,
            lines: Lines {
                prefix: true,
                longest: Some(65536),
            },
        }
    );
    assert_eq!(
        read(&[("fprocess", "cat"), ("mode", "classic")]).unwrap(),
        config
    );
}

#[test]
fn the_defaults_of_the_other_modes_are_those_of_of_watchdog() {
    let config = of("streaming", &[]).unwrap();
    assert_eq!(config.mode, Mode::Streaming);
    assert_eq!(
        (config.read_timeout, config.write_timeout),
        (THIRTY, THIRTY)
    );
    assert_eq!(
        (config.exec_timeout, config.healthcheck_interval),
        (THIRTY, THIRTY)
    );
    assert_eq!(
        config.content_type.as_deref(),
        Some("application/octet-stream")
    );
    assert_eq!(of("serializing", &[]).unwrap().mode, Mode::Serializing);
    let http = http(of("http", &[]).unwrap());
    assert!(!http.buffer_body && !http.log_call_id);
    assert_eq!(
        read(&[("mode", "static")]).unwrap().mode,
        Mode::Static("/home/app/public".into())
    );
    assert_eq!(
        read(&[("mode", "static"), ("static_path", "/srv")])
            .unwrap()
            .mode,
        Mode::Static("/srv".into())
    );
}

#[test]
fn the_process_is_split_on_single_spaces_without_quoting() {
    let config = read(&[("fprocess", "sh -c 'a  b'")]).unwrap();
    assert_eq!(config.process, ["sh", "-c", "'a", "", "b'"]);
}

#[test]
fn the_later_spelling_of_a_variable_wins() {
    let both = [
        ("function_process", "new"),
        ("http_upstream_url", "http://127.0.0.1:4000"),
    ];
    let config = of("http", &both).unwrap();
    assert_eq!(config.process, ["new"]);
    assert_eq!(http(config).upstream.port, 4000);
    let config = of("http", &[]).unwrap();
    assert_eq!(config.process, ["node", "index.js"]);
    assert_eq!(http(config).upstream.port, 3000);
    assert_eq!(
        read(&[("function_process", "cat")]).unwrap().process,
        ["cat"]
    );
}

#[test]
fn without_a_process_there_is_nothing_to_run() {
    for variables in [&[][..], &[("fprocess", "")], &[("fprocess", " cat")]] {
        assert!(read(variables).unwrap_err().contains("fprocess"));
        for mode in ["streaming", "serializing"] {
            let variables = [variables, &[("mode", mode)]].concat();
            assert!(read(&variables).unwrap_err().contains("fprocess"), "{mode}");
        }
    }
}

#[test]
fn the_http_mode_needs_to_know_where_the_process_listens() {
    for url in ["", "3000", "https://127.0.0.1"] {
        let variables = [
            ("mode", "http"),
            ("fprocess", "node"),
            ("upstream_url", url),
        ];
        let error = read(&variables).unwrap_err();
        assert!(error.contains("\"http_upstream_url\""), "{error}");
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
fn only_the_word_true_is_true_for_the_classic_mode_and_nonsense_is_the_default() {
    for word in ["1", "TRUE", "yes", "false"] {
        let config = read(&[("fprocess", "cat"), ("combine_output", word)]).unwrap();
        assert!(!classic(config).combine_output, "{word}");
    }
    let config = read(&[
        ("fprocess", "cat"),
        ("combine_output", ""),
        ("read_timeout", "soon"),
        ("port", "99999"),
        ("max_inflight", "-1"),
    ])
    .unwrap();
    assert_eq!(config.read_timeout, THIRTY);
    assert_eq!((config.port, config.max_inflight), (8080, 0));
    assert!(classic(config).combine_output);
}

#[test]
fn one_is_true_as_well_for_the_other_modes() {
    for (word, expected) in [("true", true), ("1", true), ("TRUE", false), ("0", false)] {
        let config = of(
            "http",
            &[
                ("suppress_lock", word),
                ("log_callid", word),
                ("buffer_http", word),
            ],
        )
        .unwrap();
        assert_eq!(config.suppress_lock, expected, "{word}");
        let http = http(config);
        assert_eq!((http.log_call_id, http.buffer_body), (expected, expected));
    }
    assert!(http(of("http", &[("http_buffer_req_body", "true")]).unwrap()).buffer_body);
}

#[test]
fn the_prefix_of_lines_is_a_flag_of_gos_own() {
    for (word, expected) in [
        ("0", false),
        ("F", false),
        ("false", false),
        ("T", true),
        ("no", true),
    ] {
        let config = of("http", &[("prefix_logs", word)]).unwrap();
        assert_eq!(config.lines.prefix, expected, "{word}");
    }
}

#[test]
fn the_length_of_lines_is_a_number_or_has_no_bound() {
    let longest = |text| of("http", &[("log_buffer_size", text)]).map(|it| it.lines.longest);
    assert_eq!(longest("1024"), Ok(Some(1024)));
    assert_eq!(longest("-1"), Ok(None));
    for text in ["0", "-2", "many"] {
        assert!(longest(text).unwrap_err().contains("log_buffer_size"));
    }
}

#[test]
fn an_answer_needs_some_time_in_the_modes_of_of_watchdog() {
    let error = of("http", &[("write_timeout", "0")]).unwrap_err();
    assert!(error.contains("write timeout must be over 0s"), "{error}");
}

#[test]
fn an_exchange_ends_with_the_shorter_of_its_limits() {
    let config = of("http", &[("write_timeout", "10s"), ("exec_timeout", "0")]).unwrap();
    let second = Duration::from_secs(1);
    assert_eq!(config.exec_timeout, Duration::ZERO);
    assert_eq!(config.exchange_limit(Duration::ZERO), Some(10 * second));
    assert_eq!(config.exchange_limit(second), Some(second));
    assert_eq!(config.exchange_limit(60 * second), Some(10 * second));
    let config = read(&[("fprocess", "cat"), ("write_timeout", "0")]).unwrap();
    assert_eq!(config.exchange_limit(Duration::ZERO), None);
}

#[test]
fn a_path_of_readiness_begins_with_a_slash() {
    for path in ["/ready", "ready"] {
        let config = of("http", &[("ready_path", path)]).unwrap();
        assert_eq!(config.ready_path.as_deref(), Some("/ready"));
    }
}

#[test]
fn an_unknown_mode_is_refused_rather_than_misread() {
    for mode in ["inproc", "afterburn", "HTTP"] {
        let error = of(mode, &[]).unwrap_err();
        assert!(error.contains(&format!("\"{mode}\"")), "{error}");
    }
}
