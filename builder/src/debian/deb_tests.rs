use std::io::Write;

use tar::{Builder, EntryType, Header};

use super::*;
use crate::tree::Kind;

/// A tar entry; `size` may lie.
struct Member<'a> {
    path: &'a str,
    kind: EntryType,
    content: &'a [u8],
    link: &'a str,
    size: Option<u64>,
    mode: u32,
}

fn file<'a>(path: &'a str, content: &'a [u8]) -> Member<'a> {
    Member {
        path,
        kind: EntryType::Regular,
        content,
        link: "",
        size: None,
        mode: 0o644,
    }
}

fn special(path: &str, kind: EntryType) -> Member<'_> {
    Member {
        kind,
        mode: 0o755,
        ..file(path, b"")
    }
}

fn directory(path: &str) -> Member<'_> {
    special(path, EntryType::Directory)
}

fn link<'a>(path: &'a str, kind: EntryType, target: &'a str) -> Member<'a> {
    Member {
        link: target,
        ..special(path, kind)
    }
}

/// Writes names as they are, which the `tar` crate's own methods refuse to.
fn tar(members: &[Member<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for member in members {
        let mut header = Header::new_gnu();
        let gnu = header.as_gnu_mut().unwrap();
        gnu.name[..member.path.len()].copy_from_slice(member.path.as_bytes());
        gnu.linkname[..member.link.len()].copy_from_slice(member.link.as_bytes());
        header.set_entry_type(member.kind);
        header.set_size(member.size.unwrap_or(member.content.len() as u64));
        header.set_mode(member.mode);
        header.set_uid(0);
        header.set_gid(42);
        header.set_cksum();
        builder.append(&header, member.content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = ar::Builder::new(Vec::new());
    for (name, content) in members {
        let header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn package(data: (&str, &[u8])) -> Vec<u8> {
    ar(&[("debian-binary", b"2.0\n"), ("control.tar.xz", b""), data])
}

fn deb(members: &[Member<'_>]) -> Vec<u8> {
    package(("data.tar.xz", &xz(&tar(members))))
}

struct Place {
    _folder: tempfile::TempDir,
    cache: Cache,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        Self {
            _folder: folder,
            cache,
        }
    }

    fn store(&self, bytes: &[u8], filter: Filter) -> Deb {
        let sha256 = self.cache.store(bytes).unwrap();
        Deb {
            name: "hello 1".into(),
            path: self.cache.path(&sha256),
            sha256,
            size: bytes.len() as u64,
            filter,
        }
    }

    fn unpack(&self, bytes: &[u8]) -> Result<Tree> {
        unpack(&self.store(bytes, Filter::everything()), &self.cache)
    }
}

fn content(tree: &Tree, path: &str) -> Vec<u8> {
    match &tree.get(path).unwrap().kind {
        Kind::File(content) => content.read().unwrap(),
        other => panic!("{path} is {other:?}"),
    }
}

#[track_caller]
fn refused(bytes: &[u8], reason: &str) {
    let place = Place::new();
    let error = format!("{:#}", place.unpack(bytes).unwrap_err());
    assert!(error.starts_with("cannot unpack hello 1 ("), "{error}");
    assert!(error.contains(reason), "{error}");
    // A second try does not find what the first one left.
    assert!(place.unpack(bytes).is_err());
}

#[test]
fn files_links_and_folders_come_out_with_their_attributes() {
    let place = Place::new();
    let tree = place
        .unpack(&deb(&[
            directory("./"),
            directory("./usr/"),
            Member {
                mode: 0o4755,
                ..file("./usr/bin/su", b"program")
            },
            link("./usr/bin/sudo", EntryType::Link, "./usr/bin/su"),
            link("./usr/bin/x", EntryType::Symlink, "/etc/../anything"),
            file("./usr/empty", b""),
        ]))
        .unwrap();
    let su = tree.get("usr/bin/su").unwrap();
    assert_eq!((su.mode, su.uid, su.gid), (0o4755, 0, 42));
    assert_eq!(content(&tree, "usr/bin/su"), b"program");
    assert_eq!(content(&tree, "usr/bin/sudo"), b"program");
    assert_eq!(content(&tree, "usr/empty"), b"");
    assert!(matches!(
        &tree.get("usr/bin/x").unwrap().kind,
        Kind::Symlink(target) if target == "/etc/../anything"
    ));
    assert_eq!(tree.get("usr").unwrap().mode, 0o755);
    assert_eq!(tree.len(), 6);
}

#[test]
fn every_compression_that_debian_uses_is_read() {
    let tar = tar(&[file("a", b"content")]);
    for (name, bytes) in [
        ("data.tar", tar.clone()),
        ("data.tar.gz", gz(&tar)),
        ("data.tar.xz", xz(&tar)),
        ("data.tar.zst", zstd::encode_all(&tar[..], 1).unwrap()),
    ] {
        let place = Place::new();
        let tree = place.unpack(&package((name, &bytes))).unwrap();
        assert_eq!(content(&tree, "a"), b"content", "{name}");
    }
    refused(
        &package(("data.tar.lz4", &tar)),
        "\"lz4\", which is not supported",
    );
}

#[test]
fn contents_longer_than_a_buffer_are_whole() {
    let long: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let place = Place::new();
    let tree = place
        .unpack(&deb(&[file("a", b"1"), file("b", &long), file("c", b"3")]))
        .unwrap();
    assert_eq!(content(&tree, "a"), b"1");
    assert!(content(&tree, "b") == long);
    assert_eq!(content(&tree, "c"), b"3");
}

#[test]
fn names_longer_than_a_header_are_whole() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    builder.append_data(&mut header, &long, &b"x"[..]).unwrap();
    let mut header = Header::new_ustar();
    header.set_size(1);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_path("short").unwrap();
    header.set_cksum();
    builder
        .append_pax_extensions([("path", &b"pax/name"[..]), ("uid", b"7")])
        .unwrap();
    builder.append(&header, &b"y"[..]).unwrap();
    let bytes = builder.into_inner().unwrap();
    let place = Place::new();
    let tree = place.unpack(&package(("data.tar", &bytes))).unwrap();
    assert_eq!(content(&tree, &long), b"x");
    assert_eq!(content(&tree, "pax/name"), b"y");
    assert_eq!(tree.get("pax/name").unwrap().uid, 7);
    assert!(tree.get("short").is_none());
}

#[test]
fn the_top_folders_are_merged_into_usr() {
    let tree = Place::new()
        .unpack(&deb(&[
            directory("./lib/"),
            directory("./usr/lib/"),
            file("./lib/libx.so.1", b"x"),
            link("./lib/libx.so", EntryType::Symlink, "libx.so.1"),
            link("./lib/y", EntryType::Symlink, "../usr/share/y"),
            link("./usr/lib/z", EntryType::Link, "./lib/libx.so.1"),
        ]))
        .unwrap();
    let paths: Vec<&str> = tree.iter().map(|(path, _)| path).collect();
    assert_eq!(
        paths,
        [
            "usr",
            "usr/lib",
            "usr/lib/libx.so",
            "usr/lib/libx.so.1",
            "usr/lib/y",
            "usr/lib/z"
        ]
    );
    assert!(matches!(
        &tree.get("usr/lib/y").unwrap().kind,
        Kind::Symlink(target) if target == "/usr/share/y"
    ));
}

#[test]
fn the_links_of_base_files_themselves_stay() {
    let tree = Place::new()
        .unpack(&deb(&[link("./bin", EntryType::Symlink, "usr/bin")]))
        .unwrap();
    assert!(matches!(&tree.get("bin").unwrap().kind, Kind::Symlink(_)));
}

#[test]
fn a_filter_drops_entries_and_a_folder_is_made_where_it_is_needed() {
    let place = Place::new();
    let bytes = deb(&[
        directory("./usr/share/doc/x/"),
        file("./usr/share/doc/x/copyright", b"licence"),
        file("./usr/share/doc/x/README", b"text"),
        directory("./usr/share/man/"),
        file("./usr/share/man/x.1", b"text"),
        special("./usr/share/man/null", EntryType::Char),
    ]);
    let lean = place.store(&bytes, Filter::lean().unwrap());
    let tree = unpack(&lean, &place.cache).unwrap();
    let paths: Vec<&str> = tree.iter().map(|(path, _)| path).collect();
    assert_eq!(
        paths[3..],
        [
            "usr/share/doc/x",
            "usr/share/doc/x/copyright",
            "usr/share/man"
        ]
    );

    let filter = Filter::everything().keeping_if("README", |path| path.ends_with("README"));
    let tree = unpack(&place.store(&bytes, filter), &place.cache).unwrap();
    assert_eq!(tree.len(), 5);
    assert_eq!(content(&tree, "usr/share/doc/x/README"), b"text");
}

#[test]
fn a_hard_link_to_what_a_filter_drops_is_an_error() {
    let place = Place::new();
    let bytes = deb(&[file("a", b"x"), link("b", EntryType::Link, "a")]);
    let filter = Filter::everything().dropping(&["a"]).unwrap();
    let error = unpack(&place.store(&bytes, filter), &place.cache).unwrap_err();
    assert!(format!("{error:#}").contains("\"a\", which is filtered out"));
}

#[test]
fn a_second_call_reads_the_index_alone() {
    let place = Place::new();
    let deb = place.store(&deb(&[file("a", b"content")]), Filter::everything());
    unpack(&deb, &place.cache).unwrap();
    std::fs::write(&deb.path, b"no longer a package").unwrap();
    let tree = unpack(&deb, &place.cache).unwrap();
    assert_eq!(content(&tree, "a"), b"content");
}

#[test]
fn a_cache_that_was_cut_off_is_not_believed() {
    let place = Place::new();
    let bytes = deb(&[file("a", b"content")]);
    place.unpack(&bytes).unwrap();
    let folder = place._folder.path().join("trees");
    let cut = |extension: &str| {
        for shard in std::fs::read_dir(&folder).unwrap() {
            for file in std::fs::read_dir(shard.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                if path.extension().unwrap() == extension {
                    let half = std::fs::metadata(&path).unwrap().len() / 2;
                    let file = File::options().write(true).open(&path).unwrap();
                    file.set_len(half).unwrap();
                }
            }
        }
    };
    for extension in ["data", "index"] {
        cut(extension);
        let tree = place.unpack(&bytes).unwrap();
        assert_eq!(content(&tree, "a"), b"content", "{extension}");
    }
}

#[test]
fn packages_are_unpacked_in_order_and_the_first_failure_is_returned() {
    let place = Place::new();
    let debs: Vec<Deb> = (0..9_u8)
        .map(|at| {
            let long = vec![at; 1000 * usize::from(at)];
            place.store(&deb(&[file("a", &long)]), Filter::everything())
        })
        .collect();
    let trees = unpack_all(&debs, &place.cache, 3, &()).unwrap();
    for (at, tree) in trees.iter().enumerate() {
        assert_eq!(content(tree, "a"), vec![at as u8; 1000 * at]);
    }
    let bad = place.store(b"bad", Filter::everything());
    let debs = [&debs[..4], &[bad], &debs[4..]].concat();
    assert!(unpack_all(&debs, &place.cache, 3, &()).is_err());
}

#[test]
fn a_path_that_climbs_out_is_refused() {
    for path in ["../evil", "./../evil", "usr/../../evil", "a/.."] {
        refused(&deb(&[file(path, b"x")]), "climbs out of its folder");
    }
    refused(
        &deb(&[link("a", EntryType::Link, "../../etc/shadow")]),
        "climbs out of its folder",
    );
}

#[test]
fn an_absolute_path_is_refused() {
    refused(&deb(&[file("/etc/passwd", b"x")]), "an absolute path");
    refused(
        &deb(&[link("a", EntryType::Link, "/etc/shadow")]),
        "an absolute path",
    );
}

#[test]
fn a_path_through_a_link_is_refused() {
    refused(
        &deb(&[
            link("a", EntryType::Symlink, "/etc"),
            file("a/passwd", b"x"),
        ]),
        "leads through a, which is not a folder",
    );
    refused(
        &deb(&[file("a", b""), file("a/b", b"x")]),
        "leads through a, which is not a folder",
    );
}

#[test]
fn an_entry_that_is_in_it_twice_is_refused() {
    refused(
        &deb(&[file("a", b"1"), file("a", b"2")]),
        "\"a\" is in it twice",
    );
    refused(
        &deb(&[file("lib/a", b"1"), file("usr/lib/a", b"2")]),
        "\"usr/lib/a\" is in it twice",
    );
    refused(
        &deb(&[directory("a"), file("a", b"2")]),
        "\"a\" is in it twice",
    );
}

#[test]
fn devices_pipes_and_the_unknown_are_refused() {
    for (kind, reason) in [
        (EntryType::Char, "a device"),
        (EntryType::Block, "a device"),
        (EntryType::Fifo, "a named pipe"),
        (EntryType::GNUSparse, "unknown kind 'S'"),
    ] {
        refused(&deb(&[special("dev/x", kind)]), reason);
    }
}

#[test]
fn links_to_nothing_are_refused() {
    refused(
        &deb(&[link("a", EntryType::Symlink, "")]),
        "a link to nothing",
    );
    refused(
        &deb(&[link("a", EntryType::Link, "b"), file("b", b"")]),
        "a hard link to \"b\", which is not before it",
    );
}

#[test]
fn an_absurd_size_is_refused_before_anything_is_read() {
    let claiming = |size| Member {
        size: Some(size),
        ..file("a", b"x")
    };
    for size in [5 << 30, 8 << 60] {
        refused(&deb(&[claiming(size)]), "it claims to be");
    }
    refused(&deb(&[claiming(100_000)]), "");
    let name = Member {
        size: Some(1 << 40),
        ..special("././@LongLink", EntryType::GNULongName)
    };
    refused(&deb(&[name]), "a header of 1099511627776 bytes");
}

#[test]
fn a_bomb_is_refused_within_bounds() {
    /// Zeros without an end.
    struct Zeros;
    impl Read for Zeros {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            buffer.fill(0);
            Ok(buffer.len())
        }
    }
    // The decoder is out of the picture: the bound is on what comes out of it.
    let cache = Place::new();
    let header = tar(&[Member {
        size: Some(crate::unpack::MAX_BYTES),
        ..file("usr/share/doc/x/bomb", b"")
    }]);
    let endless = (&header[..512]).chain(Zeros);
    let error = unpack_cached(
        &cache.cache,
        &Digest::of(b"bomb"),
        Dialect::Package,
        &Filter::lean().unwrap(),
        || Ok(Box::new(endless)),
        |_| Ok(()),
    )
    .unwrap_err();
    assert!(
        format!("{error:#}").contains("unpacks to more than"),
        "{error:#}"
    );
}

#[test]
fn a_decoder_that_wants_too_much_memory_is_refused() {
    // The header of an xz block whose dictionary would be 1.5 GiB.
    let mut filters = liblzma::stream::Filters::new();
    let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
    options.dict_size(256 << 20);
    filters.lzma2(&options);
    let stream =
        liblzma::stream::Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc32)
            .unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(&tar(&[file("a", b"x")])).unwrap();
    let bytes = encoder.finish().unwrap();
    refused(&package(("data.tar.xz", &bytes)), "");
}

#[test]
fn a_truncated_package_is_refused_wherever_it_ends() {
    let long: Vec<u8> = (0..3000_u32)
        .flat_map(|n| n.wrapping_mul(n).to_le_bytes())
        .collect();
    let tar = tar(&[file("a", &long), file("b", b"x")]);
    for whole in [
        package(("data.tar.xz", &xz(&tar))),
        package(("data.tar", &tar)),
    ] {
        for length in (0..whole.len() - 1).step_by(97) {
            let place = Place::new();
            assert!(place.unpack(&whole[..length]).is_err(), "{length}");
        }
    }
}

#[test]
fn what_is_not_a_package_is_refused() {
    let tar = tar(&[file("a", b"x")]);
    refused(b"hello", "it is not an ar archive");
    refused(b"!<arch>\n", "it is not a Debian package");
    refused(&ar(&[("data.tar", &tar)]), "it is not a Debian package");
    refused(
        &ar(&[("debian-binary", b"9.0\n"), ("data.tar", &tar)]),
        "unknown format",
    );
    refused(&ar(&[("debian-binary", b"2.0\n")]), "no member data.tar");
    refused(
        &ar(&[
            ("debian-binary", b"2.0\n"),
            ("data.tar", &tar),
            ("data.tar.xz", &xz(&tar)),
        ]),
        "two members data.tar",
    );
    let mut bad = deb(&[file("a", b"x")]);
    bad[8 + 48..8 + 58].copy_from_slice(b"9999999999");
    refused(&bad, "the file is truncated");
    bad[8 + 48..8 + 58].copy_from_slice(b"not a size");
    refused(&bad, "it is not an ar archive");
}
