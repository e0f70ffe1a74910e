//! A store on a disk that loses power at every moment.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::{fs, io};

use super::{Disk, Folder, Store};

const NAME: &str = "config.toml";
const OLDER: &str = "hostname = \"older\"\n";
const OLD: &str = "hostname = \"old\"\n";
const NEW: &str = "hostname = \"new\"\nssh.port = 23\n";

/// A change of the names in a folder.
#[derive(Clone, Debug)]
enum Change {
    Link(String, usize),
    Rename(String, String),
    Remove(String),
}

/// A folder in memory that knows what would be left after a power cut.
#[derive(Clone, Debug, Default)]
struct Fake {
    /// Contents, and whether each is on the card.
    files: Vec<(Vec<u8>, bool)>,
    names: BTreeMap<String, usize>,
    names_on_card: BTreeMap<String, usize>,
    /// Changes of names that may not be on the card yet.
    pending: Vec<Change>,
    /// How many more steps there is power for.
    power: Option<usize>,
}

impl Fake {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.power {
            Some(0) => Err(io::Error::other("no power")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.pending.push(change);
    }

    /// What may be found after a power cut: the journal keeps the order of
    /// changes of names, so a beginning of them is there; of a file that was
    /// not synced, any part may be there, or nothing but its length.
    fn after_power_cut(&self) -> Vec<Fake> {
        let mut found = Vec::new();
        for kept in 0..=self.pending.len() {
            let mut names = self.names_on_card.clone();
            for change in &self.pending[..kept] {
                apply(&mut names, change);
            }
            let longest = self.files.iter().map(|(content, _)| content.len()).max();
            for length in 0..=longest.unwrap_or_default() {
                for zeroed in [false, true] {
                    let cut = |(content, synced): &(Vec<u8>, bool)| {
                        let mut content = content.clone();
                        if !synced && zeroed {
                            content.iter_mut().skip(length).for_each(|byte| *byte = 0);
                        } else if !synced {
                            content.truncate(length);
                        }
                        (content, true)
                    };
                    found.push(Fake {
                        files: self.files.iter().map(cut).collect(),
                        names: names.clone(),
                        names_on_card: names.clone(),
                        ..Fake::default()
                    });
                }
            }
        }
        found
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Link(name, file) => {
            names.insert(name.clone(), *file);
        }
        Change::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Change::Remove(name) => {
            names.remove(name);
        }
    }
}

impl Disk for Fake {
    fn path(&self, name: &str) -> String {
        name.to_owned()
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.names.get(name).map(|&file| self.files[file].0.clone()))
    }

    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.step()?;
        assert!(!self.names.contains_key(name), "{name} is there");
        self.files.push((content.to_vec(), false));
        self.change(Change::Link(name.to_owned(), self.files.len() - 1));
        Ok(())
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.step()?;
        self.files[self.names[name]].1 = true;
        Ok(())
    }

    fn link(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.step()?;
        assert!(!self.names.contains_key(to), "{to} is there");
        self.change(Change::Link(to.to_owned(), self.names[from]));
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.step()?;
        self.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.step()?;
        self.change(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.step()?;
        self.names_on_card = self.names.clone();
        self.pending.clear();
        Ok(())
    }
}

fn written(texts: &[&str]) -> Store<Fake> {
    let mut store = Store::new(Fake::default(), NAME);
    for text in texts {
        store.write(text).unwrap();
    }
    store
}

fn read(disk: Fake) -> super::Stored {
    Store::new(disk, NAME).read().unwrap()
}

#[test]
fn what_was_written_is_read() {
    assert_eq!(read(Fake::default()).text, "");
    for text in [NEW, "", "no = \"newline\""] {
        let stored = written(&[OLD, text]).read().unwrap();
        assert_eq!(stored.text.trim_end(), text.trim_end());
        assert_eq!((stored.file.as_str(), stored.damage), (NAME, None));
    }
}

#[test]
fn after_a_power_cut_at_any_step_the_old_or_the_new_value_is_there() {
    for before in [&[][..], &[OLD], &[OLDER, OLD]] {
        let old = before.last().copied().unwrap_or_default();
        for power in 0.. {
            let mut store = written(before);
            store.disk.power = Some(power);
            let done = store.write(NEW).is_ok();
            let mut outcomes = 0;
            for disk in store.disk.after_power_cut() {
                let stored = read(disk.clone());
                assert!(
                    stored.text == NEW || !done && stored.text == old,
                    "after {power} steps: {stored:?}"
                );
                assert_eq!(stored.damage, None, "after {power} steps");
                // And the next change goes through.
                let mut next = Store::new(disk, NAME);
                next.write(OLDER).unwrap();
                assert_eq!(next.read().unwrap().text, OLDER);
                outcomes += 1;
            }
            assert!(outcomes > 0);
            if done {
                break;
            }
        }
    }
}

#[test]
fn a_step_that_fails_leaves_the_old_value_for_who_reads_now() {
    for power in 0..20 {
        let mut store = written(&[OLD]);
        store.disk.power = Some(power);
        let done = store.write(NEW).is_ok();
        store.disk.power = None;
        let text = store.read().unwrap().text;
        assert!(text == NEW || !done && text == OLD, "{power}: {text}");
    }
}

#[test]
fn a_damaged_version_falls_back_to_the_one_before_it_and_says_so() {
    for (damage, words) in [
        (&b"hostname = \"n"[..], "is cut off"),
        (b"", "is cut off"),
        (b"\0\0\0\0\0\0", "is no text"),
        (b"\xFF\xFE# end\n", "is no text"),
        (b"hostname = \"x\" # end\n", "is cut off"),
    ] {
        let mut store = written(&[OLD, NEW]);
        let file = store.disk.names[NAME];
        store.disk.files[file].0 = damage.to_vec();
        let stored = store.read().unwrap();
        assert_eq!(
            (stored.text.as_str(), stored.file.as_str()),
            (OLD, "config.toml.previous")
        );
        let said = stored.damage.unwrap();
        assert!(
            said.contains(words) && said.ends_with("using config.toml.previous"),
            "{said}"
        );

        // A new version does not push out the one that is whole.
        store.write(NEW).unwrap();
        assert_eq!(store.read().unwrap().text, NEW);
        let previous = store.disk.names["config.toml.previous"];
        assert!(store.disk.files[previous].0.starts_with(OLD.as_bytes()));
    }
}

#[test]
fn a_version_that_is_gone_is_noticed() {
    let mut store = written(&[OLD, NEW]);
    store.disk.names.remove(NAME);
    let stored = store.read().unwrap();
    assert_eq!(stored.text, OLD);
    assert!(stored.damage.unwrap().contains("is gone"));
}

#[test]
fn without_a_whole_version_there_is_an_error() {
    let mut store = written(&[NEW]);
    let file = store.disk.names[NAME];
    store.disk.files[file].0.clear();
    assert!(store.read().is_err());
}

#[test]
fn on_a_real_folder_files_are_for_their_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    let mut store = Store::new(Folder::new(path.clone()), NAME);
    assert_eq!(store.read().unwrap().text, "");
    for text in [OLD, NEW] {
        store.write(text).unwrap();
        assert_eq!(store.read().unwrap().text, text);
    }
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(&entry.path()), 0o600);
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, [NAME, "config.toml.previous"]);
    // What a power cut left does not stand in the way.
    fs::write(path.join("config.toml.new"), "half").unwrap();
    store.write(OLD).unwrap();
    assert_eq!(store.read().unwrap().text, OLD);
}
