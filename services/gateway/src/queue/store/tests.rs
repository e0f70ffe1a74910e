//! What a restart finds after a stop before each step.

use super::*;
use crate::queue::{
    disk::{
        Files,
        faulty::{Fault, Faulty},
    },
    message::tests::head,
};

fn why(reason: &str) -> Why {
    Why {
        reason: reason.to_owned(),
        attempts: 3,
        time: "2026-01-01T00:00:00Z".to_owned(),
        hour: 7,
    }
}

fn open(root: &Path, disk: impl Disk) -> (Arc<Store>, Found) {
    let (store, found) = Store::open(root, Box::new(disk), |reason| why(&reason)).unwrap();
    (Arc::new(store), found)
}

fn accept(store: &Arc<Store>, seq: u64, body: &[u8]) -> io::Result<u64> {
    let mut draft = Draft::new(store, &seq.to_string());
    for part in body.chunks(CHUNK / 2) {
        if draft.push(part) {
            draft.flush()?;
        }
    }
    draft.accept(seq, &head("f.fn", &format!("id-{seq}")))
}

fn body(store: &Store, seq: u64, failures: u32) -> Vec<u8> {
    use std::io::Read;
    let message = store.message(seq, failures).unwrap();
    let mut bytes = Vec::new();
    message
        .file
        .take(message.length)
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

fn files(root: &Path) -> Vec<String> {
    let mut all: Vec<String> = ["new", "waiting", "dead"]
        .iter()
        .flat_map(|folder| {
            let names = names(&root.join(folder)).unwrap();
            names
                .into_iter()
                .map(move |name| format!("{folder}/{name}"))
        })
        .collect();
    all.sort();
    all
}

/// What of one message a restart may find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    Waiting(u32),
    Dead,
}

fn seen(found: &Found) -> Seen {
    match (&found.waiting[..], &found.dead[..]) {
        ([], []) => Seen::Nothing,
        ([waiting], []) => Seen::Waiting(waiting.failures),
        ([], [(_, dead)]) => {
            assert!(dead.whole);
            Seen::Dead
        }
        _ => panic!("it is there twice: {found:?}"),
    }
}

struct Case {
    name: &'static str,
    /// Makes what is there before.
    before: fn(&Arc<Store>),
    /// What is interrupted.
    act: fn(&Arc<Store>) -> io::Result<()>,
    /// What may be found after a stop.
    interrupted: &'static [Seen],
    /// What is found once it is done, without a power cut.
    done: Seen,
    /// What may be found when the power is cut right after it is done.
    cut: &'static [Seen],
}

fn one_waits(store: &Arc<Store>) {
    accept(store, 1, b"body").unwrap();
}

fn one_is_dead(store: &Arc<Store>) {
    one_waits(store);
    store.bury(1, 0, &why("x")).unwrap();
}

const CASES: [Case; 7] = [
    Case {
        name: "accept",
        before: |_| {},
        act: |store| accept(store, 1, b"body").map(|_| ()),
        interrupted: &[Seen::Nothing, Seen::Waiting(0)],
        done: Seen::Waiting(0),
        // What was answered with 202 is there.
        cut: &[Seen::Waiting(0)],
    },
    Case {
        name: "accept a long body",
        before: |_| {},
        act: |store| accept(store, 1, &[7; CHUNK * 3]).map(|_| ()),
        interrupted: &[Seen::Nothing, Seen::Waiting(0)],
        done: Seen::Waiting(0),
        cut: &[Seen::Waiting(0)],
    },
    Case {
        name: "retry",
        before: one_waits,
        act: |store| store.retry(1, 0, 1),
        interrupted: &[Seen::Waiting(0), Seen::Waiting(1)],
        done: Seen::Waiting(1),
        cut: &[Seen::Waiting(0), Seen::Waiting(1)],
    },
    Case {
        name: "finish",
        before: one_waits,
        act: |store| store.finish(1, 0),
        interrupted: &[Seen::Waiting(0), Seen::Nothing],
        done: Seen::Nothing,
        cut: &[Seen::Waiting(0), Seen::Nothing],
    },
    Case {
        name: "bury",
        before: one_waits,
        act: |store| store.bury(1, 0, &why("x")).map(drop),
        interrupted: &[Seen::Waiting(0), Seen::Dead],
        done: Seen::Dead,
        cut: &[Seen::Waiting(0), Seen::Dead],
    },
    Case {
        name: "replay",
        before: one_is_dead,
        act: |store| store.replay(1),
        interrupted: &[Seen::Dead, Seen::Waiting(0)],
        done: Seen::Waiting(0),
        cut: &[Seen::Waiting(0)],
    },
    Case {
        name: "discard",
        before: one_is_dead,
        act: |store| store.discard(1),
        interrupted: &[Seen::Dead, Seen::Nothing],
        done: Seen::Nothing,
        cut: &[Seen::Dead, Seen::Nothing],
    },
];

/// Runs a case on a disk that fails at a step, and looks at what is there.
/// Returns nothing once the case ends before that step.
fn run(case: &Case, fault: Fault, at: usize, cut: bool) -> Option<(bool, Found, Vec<String>)> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("queue");
    (case.before)(&open(&root, Files).0);

    let disk = Faulty::new(fault, at);
    // The folders are there; the steps of opening it are not counted.
    let store = Store {
        root: root.clone(),
        disk: Box::new(disk.clone()),
    };
    let result = (case.act)(&Arc::new(store));
    if !disk.failed() && at != usize::MAX {
        return None;
    }
    if cut {
        disk.cut_power();
    }
    let before = files(&root);
    let (_, found) = open(&root, Files);
    let after = files(&root);
    assert!(
        !after.iter().any(|name| name.starts_with("new/")),
        "{}: {after:?}",
        case.name
    );
    if seen(&found) == Seen::Nothing {
        assert!(after.is_empty(), "{}: {after:?}", case.name);
    }
    Some((result.is_ok(), found, before))
}

#[test]
fn a_stop_before_any_step_loses_nothing_and_leaves_no_half() {
    for case in &CASES {
        for cut in [false, true] {
            let mut steps = 0;
            while let Some((_, found, _)) = run(case, Fault::Stop, steps, cut) {
                assert!(
                    case.interrupted.contains(&seen(&found)),
                    "{} stopped before step {steps}: {found:?}",
                    case.name
                );
                steps += 1;
                assert!(steps < 100, "{} never ends", case.name);
            }
            assert!(steps > 0, "{}", case.name);
        }
        let (ok, found, _) = run(case, Fault::Stop, usize::MAX, false).unwrap();
        assert_eq!((ok, seen(&found)), (true, case.done), "{}", case.name);
        let (ok, found, _) = run(case, Fault::Stop, usize::MAX, true).unwrap();
        assert!(ok && case.cut.contains(&seen(&found)), "{}", case.name);
    }
}

#[test]
fn a_full_disk_leaves_nothing_half_written() {
    for case in &CASES[..2] {
        let mut steps = 0;
        while let Some((ok, found, before)) = run(case, Fault::Full, steps, false) {
            assert!(!ok, "{} with a full disk at step {steps}", case.name);
            assert_eq!(seen(&found), Seen::Nothing);
            // Already before the restart.
            assert!(before.is_empty(), "step {steps}: {before:?}");
            steps += 1;
        }
        assert!(steps > 3);
    }
}

#[test]
fn a_full_disk_keeps_a_message_that_is_buried() {
    for step in 0..2 {
        let (ok, found, _) = run(&CASES[4], Fault::Full, step, false).unwrap();
        assert!(ok);
        assert_eq!(found.dead[0].1.why.reason, "the reason was not stored");
    }
}

#[test]
fn everything_is_found_again_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("queue");
    let (store, found) = open(&root, Files);
    assert_eq!(found, Found::default());
    for seq in [3, 1, 20, 2] {
        accept(&store, seq, format!("body {seq}").as_bytes()).unwrap();
    }
    store.retry(2, 0, 5).unwrap();
    store.bury(3, 0, &why("gone")).unwrap();

    let (store, found) = open(&root, Files);
    let waiting: Vec<_> = found
        .waiting
        .iter()
        .map(|message| (message.seq, message.failures, message.function.as_str()))
        .collect();
    assert_eq!(waiting, [(1, 0, "f.fn"), (2, 5, "f.fn"), (20, 0, "f.fn")]);
    assert_eq!(found.next, 21);
    assert_eq!(body(&store, 2, 5), b"body 2");
    let (seq, dead) = &found.dead[0];
    assert_eq!((*seq, dead.id.as_str(), dead.whole), (3, "id-3", true));
    assert_eq!(dead.why, why("gone"));
    store.replay(3).unwrap();
    assert_eq!(body(&store, 3, 0), b"body 3");
}

#[test]
fn what_cannot_be_read_becomes_a_dead_letter() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("queue");
    let (store, _) = open(&root, Files);
    accept(&store, 1, b"body").unwrap();
    let waiting = root.join("waiting");
    let whole = fs::read(waiting.join("0000000000000001-0")).unwrap();
    for (name, content) in [
        ("0000000000000002-0", &whole[..whole.len() - 1]),
        ("0000000000000003-1", b""),
        ("0000000000000001-1", &whole),
        ("1-0", &whole),
        ("ffffffffffffffff-0", &whole),
        ("0000000000000004-+1", &whole),
        ("notes.txt", b"x"),
        (".hidden", b"x"),
    ] {
        fs::write(waiting.join(name), content).unwrap();
    }
    fs::create_dir(waiting.join("folder")).unwrap();
    fs::write(root.join("new/left"), b"half").unwrap();
    fs::write(root.join("dead/0000000000000077.json"), b"{}").unwrap();

    let (_, found) = open(&root, Files);
    assert_eq!(found.waiting.len(), 1);
    assert_eq!(found.dead.len(), 9);
    for (_, dead) in &found.dead {
        assert!(dead.why.reason.contains("is damaged"), "{dead:?}");
    }
    assert!(names(&root.join("new")).unwrap().is_empty());
    assert_eq!(names(&waiting).unwrap().len(), 1);
    // The next start finds the same.
    let (_, again) = open(&root, Files);
    assert_eq!((again.waiting.len(), again.dead.len()), (1, 9));
    assert!(!root.join("dead/0000000000000077.json").exists());
}

#[test]
fn what_is_stored_is_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("queue");
    let (store, _) = open(&root, Files);
    accept(&store, 1, b"body").unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(root.join("waiting")), 0o700);
    assert_eq!(mode(root.join("waiting/0000000000000001-0")), 0o600);
}
