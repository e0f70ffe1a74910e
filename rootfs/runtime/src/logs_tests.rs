use std::io::Write;

use super::*;

struct Fixture {
    folder: tempfile::TempDir,
    log: Log,
    scratch: Scratch,
    out: File,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), "a").unwrap();
    let out = writer(folder.path(), "a", "stdout").unwrap();
    Fixture {
        log,
        scratch: Scratch::new().unwrap(),
        out,
        folder,
    }
}

impl Fixture {
    fn drain(&mut self, now: Micros) -> bool {
        self.log.drain(&mut self.scratch, 0, false, now).unwrap()
    }

    fn texts(&self) -> Vec<String> {
        let mut text = Vec::new();
        let mut cursor = self.log.ring.start();
        let mut buffer = [0; 4096];
        loop {
            match self.log.ring.read(&mut cursor, &mut buffer).unwrap() {
                0 => break,
                count => text.extend(&buffer[..count]),
            }
        }
        String::from_utf8(text)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str::<LogLine>(line).unwrap().text)
            .collect()
    }
}

#[test]
fn whole_lines_reach_the_ring_with_time_and_stream() {
    let mut it = fixture();
    it.out.write_all(b"one\ntwo\n").unwrap();
    assert!(!it.drain(0));
    assert_eq!(it.texts(), ["one", "two"]);
    let text = fs::read_to_string(it.folder.path().join("a.log")).unwrap();
    let line: LogLine = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(line.stream, Stream::Stdout);
    assert!(humantime::parse_rfc3339(&line.time).is_ok());
}

#[test]
fn the_beginning_of_a_line_waits_and_is_flushed_when_its_end_is_overdue() {
    let mut it = fixture();
    it.out.write_all(b"login: ").unwrap();
    assert!(!it.drain(0));
    assert_eq!(it.log.deadline(), Some(PARTIAL_WAIT));
    assert!(it.texts().is_empty());
    it.out.write_all(b"root\npass").unwrap();
    it.drain(10);
    assert_eq!(it.texts(), ["login: root"]);
    assert_eq!(it.log.deadline(), Some(10 + PARTIAL_WAIT));
    it.drain(10 + PARTIAL_WAIT);
    assert_eq!(it.texts(), ["login: root", "pass"]);
    assert_eq!(it.log.deadline(), None);
}

#[test]
fn what_was_not_stored_is_still_there_for_the_next_runtime() {
    let mut it = fixture();
    it.out.write_all(b"stored\nhalf").unwrap();
    it.drain(0);
    // The runtime is gone; the service goes on to write.
    it.log = Log::open(it.folder.path(), "a").unwrap();
    it.out.write_all(b" and half\n").unwrap();
    it.drain(0);
    assert_eq!(it.texts(), ["stored", "half and half"]);
}

#[test]
fn a_flood_is_read_in_turns() {
    let mut it = fixture();
    rustix::pipe::fcntl_setpipe_size(&it.out, 1 << 20).unwrap();
    let line = [b"x".repeat(99), b"\n".to_vec()].concat();
    it.out.write_all(&line.repeat(4000)).unwrap();
    assert!(it.drain(0), "there is more than one turn");
    let mut turns = 1;
    while it.drain(0) {
        turns += 1;
    }
    assert!(turns >= 3, "{turns}");
}

#[test]
fn a_line_without_end_is_cut() {
    let mut it = fixture();
    it.out.write_all(&b"y".repeat(20_000)).unwrap();
    it.drain(0);
    it.log.drain_to_end(&mut it.scratch, 0).unwrap();
    let lengths: Vec<usize> = it.texts().iter().map(String::len).collect();
    assert_eq!(lengths, [8192, 8192, 3616]);
}

#[test]
fn bytes_that_are_not_text_do_no_harm() {
    let mut it = fixture();
    it.out.write_all(b"\xff\x00\"\\\x1b[31m\n").unwrap();
    it.drain(0);
    assert_eq!(it.texts(), ["\u{fffd}\0\"\\\u{1b}[31m"]);
}

#[test]
fn the_last_line_of_standard_error_is_remembered() {
    let mut it = fixture();
    let mut err = writer(it.folder.path(), "a", "stderr").unwrap();
    err.write_all(b"first\nno such file\n\n").unwrap();
    it.log.drain_to_end(&mut it.scratch, 0).unwrap();
    assert_eq!(it.log.last_error(), "no such file");
}

#[test]
fn what_the_runtime_says_follows_what_the_service_said() {
    let mut it = fixture();
    it.out.write_all(b"hungry\n").unwrap();
    it.drain(0);
    it.log.note("was killed").unwrap();
    assert_eq!(it.texts(), ["hungry", "system-runtime: was killed"]);
    assert_eq!(it.log.last_error(), "");
}

#[test]
fn a_log_that_cannot_be_written_does_not_hold_up_the_service() {
    let mut it = fixture();
    // The ring cannot turn without the file that it is to rename.
    fs::remove_file(it.folder.path().join("a.log")).unwrap();
    let line = [b"x".repeat(99), b"\n".to_vec()].concat();
    for _ in 0..10 {
        it.out.write_all(&line.repeat(300)).unwrap();
        while it.drain(0) {}
    }
    assert!(it.log.failure().is_some());
}
