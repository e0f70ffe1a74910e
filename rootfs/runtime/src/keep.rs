//! Logs that stay over boots (`logging.persist`): what is new in the rings is
//! appended to files on the data partition, now and then and before the machine
//! goes down. Cards wear out, so nothing is written twice and nothing is
//! waited for; a power cut costs what was not written yet.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rubus_config::files;
use serde::de::IgnoredAny;

use crate::{
    logs::{Log, own_line},
    machine::Micros,
    options::Options,
    report::report,
    ring::{CAPACITY, Position, Ring},
    supervisor::Supervisor,
};

/// How often.
const EVERY: Micros = 300_000_000;
/// Bytes of both files of a service.
const KEPT: u64 = 1 << 20;

/// Keeps the rings of all services.
pub(crate) struct Keeper {
    /// On the data partition.
    folder: PathBuf,
    /// In memory: up to where each ring was kept, for the next runtime.
    positions_file: PathBuf,
    positions: BTreeMap<String, Position>,
    /// When it is due; `None`: nothing is kept.
    next: Option<Micros>,
    /// Whether it went wrong, and that was told.
    failed: bool,
}

impl Keeper {
    /// Goes on where a former runtime was. Nothing is kept yet.
    pub(crate) fn new(options: &Options) -> Keeper {
        let positions_file = options.run.join("kept.json");
        let positions = fs::read(&positions_file)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        Keeper {
            folder: options.state.join("logs"),
            positions_file,
            positions: positions.unwrap_or_default(),
            next: None,
            failed: false,
        }
    }

    /// Puts what was kept before the logs of this boot.
    pub(crate) fn restore_all(&self, logs: &Path, supervisor: &Supervisor) {
        let boot = own_line("the node booted").unwrap_or_default();
        for (_, unit) in supervisor.units() {
            let name = &unit.service.name;
            if let Err(error) = self.restore(logs, name, &boot) {
                report(format_args!("cannot restore the log of {name}: {error}"));
            }
        }
    }

    /// Puts the end of what was kept of a service where its ring begins, unless
    /// there is a ring already. `boot` is a line to end it with.
    fn restore(&self, logs: &Path, name: &str, boot: &[u8]) -> io::Result<()> {
        let older = logs.join(format!("{name}.log.1"));
        if older.exists() || logs.join(format!("{name}.log")).exists() {
            return Ok(());
        }
        let [newer_kept, older_kept] = self.paths(name);
        let room = usize::try_from(CAPACITY / 2).unwrap_or(0) - boot.len();
        let mut all = read(&older_kept)?;
        all.extend(read(&newer_kept)?);
        let mut kept = last_whole_lines(&all, room);
        if kept.is_empty() {
            return Ok(());
        }
        kept.extend(boot);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(older)?
            .write_all(&kept)
    }

    /// Turns keeping on or off.
    pub(crate) fn switch(&mut self, on: bool, now: Micros) {
        match (on, self.next) {
            (true, None) => self.next = Some(now + EVERY),
            (true, Some(_)) => {}
            (false, _) => self.next = None,
        }
    }

    /// When something is to be kept.
    pub(crate) fn deadline(&self) -> Option<Micros> {
        self.next
    }

    /// Keeps what is new, when that is due.
    pub(crate) fn keep_when_due<'a>(
        &mut self,
        rings: impl Iterator<Item = (&'a str, &'a Ring)>,
        now: Micros,
    ) {
        if self.next.is_some_and(|next| now >= next) {
            self.keep(rings);
            self.next = Some(now + EVERY);
        }
    }

    /// Keeps what is new, unless nothing is to be kept at all.
    pub(crate) fn keep<'a>(&mut self, rings: impl Iterator<Item = (&'a str, &'a Ring)>) {
        if self.next.is_none() {
            return;
        }
        let mut outcome = Ok(());
        for (name, ring) in rings {
            let kept = self.keep_one(name, ring);
            outcome = outcome.and(kept);
        }
        match outcome.and_then(|()| self.save_positions()) {
            Ok(()) => self.failed = false,
            Err(error) if !self.failed => {
                self.failed = true;
                report(format_args!(
                    "cannot keep the logs in {}: {error}",
                    self.folder.display()
                ));
            }
            Err(_) => {}
        }
    }

    fn keep_one(&mut self, name: &str, ring: &Ring) -> io::Result<()> {
        let mut cursor = match self.positions.get(name) {
            Some(position) => ring.cursor(position)?,
            // What was restored is kept already.
            None => ring.start_of_newer(),
        };
        let mut buffer = vec![0; 16 << 10];
        let mut file = None;
        loop {
            let count = ring.read(&mut cursor, &mut buffer)?;
            if count == 0 {
                break;
            }
            let file = match &mut file {
                Some(file) => file,
                None => file.insert(self.open(name)?),
            };
            file.write_all(&buffer[..count])?;
        }
        let position = ring.position(&cursor)?;
        self.positions.insert(name.to_owned(), position);
        Ok(())
    }

    /// The file to append to. The older one goes when this is half of all.
    fn open(&self, name: &str) -> io::Result<File> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)?;
        let [newer, older] = self.paths(name);
        if fs::metadata(&newer).is_ok_and(|it| it.len() + CAPACITY > KEPT / 2) {
            fs::rename(&newer, older)?;
        }
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(newer)
    }

    fn save_positions(&self) -> io::Result<()> {
        let text = serde_json::to_vec(&self.positions)?;
        files::replace_lazily(&self.positions_file, &text, 0o600)
    }

    /// Deletes what was kept of a service that is no more.
    pub(crate) fn forget(&mut self, name: &str) {
        self.positions.remove(name);
        for path in self.paths(name) {
            // Mostly nothing was kept.
            let _ = fs::remove_file(path);
        }
    }

    fn paths(&self, name: &str) -> [PathBuf; 2] {
        ["log", "log.1"].map(|end| self.folder.join(format!("{name}.{end}")))
    }
}

/// The rings of all services, by name.
pub(crate) fn rings<'a>(
    supervisor: &'a Supervisor,
    logs: &'a [Option<Log>],
) -> impl Iterator<Item = (&'a str, &'a Ring)> {
    let log = |unit: usize| logs.get(unit)?.as_ref();
    let units = supervisor.units();
    units.filter_map(move |(index, unit)| Some((unit.service.name.as_str(), &log(index)?.ring)))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// The last lines that fit, without what a power cut left half written.
fn last_whole_lines(kept: &[u8], room: usize) -> Vec<u8> {
    // Two halves may have become one line.
    let is_whole =
        |line: &&[u8]| line.ends_with(b"\n") && serde_json::from_slice::<IgnoredAny>(line).is_ok();
    let lines: Vec<&[u8]> = kept
        .split_inclusive(|&byte| byte == b'\n')
        .filter(is_whole)
        .collect();
    let mut left = room;
    let fits = |line: &&&[u8]| {
        let fits = line.len() <= left;
        left = if fits { left - line.len() } else { 0 };
        fits
    };
    let count = lines.iter().rev().take_while(fits).count();
    lines[lines.len() - count..].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Vec<u8> {
        format!("{{\"time\":\"t\",\"text\":\"{text}\"}}\n").into_bytes()
    }

    fn options(folder: &Path) -> Options {
        let options = Options {
            run: folder.join("run"),
            state: folder.join("state"),
            ..Options::default()
        };
        fs::create_dir_all(options.logs()).unwrap();
        options
    }

    fn ring(options: &Options) -> Ring {
        Ring::open(&options.logs(), "a", CAPACITY).unwrap()
    }

    fn kept(options: &Options) -> String {
        fs::read_to_string(options.state.join("logs/a.log")).unwrap_or_default()
    }

    /// A boot begins with an empty memory.
    fn reboot(options: &Options) -> Ring {
        fs::remove_dir_all(&options.run).unwrap();
        fs::create_dir_all(options.logs()).unwrap();
        let keeper = Keeper::new(options);
        keeper.restore(&options.logs(), "a", &line("boot")).unwrap();
        ring(options)
    }

    fn text(ring: &Ring) -> String {
        String::from_utf8(ring.read_all(ring.start()).unwrap()).unwrap()
    }

    #[test]
    fn nothing_is_kept_unless_it_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        let mut ring = ring(&options);
        ring.append(&line("one")).unwrap();
        let mut keeper = Keeper::new(&options);
        keeper.keep([("a", &ring)].into_iter());
        assert_eq!(keeper.deadline(), None);
        assert!(!options.state.exists());
        keeper.switch(true, 5);
        keeper.keep_when_due([("a", &ring)].into_iter(), EVERY);
        assert!(!options.state.exists(), "not yet");
        keeper.keep_when_due([("a", &ring)].into_iter(), EVERY + 5);
        assert!(kept(&options).contains("one"));
        assert_eq!(keeper.deadline(), Some(2 * EVERY + 5));
        keeper.switch(false, 7);
        assert_eq!(keeper.deadline(), None);
    }

    #[test]
    fn lines_are_kept_once_also_by_the_next_runtime() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        let mut ring_of_first = ring(&options);
        for (number, text) in ["one", "two", "three"].into_iter().enumerate() {
            // Each time another runtime.
            let mut keeper = Keeper::new(&options);
            keeper.switch(true, 0);
            ring_of_first.append(&line(text)).unwrap();
            let ring = ring(&options);
            keeper.keep([("a", &ring)].into_iter());
            keeper.keep([("a", &ring)].into_iter());
            assert_eq!(kept(&options).lines().count(), number + 1);
        }
    }

    #[test]
    fn a_boot_finds_what_was_kept_and_keeps_it_no_second_time() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        let mut first = ring(&options);
        first.append(&line("one")).unwrap();
        let mut keeper = Keeper::new(&options);
        keeper.switch(true, 0);
        keeper.keep([("a", &first)].into_iter());

        let mut second = reboot(&options);
        assert!(text(&second).contains("one") && text(&second).contains("boot"));
        second.append(&line("two")).unwrap();
        let mut keeper = Keeper::new(&options);
        keeper.switch(true, 0);
        keeper.keep([("a", &second)].into_iter());
        assert_eq!(kept(&options).matches("one").count(), 1);
        assert_eq!(kept(&options).matches("two").count(), 1);

        // A runtime that starts anew leaves the ring as it is.
        let keeper = Keeper::new(&options);
        keeper.restore(&options.logs(), "a", b"").unwrap();
        assert!(text(&ring(&options)).contains("two"));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        let mut ring = ring(&options);
        let mut keeper = Keeper::new(&options);
        keeper.switch(true, 0);
        let long = "x".repeat(8000);
        for number in 0..400 {
            ring.append(&line(&format!("{number} {long}"))).unwrap();
            keeper.keep([("a", &ring)].into_iter());
        }
        let size: u64 = fs::read_dir(options.state.join("logs"))
            .unwrap()
            .map(|it| it.unwrap().metadata().unwrap().len())
            .sum();
        assert!(size <= KEPT, "{size}");
        let ring = reboot(&options);
        let text = text(&ring);
        assert!(text.contains("\"399 ") && text.len() as u64 <= CAPACITY / 2);
    }

    #[test]
    fn what_a_power_cut_left_half_written_is_left_out() {
        let whole = [line("one"), line("two")].concat();
        let cut = [&whole[..], b"{\"time\":\"t\",\"te"].concat();
        assert_eq!(last_whole_lines(&cut, 1000), whole);
        let then = [&cut[..], &line("three")].concat();
        assert_eq!(last_whole_lines(&then, 1000), whole);
        let nul = [&line("one")[..], &[0; 40], &line("two")].concat();
        assert_eq!(last_whole_lines(&nul, 1000), line("one"));
        assert_eq!(last_whole_lines(&whole, line("two").len()), line("two"));
        assert_eq!(last_whole_lines(&whole, 3), b"");
        assert_eq!(last_whole_lines(b"", 3), b"");
    }

    #[test]
    fn a_full_disk_is_told_once_and_nothing_is_lost_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        fs::write(&options.state, "in the way").unwrap();
        let mut ring = ring(&options);
        ring.append(&line("one")).unwrap();
        let mut keeper = Keeper::new(&options);
        keeper.switch(true, 0);
        keeper.keep([("a", &ring)].into_iter());
        assert!(keeper.failed);
        fs::remove_file(&options.state).unwrap();
        keeper.keep([("a", &ring)].into_iter());
        assert!(!keeper.failed && kept(&options).contains("one"));
    }
}
