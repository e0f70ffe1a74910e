//! Which files have the same content.
//!
//! Services are made of the same packages, so most files of the system are
//! there several times. Content that is the same slice of the same cache file
//! is equal without a look; the rest is compared by length, then by SHA-256,
//! which only files that share their length have to pay for.

use std::{collections::HashMap, io, sync::Arc};

use sha2::{Digest, Sha256};

use crate::tree::Content;

/// Where a content comes from: its address or its place in the cache, and its
/// length.
#[derive(PartialEq, Eq, Hash)]
enum Source {
    Memory(*const u8, usize),
    Cache(usize, u64, u64),
}

impl Source {
    fn of(content: &Content) -> Self {
        match content {
            Content::Bytes(bytes) => Self::Memory(bytes.as_ptr(), bytes.len()),
            Content::Slice { file, offset, len } => {
                Self::Cache(Arc::as_ptr(file) as usize, *offset, *len)
            }
        }
    }
}

/// For each content the index of the first one that is equal to it.
pub(super) fn first_equal(contents: &[&Content]) -> io::Result<Vec<usize>> {
    let mut by_source: HashMap<Source, usize> = HashMap::new();
    let mut by_length: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut first: Vec<usize> = Vec::with_capacity(contents.len());
    for (index, content) in contents.iter().enumerate() {
        let same_source = *by_source.entry(Source::of(content)).or_insert(index);
        first.push(same_source);
        if same_source == index {
            by_length.entry(content.len()).or_default().push(index);
        }
    }
    for alike in by_length.values().filter(|alike| alike.len() > 1) {
        let mut by_hash: HashMap<[u8; 32], usize> = HashMap::new();
        for &index in alike {
            first[index] = *by_hash.entry(hash(contents[index])?).or_insert(index);
        }
    }
    // A content of the same source points at one that may itself have been
    // found equal to an earlier one.
    for index in 0..first.len() {
        first[index] = first[first[index]];
    }
    Ok(first)
}

fn hash(content: &Content) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    io::copy(&mut content.reader(), &mut hasher)?;
    Ok(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_contents_point_at_the_first_of_them() {
        let a = Content::from("same");
        let contents = [
            a.clone(),
            Content::from("else"),
            Content::from("same"),
            a,
            Content::from("longer"),
        ];
        let contents: Vec<_> = contents.iter().collect();
        assert_eq!(first_equal(&contents).unwrap(), [0, 1, 0, 0, 4]);
    }

    #[test]
    fn a_source_that_is_equal_to_an_earlier_one_leads_to_the_first() {
        let b = Content::from("same");
        let contents = [Content::from("same"), b.clone(), b];
        let contents: Vec<_> = contents.iter().collect();
        assert_eq!(first_equal(&contents).unwrap(), [0, 0, 0]);
    }
}
