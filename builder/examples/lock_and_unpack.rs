//! Locks, fetches and unpacks a few sets of packages from real mirrors, and
//! prints how long each step takes: `lock_and_unpack CACHE LOCK [lock|list]`.
//!
//! With `lock` the lock is renewed; otherwise it is used as it is. With `list`
//! everything that came out is listed, for a comparison with `dpkg-deb -x`.

use std::{
    collections::BTreeMap,
    env,
    path::Path,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use rubus::{
    cache::Cache,
    debian::{
        archive::Sources,
        deb::{Deb, unpack_all},
        resolve::Request,
        signature::Keyring,
        sources::{MirrorOptions, Mirrors},
    },
    digest::Digest,
    fetch::Fetcher,
    lock::{self, Lock},
    tree::Kind,
    unpack::Filter,
};

/// Set, suite, packages.
const SETS: &[(&str, Option<&str>, &str)] = &[
    (
        "docker",
        None,
        "docker.io docker-cli containerd runc iptables ca-certificates",
    ),
    ("console", None, "openssh-server bash coreutils"),
    ("kernel", None, "linux-image-arm64"),
    ("kernel/rpi5", Some("trixie-backports"), "linux-image-arm64"),
];

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    ensure!(
        arguments.len() >= 2,
        "usage: lock_and_unpack CACHE LOCK [lock]"
    );
    let cache = Cache::at(&arguments[0])?;
    let path = Path::new(&arguments[1]);
    let mirrors = Mirrors::choose(&MirrorOptions::default(), Path::new("/"))?;
    let fetcher = Fetcher::new(false);
    let requests: BTreeMap<String, Request> = SETS
        .iter()
        .map(|(name, suite, packages)| {
            let request = Request {
                packages: packages.split(' ').map(str::to_owned).collect(),
                suite: suite.map(str::to_owned),
                origin: (*name).to_owned(),
                ..Request::default()
            };
            ((*name).to_owned(), request)
        })
        .collect();

    let command = arguments.get(2).map(String::as_str);
    if command == Some("lock") {
        let start = Instant::now();
        let keyring = Keyring::debian()?;
        let sources = Sources {
            mirrors: &mirrors,
            fetcher: &fetcher,
            cache: &cache,
            keyring: &keyring,
            now: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        };
        lock::renew(&requests, Vec::new(), &sources, &())?.save(path)?;
        println!("lock: {:?}", start.elapsed());
    }
    let lock = Lock::find(path)?.context("there is no lock")?;
    for (name, request) in &requests {
        println!("{name}: {} packages", lock.set(name, request)?.len());
    }

    let start = Instant::now();
    let packages = lock.packages();
    let items: Vec<_> = packages
        .iter()
        .map(|package| package.item(&mirrors, lock.timestamp))
        .collect();
    let files = fetcher.fetch(&cache, &items, &())?;
    println!("fetch of {} packages: {:?}", items.len(), start.elapsed());

    let start = Instant::now();
    let debs: Vec<Deb> = packages
        .iter()
        .zip(files)
        .map(|(package, path)| Deb {
            name: package.name.clone(),
            path,
            sha256: package.sha256,
            size: package.size,
            filter: Filter::everything(),
        })
        .collect();
    let parallel = std::thread::available_parallelism().map_or(1, |count| count.get());
    let trees = unpack_all(&debs, &cache, parallel, &())?;
    let bytes: u64 = trees.iter().map(|tree| tree.bytes()).sum();
    let entries: usize = trees.iter().map(|tree| tree.len()).sum();
    println!(
        "unpacking to {entries} entries of {bytes} bytes: {:?}",
        start.elapsed()
    );

    if command == Some("list") {
        for (package, tree) in packages.iter().zip(&trees) {
            for (path, node) in tree.iter() {
                let what = match &node.kind {
                    Kind::Directory => "d".to_owned(),
                    Kind::Symlink(target) => format!("l {target}"),
                    Kind::File(content) => format!("f {}", Digest::of(&content.read()?)),
                };
                println!("{}\t{path}\t{:o}\t{what}", package.sha256, node.mode);
            }
        }
    }
    Ok(())
}
