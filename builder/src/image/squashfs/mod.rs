//! Writes a [`Tree`] as a squashfs 4.0 with zstd.
//!
//! Files with the same content, mode and owner become one inode with several
//! names: the content is stored once, and on the device it is read,
//! decompressed and held in memory once, however many services use it. Files
//! that differ in mode or owner share their blocks. Blocks are compressed on
//! all cores; the bytes do not depend on how many there are.

mod data;
mod metadata;
mod sharing;

use std::{
    collections::{BTreeMap, HashMap},
    io::{Seek, SeekFrom, Write},
    thread,
};

use anyhow::{Context, Result, ensure};

use self::{
    data::{DataWriter, Fragment, Stored},
    metadata::{Metadata, Position, pad, write_lookup},
};
use crate::tree::{Content, Kind, Node, Tree};

const SUPERBLOCK: u64 = 96;
const MAGIC: u32 = 0x7371_7368;
const ZSTD: u16 = 6;
/// Duplicates were looked for; there are no extended attributes.
const FLAGS: u16 = 0x0040 | 0x0200;
const NONE: u64 = u64::MAX;
/// Loop devices want whole pages.
const PAGE: u64 = 4096;
/// The kernel refuses longer links.
const LONGEST_LINK: usize = 4095;
/// The most entries that stand below one header in a folder.
const ENTRIES_PER_HEADER: usize = 256;

/// How to pack.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Level of zstd.
    pub level: i32,
    /// Bytes of a file that are compressed as one: a power of two, 4 KiB to
    /// 1 MiB.
    pub block_size: u32,
    /// Cores to use.
    pub threads: usize,
}

impl Default for Options {
    /// Level 6: the image of a Pi is 6 % smaller than at level 3 for a second
    /// of processor time; level 12 gains another 1 % for ten. Blocks of 128 KiB:
    /// those of 256 KiB make the image 3 % smaller, but a boot, which reads
    /// programs in parts, takes 14 % more processor time to unpack them.
    fn default() -> Self {
        Self {
            level: 6,
            block_size: 128 * 1024,
            threads: thread::available_parallelism().map_or(1, Into::into),
        }
    }
}

/// What was packed.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Bytes of the squashfs.
    pub size: u64,
    /// Number of inodes.
    pub inodes: u32,
    /// Bytes of all files before sharing and compression.
    pub input: u64,
    /// What each file takes, by path, for the files that hold their content:
    /// what several names share is counted at the first.
    pub packed: BTreeMap<String, u64>,
}

/// One name in the tree. The root is entry 0, and each folder stands before
/// what is in it.
struct Entry<'t> {
    path: &'t str,
    name: &'t str,
    node: &'t Node,
    parent: usize,
    children: Vec<usize>,
    /// For a file: index in the list of contents.
    content: usize,
}

/// An inode as a folder names it.
#[derive(Clone, Copy)]
struct Inode {
    number: u32,
    kind: u16,
    position: Position,
}

/// Packs a tree into a squashfs, from the beginning of `out`.
///
/// # Errors
/// When a content cannot be read, `out` cannot be written, or the tree holds
/// something that squashfs cannot.
pub fn write<W: Write + Seek>(
    tree: &Tree,
    timestamp: u32,
    options: Options,
    out: &mut W,
) -> Result<Stats> {
    ensure!(
        options.block_size.is_power_of_two() && (1 << 12..=1 << 20).contains(&options.block_size),
        "a squashfs block has a power of two between 4 KiB and 1 MiB, not {} bytes",
        options.block_size
    );
    let root = Node::directory(0o755);
    let (entries, contents) = arrange(tree, &root)?;
    let shared = sharing::first_equal(&contents)?;

    out.seek(SeekFrom::Start(SUPERBLOCK))?;
    let (stored, fragments, end) = write_data(&contents, &shared, options, out)?;

    let mut inodes = Inodes::new(&entries, &shared, &stored, timestamp);
    let (inode_table, directory_table, root) = inodes.write(options.level)?;
    out.write_all(&inode_table)?;
    let directories_at = end + inode_table.len() as u64;
    out.write_all(&directory_table)?;
    let mut at = directories_at + directory_table.len() as u64;

    let mut compressor = zstd::bulk::Compressor::new(options.level)?;
    let mut fragments_at = NONE;
    if !fragments.is_empty() {
        let table: Vec<u8> = fragments.iter().flat_map(fragment_entry).collect();
        let (list, written) = write_lookup(&table, at, &mut compressor, out)?;
        fragments_at = list;
        at += written;
    }
    let ids: Vec<u8> = inodes.ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let (ids_at, written) = write_lookup(&ids, at, &mut compressor, out)?;
    at += written;
    pad(out, at, PAGE)?;

    let mut superblock = Record::default();
    superblock
        .u32(MAGIC)
        .u32(inodes.count)
        .u32(timestamp)
        .u32(options.block_size)
        .u32(fragments.len() as u32)
        .u16(ZSTD)
        .u16(options.block_size.ilog2() as u16)
        .u16(FLAGS)
        .u16(inodes.ids.len() as u16)
        .u16(4)
        .u16(0)
        .u64(root.reference())
        .u64(at)
        .u64(ids_at)
        .u64(NONE)
        .u64(end)
        .u64(directories_at)
        .u64(fragments_at)
        .u64(NONE);
    out.seek(SeekFrom::Start(0))?;
    out.write_all(&superblock.0)?;
    out.flush()?;

    Ok(Stats {
        size: at.next_multiple_of(PAGE),
        inodes: inodes.count,
        input: tree.bytes(),
        packed: packed_sizes(&entries, &shared, &stored, &fragments),
    })
}

/// Turns the sorted paths into folders and their children.
fn arrange<'t>(tree: &'t Tree, root: &'t Node) -> Result<(Vec<Entry<'t>>, Vec<&'t Content>)> {
    let mut contents = Vec::new();
    let mut entries = vec![Entry {
        path: "",
        name: "",
        node: root,
        parent: 0,
        children: Vec::new(),
        content: 0,
    }];
    let mut folders: HashMap<&str, usize> = HashMap::from([("", 0)]);
    for (path, node) in tree.iter() {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = *folders
            .get(folder)
            .with_context(|| format!("{path} is in no folder"))?;
        let index = entries.len();
        let mut content = 0;
        match &node.kind {
            Kind::Directory => {
                folders.insert(path, index);
            }
            Kind::File(bytes) => {
                content = contents.len();
                contents.push(bytes);
            }
            Kind::Symlink(target) => ensure!(
                (1..=LONGEST_LINK).contains(&target.len()),
                "the link {path} has a target of {} bytes; 1 to {LONGEST_LINK} are possible",
                target.len()
            ),
        }
        entries[parent].children.push(index);
        entries.push(Entry {
            path,
            name,
            node,
            parent,
            children: Vec::new(),
            content,
        });
    }
    Ok((entries, contents))
}

/// Writes the content of all files. The result has, for each content, where
/// it lies; for one that is equal to an earlier one, see that.
fn write_data<W: Write>(
    contents: &[&Content],
    shared: &[usize],
    options: Options,
    out: &mut W,
) -> Result<(Vec<Stored>, Vec<Fragment>, u64)> {
    let (mut written, fragments, end) = thread::scope(|scope| {
        let mut writer = DataWriter::new(
            scope,
            out,
            SUPERBLOCK,
            options.block_size as usize,
            options.level,
            options.threads.max(1),
        );
        for (index, content) in contents.iter().enumerate() {
            if shared[index] == index {
                writer.add(content)?;
            }
        }
        writer.finish()
    })?;
    written.reverse();
    let stored = (0..contents.len())
        .map(|index| {
            if shared[index] == index {
                written.pop().unwrap_or_default()
            } else {
                Stored::default()
            }
        })
        .collect();
    Ok((stored, fragments, end))
}

fn fragment_entry(fragment: &Fragment) -> Vec<u8> {
    let mut record = Record::default();
    record.u64(fragment.start).u32(fragment.size).u32(0);
    record.0
}

/// What each file takes; a fragment is divided by length.
fn packed_sizes(
    entries: &[Entry<'_>],
    shared: &[usize],
    stored: &[Stored],
    fragments: &[Fragment],
) -> BTreeMap<String, u64> {
    entries
        .iter()
        .filter(|entry| {
            matches!(entry.node.kind, Kind::File(_)) && shared[entry.content] == entry.content
        })
        .map(|entry| {
            let file = &stored[entry.content];
            let size = match file.fragment {
                Some((index, _)) => {
                    let fragment = &fragments[index as usize];
                    fragment.packed_len() * file.len / u64::from(fragment.len.max(1))
                }
                None => file.packed,
            };
            (entry.path.to_owned(), size)
        })
        .collect()
}

/// Writes inodes and folders.
struct Inodes<'a> {
    entries: &'a [Entry<'a>],
    shared: &'a [usize],
    stored: &'a [Stored],
    timestamp: u32,
    ids: Vec<u32>,
    count: u32,
}

/// Names with the same identity are one inode: content, mode, owner, group.
type Identity = (usize, u16, u32, u32);

impl<'a> Inodes<'a> {
    fn new(
        entries: &'a [Entry<'a>],
        shared: &'a [usize],
        stored: &'a [Stored],
        timestamp: u32,
    ) -> Self {
        Self {
            entries,
            shared,
            stored,
            timestamp,
            ids: Vec::new(),
            count: 0,
        }
    }

    /// The inode table, the folder table, and where the root's inode is.
    fn write(&mut self, level: i32) -> Result<(Vec<u8>, Vec<u8>, Position)> {
        let entries = self.entries;
        let (mut first, mut second) = (
            zstd::bulk::Compressor::new(level)?,
            zstd::bulk::Compressor::new(level)?,
        );
        let mut inodes = Metadata::new(&mut first);
        let mut folders = Metadata::new(&mut second);
        let mut links: HashMap<Identity, u32> = HashMap::new();
        for entry in entries {
            if let Some(identity) = self.identity(entry) {
                *links.entry(identity).or_default() += 1;
            }
        }
        // Numbers are given in the order of the paths, before any inode is
        // written, because a folder names its parent's number.
        let mut numbers: Vec<u32> = Vec::with_capacity(entries.len());
        let mut numbered: HashMap<Identity, u32> = HashMap::new();
        for entry in entries {
            let number = match self.identity(entry) {
                Some(identity) => *numbered.entry(identity).or_insert_with(|| {
                    self.count += 1;
                    self.count
                }),
                None => {
                    self.count += 1;
                    self.count
                }
            };
            numbers.push(number);
        }

        let mut written: HashMap<Identity, Inode> = HashMap::new();
        let mut folder_inodes: Vec<Option<Inode>> = vec![None; entries.len()];
        let mut root = Position::default();
        // Folders last to first: what is in a folder is written before it.
        for (index, folder) in entries.iter().enumerate().rev() {
            if !folder.node.is_directory() {
                continue;
            }
            let mut listing = Vec::with_capacity(folder.children.len());
            for &child in &folder.children {
                let entry = &entries[child];
                let identity = self.identity(entry);
                let known = match identity {
                    Some(identity) => written.get(&identity).copied(),
                    None => folder_inodes[child],
                };
                let inode = match known {
                    Some(inode) => inode,
                    None => {
                        let names = identity.map_or(1, |identity| links[&identity]);
                        let position = inodes.position();
                        let (kind, record) = self.inode(entry, numbers[child], names)?;
                        inodes.push(&record)?;
                        let inode = Inode {
                            number: numbers[child],
                            kind,
                            position,
                        };
                        if let Some(identity) = identity {
                            written.insert(identity, inode);
                        }
                        inode
                    }
                };
                listing.push((entry.name, inode));
            }
            let at = folders.position();
            let bytes = listing_bytes(&listing);
            folders.push(&bytes)?;
            let parent = if index == 0 {
                // By convention the root's parent is one past the last inode.
                self.count + 1
            } else {
                numbers[folder.parent]
            };
            let position = inodes.position();
            let record = self.folder_inode(folder, numbers[index], parent, at, bytes.len())?;
            inodes.push(&record)?;
            folder_inodes[index] = Some(Inode {
                number: numbers[index],
                kind: DIRECTORY,
                position,
            });
            root = position;
        }
        Ok((inodes.finish()?.0, folders.finish()?.0, root))
    }

    /// What makes a file one with others; an empty file stays alone.
    fn identity(&self, entry: &Entry<'_>) -> Option<Identity> {
        match &entry.node.kind {
            Kind::File(content) if !content.is_empty() => Some((
                self.shared[entry.content],
                entry.node.mode,
                entry.node.uid,
                entry.node.gid,
            )),
            _ => None,
        }
    }

    fn id(&mut self, id: u32) -> Result<u16> {
        let index = match self.ids.iter().position(|known| *known == id) {
            Some(index) => index,
            None => {
                self.ids.push(id);
                self.ids.len() - 1
            }
        };
        u16::try_from(index).context("the tree has more than 65536 different owners and groups")
    }

    fn header(&mut self, kind: u16, entry: &Entry<'_>, number: u32) -> Result<Record> {
        let mut record = Record::default();
        record
            .u16(kind)
            .u16(entry.node.mode & 0o7777)
            .u16(self.id(entry.node.uid)?)
            .u16(self.id(entry.node.gid)?)
            .u32(self.timestamp)
            .u32(number);
        Ok(record)
    }

    /// The inode of a file or a link, and the type that a folder gives it.
    fn inode(&mut self, entry: &Entry<'_>, number: u32, names: u32) -> Result<(u16, Vec<u8>)> {
        if let Kind::Symlink(target) = &entry.node.kind {
            let mut record = self.header(SYMLINK, entry, number)?;
            record
                .u32(1)
                .u32(target.len() as u32)
                .bytes(target.as_bytes());
            return Ok((SYMLINK, record.0));
        }
        let file = &self.stored[self.shared[entry.content]];
        let (fragment, offset) = file.fragment.unwrap_or((u32::MAX, 0));
        let small = u32::try_from(file.len)
            .ok()
            .zip(u32::try_from(file.start).ok());
        let mut record = match small {
            Some((len, start)) if names == 1 && file.sparse == 0 => {
                let mut record = self.header(FILE, entry, number)?;
                record.u32(start).u32(fragment).u32(offset).u32(len);
                record
            }
            _ => {
                let mut record = self.header(FILE + EXTENDED, entry, number)?;
                record
                    .u64(file.start)
                    .u64(file.len)
                    .u64(file.sparse)
                    .u32(names)
                    .u32(fragment)
                    .u32(offset)
                    .u32(u32::MAX);
                record
            }
        };
        for size in &file.blocks {
            record.u32(*size);
        }
        Ok((FILE, record.0))
    }

    fn folder_inode(
        &mut self,
        folder: &Entry<'_>,
        number: u32,
        parent: u32,
        at: Position,
        listing: usize,
    ) -> Result<Vec<u8>> {
        let below = folder
            .children
            .iter()
            .filter(|child| self.entries[**child].node.is_directory())
            .count() as u32;
        // The size counts three bytes for `.` and `..`, which are not stored.
        let size = listing as u32 + 3;
        let record = match u16::try_from(size) {
            Ok(size) => {
                let mut record = self.header(DIRECTORY, folder, number)?;
                record
                    .u32(at.block)
                    .u32(below + 2)
                    .u16(size)
                    .u16(at.offset)
                    .u32(parent);
                record
            }
            Err(_) => {
                let mut record = self.header(DIRECTORY + EXTENDED, folder, number)?;
                record
                    .u32(below + 2)
                    .u32(size)
                    .u32(at.block)
                    .u32(parent)
                    .u16(0)
                    .u16(at.offset)
                    .u32(u32::MAX);
                record
            }
        };
        Ok(record.0)
    }
}

const DIRECTORY: u16 = 1;
const FILE: u16 = 2;
const SYMLINK: u16 = 3;
/// Added to a type for the longer form of its inode.
const EXTENDED: u16 = 7;

/// The names in a folder. A header gives the metadata block of the inodes and
/// a number that those of its entries are counted from.
fn listing_bytes(entries: &[(&str, Inode)]) -> Vec<u8> {
    let mut record = Record::default();
    let mut rest = entries;
    while let Some((_, first)) = rest.first() {
        let count = rest
            .iter()
            .take(ENTRIES_PER_HEADER)
            .take_while(|(_, inode)| {
                inode.position.block == first.position.block
                    && i16::try_from(i64::from(inode.number) - i64::from(first.number)).is_ok()
            })
            .count();
        let (together, after) = rest.split_at(count);
        record
            .u32(count as u32 - 1)
            .u32(first.position.block)
            .u32(first.number);
        for (name, inode) in together {
            record
                .u16(inode.position.offset)
                .u16((i64::from(inode.number) - i64::from(first.number)) as i16 as u16)
                .u16(inode.kind)
                .u16(name.len() as u16 - 1)
                .bytes(name.as_bytes());
        }
        rest = after;
    }
    record.0
}

/// Builds a little-endian record.
#[derive(Default)]
struct Record(Vec<u8>);

impl Record {
    fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }
}
