//! A filesystem in memory.
//!
//! Packages, layers and services are merged as trees, and a tree becomes a
//! squashfs, a cpio or a layer. Paths in a tree are relative, use `/`, and hold
//! no `.` or `..`: [`Tree::insert`] refuses everything else, so what a hostile
//! package names can never leave the tree.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Result, bail, ensure};

/// Where the bytes of a file are.
#[derive(Clone, Debug)]
pub enum Content {
    /// In memory.
    Bytes(Arc<[u8]>),
    /// A part of a file in the cache.
    Slice {
        /// The file.
        file: Arc<CacheFile>,
        /// Where the part begins.
        offset: u64,
        /// How long it is.
        len: u64,
    },
}

/// A file in the cache, opened when it is first read.
#[derive(Debug)]
pub struct CacheFile {
    path: PathBuf,
    open: std::sync::OnceLock<File>,
}

impl CacheFile {
    /// Names a file in the cache; it is not opened yet.
    pub fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            path,
            open: std::sync::OnceLock::new(),
        })
    }

    fn file(&self) -> io::Result<&File> {
        if let Some(file) = self.open.get() {
            return Ok(file);
        }
        let file = File::open(&self.path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
        })?;
        Ok(self.open.get_or_init(|| file))
    }
}

impl Content {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Slice { len, .. } => *len,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads it from its beginning, without holding more than a buffer.
    pub fn reader(&self) -> ContentReader {
        ContentReader {
            content: self.clone(),
            position: 0,
        }
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// When the cache file cannot be read, or is shorter than it was.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.len() as usize);
        self.reader().read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        text.as_bytes().to_vec().into()
    }
}

/// Reads a [`Content`].
#[derive(Debug)]
pub struct ContentReader {
    content: Content,
    position: u64,
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.content.len() - self.position;
        let wanted = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let count = match &self.content {
            Content::Bytes(bytes) => {
                let start = self.position as usize;
                buffer[..wanted].copy_from_slice(&bytes[start..start + wanted]);
                wanted
            }
            Content::Slice { file, offset, .. } => {
                let count = file
                    .file()?
                    .read_at(&mut buffer[..wanted], offset + self.position)?;
                if count == 0 {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        format!("{} is shorter than it was", file.path.display()),
                    ));
                }
                count
            }
        };
        self.position += count as u64;
        Ok(count)
    }
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A folder.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link and its target, which may be anything.
    Symlink(String),
}

/// One entry of a [`Tree`].
#[derive(Clone, Debug)]
pub struct Node {
    /// Permissions, with set-user-id and the like: 12 bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// What it is.
    pub kind: Kind,
}

impl Node {
    /// A folder of root.
    pub fn directory(mode: u16) -> Self {
        Self::of(mode, Kind::Directory)
    }

    /// A file of root.
    pub fn file(mode: u16, content: impl Into<Content>) -> Self {
        Self::of(mode, Kind::File(content.into()))
    }

    /// A symbolic link.
    pub fn symlink(target: impl Into<String>) -> Self {
        Self::of(0o777, Kind::Symlink(target.into()))
    }

    fn of(mode: u16, kind: Kind) -> Self {
        Self {
            mode,
            uid: 0,
            gid: 0,
            kind,
        }
    }

    /// Whether it is a folder.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }
}

/// A filesystem in memory: paths in order, each folder before what is in it.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// An empty tree; its root folder is implied.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a node at a path, with the folders that lead there (0755, root's)
    /// where they are missing. What was there is replaced; a folder that is put
    /// over a folder takes the new attributes and keeps what is in it.
    ///
    /// # Errors
    /// When the path is absolute, leaves the tree, or leads through something
    /// that is not a folder; when a folder would be replaced by something else.
    pub fn insert(&mut self, path: &str, node: Node) -> Result<()> {
        check_path(path)?;
        for (end, _) in path.match_indices('/') {
            let parent = &path[..end];
            match self.nodes.get(parent) {
                None => {
                    self.nodes.insert(parent.to_owned(), Node::directory(0o755));
                }
                Some(existing) => ensure!(
                    existing.is_directory(),
                    "{path} leads through {parent}, which is not a folder"
                ),
            }
        }
        if let Some(existing) = self.nodes.get(path) {
            ensure!(
                !existing.is_directory() || node.is_directory(),
                "{path} is a folder and cannot be replaced by something else"
            );
        }
        self.nodes.insert(path.to_owned(), node);
        Ok(())
    }

    /// What is at a path; links are not followed.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Follows symbolic links from a path to what it means, up to a bound.
    pub fn resolve(&self, path: &str) -> Option<(String, &Node)> {
        let mut todo: Vec<String> = split(path);
        todo.reverse();
        let mut at: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            at.push(name);
            let here = at.join("/");
            if let Some(Node {
                kind: Kind::Symlink(target),
                ..
            }) = self.nodes.get(&here)
            {
                links += 1;
                if links > 40 {
                    return None;
                }
                at.pop();
                if target.starts_with('/') {
                    at.clear();
                }
                todo.extend(split(target).into_iter().rev());
            }
        }
        let path = at.join("/");
        let node = self.nodes.get(&path)?;
        Some((path, node))
    }

    /// Removes a path and everything below it; returns whether there was any.
    pub fn remove(&mut self, path: &str) -> bool {
        let below = format!("{path}/");
        let before = self.nodes.len();
        self.nodes
            .retain(|name, _| name != path && !name.starts_with(&below));
        before != self.nodes.len()
    }

    /// Keeps the entries for which the test holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &Node) -> bool) {
        self.nodes.retain(|path, node| keep(path, node));
    }

    /// Puts everything of another tree below a folder (`""` for the root).
    ///
    /// # Errors
    /// As [`Tree::insert`].
    pub fn merge(&mut self, below: &str, other: &Tree) -> Result<()> {
        for (path, node) in &other.nodes {
            if below.is_empty() {
                self.insert(path, node.clone())?;
            } else {
                self.insert(&format!("{below}/{path}"), node.clone())?;
            }
        }
        Ok(())
    }

    /// All entries in the order of their paths, each folder before its content.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Sum of the lengths of the files.
    pub fn bytes(&self) -> u64 {
        self.nodes
            .values()
            .map(|node| match &node.kind {
                Kind::File(content) => content.len(),
                _ => 0,
            })
            .sum()
    }
}

fn split(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .map(str::to_owned)
        .collect()
}

fn check_path(path: &str) -> Result<()> {
    if path.is_empty() || path.contains('\0') {
        bail!("an entry has an empty or impossible name");
    }
    for part in path.split('/') {
        if matches!(part, "" | "." | "..") {
            bail!("{path:?} does not stay below its folder");
        }
        ensure!(part.len() <= 255, "{path:?} has a name that is too long");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leaves_the_tree_is_refused() {
        let mut tree = Tree::new();
        for path in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/.", "a/"] {
            assert!(
                tree.insert(path, Node::file(0o644, "x")).is_err(),
                "{path:?}"
            );
        }
        assert!(tree.is_empty());
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let mut tree = Tree::new();
        tree.insert("a", Node::symlink("/etc")).unwrap();
        assert!(tree.insert("a/passwd", Node::file(0o644, "x")).is_err());
    }

    #[test]
    fn folders_are_made_and_keep_their_content() {
        let mut tree = Tree::new();
        tree.insert("a/b/c", Node::file(0o644, "x")).unwrap();
        tree.insert("a", Node::directory(0o700)).unwrap();
        assert_eq!(tree.get("a").unwrap().mode, 0o700);
        assert!(tree.get("a/b/c").is_some());
        assert!(tree.insert("a", Node::file(0o644, "x")).is_err());
    }

    #[test]
    fn links_are_followed_within_the_tree() {
        let mut tree = Tree::new();
        tree.insert("usr/bin/dash", Node::file(0o755, "x")).unwrap();
        tree.insert("bin", Node::symlink("usr/bin")).unwrap();
        tree.insert("usr/bin/sh", Node::symlink("dash")).unwrap();
        tree.insert("loop", Node::symlink("loop")).unwrap();
        assert_eq!(tree.resolve("bin/sh").unwrap().0, "usr/bin/dash");
        assert_eq!(tree.resolve("/bin/../bin/sh").unwrap().0, "usr/bin/dash");
        assert!(tree.resolve("loop").is_none());
    }

    #[test]
    fn removing_a_folder_leaves_its_neighbours() {
        let mut tree = Tree::new();
        tree.insert("a/b", Node::file(0o644, "x")).unwrap();
        tree.insert("a.b", Node::file(0o644, "x")).unwrap();
        assert!(tree.remove("a"));
        assert!(tree.get("a/b").is_none());
        assert!(tree.get("a.b").is_some());
    }
}
