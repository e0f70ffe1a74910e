//! A line of a log as a message of RFC 5424.

use rubus_service::status::{LogLine, Stream};

/// The facility of system daemons.
const DAEMON: u8 = 3;

/// The message: what says no time has the nil value for it.
pub(crate) fn of(host: &str, service: &str, line: &LogLine) -> Vec<u8> {
    let (severity, stream) = match line.stream {
        // Informational.
        Stream::Stdout => (6, "stdout"),
        // Programs write much to standard error that is no error: notice.
        Stream::Stderr => (5, "stderr"),
        // A service that ended: warning.
        Stream::Runtime => (4, "runtime"),
    };
    let priority = DAEMON * 8 + severity;
    let time = field(&line.time, 64);
    let host = field(host, 255);
    let service = field(service, 48);
    format!(
        "<{priority}>1 {time} {host} {service} - {stream} - {}",
        line.text
    )
    .into_bytes()
}

/// A field of the head: printable ASCII without spaces, or the nil value.
fn field(text: &str, longest: usize) -> String {
    let text: String = text
        .chars()
        .filter(char::is_ascii_graphic)
        .take(longest)
        .collect();
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(host: &str, stream: Stream, text: &str) -> String {
        let line = LogLine {
            time: "2026-11-21T12:00:00.123456Z".to_owned(),
            stream,
            text: text.to_owned(),
        };
        String::from_utf8(of(host, "ntp", &line)).unwrap()
    }

    #[test]
    fn a_line_is_a_message_of_rfc_5424() {
        assert_eq!(
            message("node1", Stream::Stdout, "hello ä"),
            "<30>1 2026-11-21T12:00:00.123456Z node1 ntp - stdout - hello ä"
        );
        assert!(message("node1", Stream::Stderr, "x").starts_with("<29>1 "));
        assert!(message("node1", Stream::Runtime, "x").starts_with("<28>1 "));
    }

    #[test]
    fn a_head_cannot_be_forged_and_is_never_without_a_field() {
        let text = message("a b\n<0>", Stream::Stdout, "x");
        assert!(text.contains("Z ab<0> ntp - "), "{text}");
        assert!(message("", Stream::Stdout, "x").contains("Z - ntp - "));
    }
}
