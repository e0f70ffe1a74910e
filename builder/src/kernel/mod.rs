//! The kernel of an image: from unpacked Debian packages to what goes into
//! the slot, the initramfs and the system root.
//!
//! `select` finds the parts and what a board's patterns mean, `module`
//! reads modules, `depmod` says how they hang together (`index` is its
//! file format), `store` keeps the result in the cache. [`firmware`] and
//! [`initramfs`] stand beside that.

mod depmod;
pub mod firmware;
mod index;
pub mod initramfs;
mod module;
mod select;
mod store;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZero,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result};

use self::{
    depmod::{Lists, Module},
    module::{ModInfo, decompress},
    select::{ModuleFile, Parts},
    store::{Part, Record, Writer},
};
use crate::{
    board::{Board, Pattern},
    cache::Cache,
    tree::{Content, Tree},
};

/// A kernel made ready for a board.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What `uname -r` says.
    pub release: String,
    /// `vmlinuz`: the kernel, compressed with gzip.
    pub image: Content,
    /// Device trees under every name that a firmware looks for.
    pub dtbs: Vec<(String, Content)>,
    /// `usr/lib/modules/RELEASE/` with modules, uncompressed, and their tables.
    pub modules: Tree,
    /// `modules/` for the initramfs, with `modules/order`.
    pub initramfs_modules: Tree,
    /// Names of the modules that the system root loads early, one a line.
    pub early: String,
}

/// Makes a kernel ready for a board, or takes it from the cache.
///
/// `key` names the packages by their hashes; `packages` unpacks them into one
/// tree, and is called only when the cache has nothing for this key and board.
///
/// # Errors
/// When the packages lack something that the board asks for, when a file in
/// them is damaged, or when the cache cannot be written.
pub fn prepare(
    board: &Board,
    cache: &Cache,
    key: &str,
    packages: impl FnOnce() -> Result<Tree>,
) -> Result<Kernel> {
    let key = store::key(board, key);
    if let Some((record, data)) = store::load(cache, &key) {
        return record.kernel(&data);
    }
    let parts = Parts::find(&packages()?)?;
    let (record, data) = store::save(cache, &key, |writer| make(board, &parts, writer))
        .with_context(|| format!("cannot prepare the kernel of board {}", board.name))?;
    record.kernel(&data)
}

/// Writes everything that the board takes of a kernel.
fn make(board: &Board, parts: &Parts, writer: &Writer) -> Result<Record> {
    let modules = read_modules(parts, writer, &kept(board, parts)?)?;
    let tables: BTreeMap<String, Module> = modules
        .iter()
        .map(|(name, read)| (name.clone(), read.module.clone()))
        .collect();

    let initramfs = in_load_order(&tables, parts, &board.modules.initramfs)?;
    let early = names_in_order(parts, &board.modules.early)?;
    let mut files: BTreeMap<String, Part> = modules
        .values()
        .map(|read| (read.module.path.clone(), read.part))
        .collect();
    let lists = Lists {
        order: parts.list("modules.order")?,
        builtin: parts.list("modules.builtin")?,
        builtin_modinfo: parts.lists["modules.builtin.modinfo"].read()?,
    };
    for (name, bytes) in depmod::tables(&tables, &lists)? {
        files.insert(name.to_owned(), writer.add(&bytes)?);
    }
    let mut dtbs = BTreeMap::new();
    for (name, copies) in &board.kernel.dtbs {
        let part = writer.add(&parts.dtb(name)?.read()?)?;
        dtbs.extend(copies.iter().map(|copy| (format!("{copy}.dtb"), part)));
    }
    Ok(Record {
        release: parts.release.clone(),
        image: writer.add(&gzip(&parts.image.read()?)?)?,
        dtbs,
        initramfs: initramfs
            .iter()
            .map(|name| tables[*name].path.clone())
            .collect(),
        files,
        early: early.iter().map(|name| format!("{name}\n")).collect(),
    })
}

/// All modules that any of a board's lists names.
fn kept(board: &Board, parts: &Parts) -> Result<BTreeSet<String>> {
    let lists = &board.modules;
    let mut names = BTreeSet::new();
    for pattern in lists
        .keep
        .iter()
        .chain(&lists.initramfs)
        .chain(&lists.early)
    {
        names.append(&mut parts.matching(pattern)?);
    }
    Ok(names)
}

/// The modules that patterns name, in the order of the patterns.
fn names_in_order(parts: &Parts, patterns: &[Pattern]) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for pattern in patterns {
        for name in parts.matching(pattern)? {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(names)
}

/// The same with everything that they depend on, each after what it needs.
fn in_load_order<'a>(
    modules: &'a BTreeMap<String, Module>,
    parts: &Parts,
    patterns: &[Pattern],
) -> Result<Vec<&'a str>> {
    let mut order: Vec<&str> = Vec::new();
    for name in names_in_order(parts, patterns)? {
        let (name, _) = modules
            .get_key_value(&name)
            .context("a module of the initramfs was not kept")?;
        for name in depmod::load_order(modules, name)? {
            if !order.contains(&name) {
                order.push(name);
            }
        }
    }
    Ok(order)
}

/// A module that was read, and where its bytes are.
struct Read {
    module: Module,
    part: Part,
}

/// Decompresses modules and whatever they depend on into the cache, on several
/// threads. Only a module that was read says what it depends on, so this goes
/// in waves.
fn read_modules(
    parts: &Parts,
    writer: &Writer,
    names: &BTreeSet<String>,
) -> Result<BTreeMap<String, Read>> {
    let mut modules: BTreeMap<String, Read> = BTreeMap::new();
    let mut wave: Vec<String> = names.iter().cloned().collect();
    while !wave.is_empty() {
        for (name, read) in wave.iter().zip(read_wave(parts, writer, &wave)?) {
            modules.insert(name.clone(), read);
        }
        let mut next = BTreeSet::new();
        for read in wave.iter().map(|name| &modules[name]) {
            let soft = read.module.info.soft_names();
            let soft = soft.filter(|name| parts.modules.contains_key(name));
            next.extend(read.module.info.depends.iter().cloned().chain(soft));
        }
        next.retain(|name| !modules.contains_key(name));
        wave = next.into_iter().collect();
    }
    Ok(modules)
}

/// Reads some modules; the results come in the order of the names.
fn read_wave(parts: &Parts, writer: &Writer, names: &[String]) -> Result<Vec<Read>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(names.len()));
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads.min(4).min(names.len()) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(name) = names.get(at) else {
                        break;
                    };
                    let result = parts
                        .modules
                        .get(name)
                        .with_context(|| format!("the kernel packages lack the module {name}"))
                        .and_then(|file| read_module(file, writer));
                    let failed = result.is_err();
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.push((at, result));
                    if failed {
                        next.store(names.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

fn read_module(file: &ModuleFile, writer: &Writer) -> Result<Read> {
    let bytes = decompress(&file.source, &file.content)?;
    let info = ModInfo::read(&bytes).with_context(|| format!("cannot use {}", file.source))?;
    Ok(Read {
        module: Module {
            path: file.path.clone(),
            info,
        },
        part: writer.add(&bytes)?,
    })
}

/// Compresses the kernel: the firmware reads a third as much from the card,
/// and unpacks it itself. No name and no time, so that the bytes are the same
/// each time.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor.gzip_compress(bytes, &mut out)?;
    out.truncate(length);
    Ok(out)
}
