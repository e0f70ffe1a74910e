//! Why a service failed, out of what it wrote last.

use rubus_service::status::{LogLine, Stream};

/// So many lines of a log are looked at.
pub(crate) const LINES: usize = 60;
/// So many of them are told.
const MOST_TOLD: usize = 2;
/// As much of a line is told.
const LONGEST: usize = 300;

/// The last complaints in a log, one JSON object a line: what was written to
/// standard error at or after a time, and does not say of itself that it is of
/// no consequence.
pub(crate) fn complaints(log: &[u8], since: &str) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for line in log.split(|&byte| byte == b'\n').rev() {
        let Ok(line) = serde_json::from_slice::<LogLine>(line) else {
            continue;
        };
        if *line.time < *since {
            break;
        }
        let text = line.text.trim();
        if line.stream != Stream::Stderr || text.is_empty() || is_chatter(text) {
            continue;
        }
        let text: String = text.chars().take(LONGEST).collect();
        if !told.contains(&text) {
            told.push(text);
        }
        if told.len() == MOST_TOLD {
            break;
        }
    }
    told.reverse();
    told
}

/// Whether a line says of itself that nothing is wrong, in the words of Go's
/// loggers.
fn is_chatter(line: &str) -> bool {
    ["level=debug", "level=info", "level=warning", "level=warn "]
        .iter()
        .any(|it| line.contains(it))
}

/// What is wrong with a service, as one sentence: what its life says and what
/// it complained of last.
pub(crate) fn sentence(reason: &str, complaints: &[String]) -> String {
    let (what, _) = reason
        .split_once("; starts again after")
        .unwrap_or((reason, ""));
    let said = complaints.join("; ");
    match (what, said.as_str()) {
        ("", "") => "it ended, and did not say why".to_owned(),
        ("", said) => said.to_owned(),
        (what, "") => what.to_owned(),
        (what, said) => format!("{what}: {said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log with a line a minute.
    fn log(lines: &[(Stream, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (minute, (stream, text)) in lines.iter().enumerate() {
            let line = LogLine {
                time: format!("2026-11-21T10:{minute:02}:00.000000Z"),
                stream: *stream,
                text: (*text).to_owned(),
            };
            bytes.extend(serde_json::to_vec(&line).unwrap());
            bytes.push(b'\n');
        }
        bytes
    }

    #[test]
    fn the_last_complaints_are_told_and_no_chatter() {
        let text = log(&[
            (Stream::Stderr, "what another variant said"),
            (Stream::Stderr, "old news"),
            (Stream::Stderr, "failed to start daemon: no such driver"),
            (
                Stream::Stderr,
                "time=\"x\" level=info msg=\"containerd successfully booted\"",
            ),
            (Stream::Stdout, "hello"),
            (Stream::Stderr, "dockerd ended (exit status: 1)"),
            (Stream::Stderr, "dockerd ended (exit status: 1)"),
            (Stream::Runtime, "system-runtime: ended with status 1"),
        ]);
        let since = "2026-11-21T10:01:00.000000Z";
        assert_eq!(
            complaints(&text, since),
            [
                "failed to start daemon: no such driver",
                "dockerd ended (exit status: 1)"
            ]
        );
        assert_eq!(complaints(&text[..200], since), ["old news"]);
        assert_eq!(complaints(&text, "2026-11-21T11:00:00.000000Z"), [""; 0]);
        assert_eq!(complaints(b"{\"half", ""), [""; 0]);
    }

    #[test]
    fn a_sentence_has_what_is_known() {
        let said = ["no room".to_owned()];
        assert_eq!(
            sentence("ended with status 1; starts again after 2 s", &said),
            "ended with status 1: no room"
        );
        assert_eq!(sentence("", &said), "no room");
        assert_eq!(sentence("ended with status 1", &[]), "ended with status 1");
        assert_eq!(sentence("", &[]), "it ended, and did not say why");
    }
}
