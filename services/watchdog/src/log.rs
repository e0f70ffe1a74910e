//! Log lines in the format of Go's standard logger, on standard error.

use std::{
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

/// Writes one line: time in UTC, then the message. A log that nobody reads any
/// more must not end the function, so a failure to write is passed over.
pub fn line(message: &str) {
    let line = format(SystemTime::now(), message);
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn format(time: SystemTime, message: &str) -> String {
    let time = time.max(UNIX_EPOCH);
    let stamp = humantime::format_rfc3339_seconds(time).to_string();
    let stamp = stamp
        .trim_end_matches('Z')
        .replace('-', "/")
        .replace('T', " ");
    format!("{stamp} {}\n", message.trim_end_matches('\n'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_line_looks_like_one_of_gos_logger() {
        let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(
            format(time, "Forking fprocess."),
            "2023/11/14 22:13:20 Forking fprocess.\n"
        );
    }
}
