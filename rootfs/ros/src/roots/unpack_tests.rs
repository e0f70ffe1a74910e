//! Archives that mean no good.

use std::os::unix::fs::FileTypeExt;

use tar::{Builder, Header};

use super::*;

/// What an archive holds: name, kind, content or target, mode.
type Item<'a> = (&'a str, EntryType, &'a str, u32);

/// An archive with names as they are, however bad.
fn archive(items: &[Item<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for &(name, kind, content, mode) in items {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(1000);
        let data = if matches!(kind, EntryType::Symlink | EntryType::Link) {
            let link = header.as_gnu_mut().unwrap();
            link.linkname[..content.len()].copy_from_slice(content.as_bytes());
            ""
        } else {
            content
        };
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

struct Place {
    folder: tempfile::TempDir,
    budget: Budget,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        fs::write(folder.path().join("secret"), "secret").unwrap();
        Place {
            folder,
            budget: Budget {
                entries: 100,
                bytes: 1 << 20,
                owners: Owners::Root,
            },
        }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn unpack(&mut self, items: &[Item<'_>]) -> Result<()> {
        let root = self.root();
        unpack(&archive(items)[..], &root, &mut self.budget, false)
    }

    fn layer(&mut self, items: &[Item<'_>]) {
        let root = self.root();
        unpack(&archive(items)[..], &root, &mut self.budget, true).unwrap();
    }

    fn outside_is_untouched(&self) {
        let mut names: Vec<_> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|it| it.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["root", "secret"]);
        let secret = fs::read_to_string(self.folder.path().join("secret"));
        assert_eq!(secret.unwrap(), "secret");
    }
}

const FILE: EntryType = EntryType::Regular;
const DIR: EntryType = EntryType::Directory;
const SYMLINK: EntryType = EntryType::Symlink;
const LINK: EntryType = EntryType::Link;

#[test]
fn files_folders_and_links_are_unpacked_without_privileges() {
    let mut place = Place::new();
    place
        .unpack(&[
            ("./", DIR, "", 0o755),
            ("usr/bin/", DIR, "", 0o755),
            ("usr/bin/dockerd", FILE, "program", 0o6755),
            ("/usr/bin/again", LINK, "usr/bin/dockerd", 0o755),
            ("bin", SYMLINK, "usr/bin", 0o777),
            ("etc/made/on/the/way", FILE, "x", 0o600),
        ])
        .unwrap();
    let root = place.root();
    let mode = |path: &str| fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("usr/bin/dockerd"), 0o755);
    assert_eq!(mode("etc/made/on/the/way"), 0o600);
    assert_eq!(
        fs::read_to_string(root.join("usr/bin/again")).unwrap(),
        "program"
    );
    assert_eq!(
        fs::read_link(root.join("bin")).unwrap(),
        Path::new("usr/bin")
    );
}

#[test]
fn nothing_leads_out() {
    let cases: [&[Item<'_>]; 7] = [
        &[("../secret", FILE, "x", 0o644)],
        &[("a/../../secret", FILE, "x", 0o644)],
        &[
            ("up", SYMLINK, "..", 0o777),
            ("up/secret", FILE, "x", 0o644),
        ],
        &[("up", SYMLINK, "/", 0o777), ("up/etc/x", FILE, "x", 0o644)],
        &[("copy", LINK, "../secret", 0o644)],
        &[
            ("up", SYMLINK, "..", 0o777),
            ("copy", LINK, "up/secret", 0o644),
        ],
        &[
            ("up", SYMLINK, "../secret", 0o777),
            ("copy", LINK, "up", 0o644),
        ],
    ];
    for items in cases {
        let mut place = Place::new();
        assert!(place.unpack(items).is_err(), "{items:?}");
        place.outside_is_untouched();
    }
    // An absolute path is one below the root; a file over a link replaces it.
    let mut place = Place::new();
    place
        .unpack(&[
            ("/secret", FILE, "x", 0o644),
            ("link", SYMLINK, "../secret", 0o777),
            ("link", FILE, "y", 0o644),
            ("dir", SYMLINK, "..", 0o777),
            ("dir/", DIR, "", 0o755),
            ("dir/secret", FILE, "z", 0o644),
        ])
        .unwrap();
    place.outside_is_untouched();
    assert_eq!(
        fs::read_to_string(place.root().join("dir/secret")).unwrap(),
        "z"
    );
}

#[test]
fn devices_and_pipes_are_left_out() {
    let mut place = Place::new();
    place
        .unpack(&[
            ("mem", EntryType::Char, "", 0o666),
            ("disk", EntryType::Block, "", 0o666),
            ("pipe", EntryType::Fifo, "", 0o666),
        ])
        .unwrap();
    assert_eq!(fs::read_dir(place.root()).unwrap().count(), 0);
    let all = fs::read_dir(place.folder.path()).unwrap();
    assert!(
        all.flatten()
            .all(|it| !it.file_type().unwrap().is_char_device())
    );
}

#[test]
fn bounds_hold() {
    let mut place = Place::new();
    place.budget.bytes = 10;
    assert!(place.unpack(&[("a", FILE, "0123456789", 0o644)]).is_ok());
    let error = place.unpack(&[("b", FILE, "0", 0o644)]).unwrap_err();
    assert!(error.to_string().starts_with("it is too large"), "{error}");
    place.budget.entries = 1;
    place.budget.bytes = 10;
    assert!(place.unpack(&[("c", FILE, "", 0o644)]).is_ok());
    assert!(place.unpack(&[("d", FILE, "", 0o644)]).is_err());
    place.budget.entries = 100;
    let deep = "d/".repeat(49);
    assert!(place.unpack(&[(&deep, DIR, "", 0o755)]).is_ok());
    let error = relative(Path::new(&"d/".repeat(65))).unwrap_err();
    assert!(error.to_string().contains("too deeply"), "{error}");
}

#[test]
fn a_size_that_is_a_lie_and_a_cut_archive_are_errors() {
    let whole = archive(&[("a", FILE, &"x".repeat(2000), 0o644)]);
    for end in [100, 512, 700, 1500] {
        let mut place = Place::new();
        let root = place.root();
        let outcome = unpack(&whole[..end], &root, &mut place.budget, false);
        assert!(outcome.is_err(), "{end}");
    }
}

#[test]
fn layers_hide_what_those_below_have() {
    let mut place = Place::new();
    place.layer(&[
        ("etc/gone", FILE, "", 0o644),
        ("etc/stays", FILE, "", 0o644),
        ("var/a", FILE, "", 0o644),
        ("var/b/c", FILE, "", 0o644),
    ]);
    place.layer(&[
        ("etc/.wh.gone", FILE, "", 0o644),
        ("var/.wh..wh..opq", FILE, "", 0o644),
        ("var/new", FILE, "", 0o644),
        (".wh...", FILE, "", 0o644),
        (".wh.", FILE, "", 0o644),
    ]);
    let root = place.root();
    let names = |path: &str| -> Vec<_> {
        fs::read_dir(root.join(path))
            .unwrap()
            .map(|it| it.unwrap().file_name())
            .collect()
    };
    assert_eq!(names("etc"), ["stays"]);
    assert_eq!(names("var"), ["new"]);
    place.outside_is_untouched();
}

#[test]
fn owners_are_kept_where_the_programs_run_as_these_users() {
    use std::os::unix::fs::MetadataExt;

    // Who is not root can give files to nobody else.
    let uid = if rustix::process::geteuid().is_root() {
        1000
    } else {
        rustix::process::geteuid().as_raw()
    };
    let gid = rustix::process::getegid().as_raw();
    let archive = |id: u64| {
        let mut builder = Builder::new(Vec::new());
        for (name, kind, mode) in [("srv/", DIR, 0o750), ("srv/data", FILE, 0o4640)] {
            let mut header = Header::new_gnu();
            header.set_path(name).unwrap();
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_uid(id);
            header.set_gid(u64::from(gid));
            header.set_size(0);
            header.set_cksum();
            builder.append(&header, &b""[..]).unwrap();
        }
        builder.into_inner().unwrap()
    };
    let mut place = Place::new();
    place.budget.owners = Owners::Kept;
    let root = place.root();
    unpack(
        &archive(u64::from(uid))[..],
        &root,
        &mut place.budget,
        false,
    )
    .unwrap();
    for (path, mode) in [("srv", 0o750), ("srv/data", 0o640)] {
        let found = fs::metadata(root.join(path)).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o7777), (uid, mode), "{path}");
    }
    for id in [u64::from(u32::MAX), 1 << 33] {
        let error = unpack(&archive(id)[..], &root, &mut place.budget, false).unwrap_err();
        assert!(format!("{error:#}").contains("nobody"), "{error:#}");
    }
}
