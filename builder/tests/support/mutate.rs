//! Damages good inputs, the same way each time: what a parser of hostile input
//! has to survive.
//!
//! `RUBUS_MUTATIONS=100000` asks for more than the few that fit into a test run.

use std::{
    env,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use nix::sys::resource::{Resource, setrlimit};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

/// Numbers at which arithmetic breaks.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    i64::MAX as u64,
    u64::MAX,
];

/// Texts that mean something to one parser or another.
const WORDS: [&str; 22] = [
    "",
    "\0",
    "\n",
    "\n\n",
    " ",
    ":",
    "/",
    "..",
    "../../../../etc/passwd",
    "/etc/passwd",
    "-1",
    "0",
    "9999999999999999999999",
    "18446744073709551615",
    "[",
    "{",
    "\"",
    "(>= 1)",
    "|",
    ",",
    "\u{fffd}",
    "null",
];

/// Bounds what this process may take: an input that asks for more ends it.
pub(crate) fn bound_memory() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let most = 4 << 30;
        setrlimit(Resource::RLIMIT_AS, most, most).unwrap();
    });
}

/// Gives `times` damaged forms of each input to a parser, and the inputs as
/// they are.
///
/// # Panics
/// When the parser does; with what number the input has.
pub(crate) fn each(name: &str, inputs: &[&[u8]], times: u32, mut parse: impl FnMut(&[u8])) {
    let asked = env::var("RUBUS_MUTATIONS").ok();
    let times = asked
        .map(|text| text.parse().expect("RUBUS_MUTATIONS is a number"))
        .unwrap_or(times);
    for (at, input) in inputs.iter().enumerate() {
        parse(input);
        for seed in 0..times {
            let bytes = mutate(input, inputs, &mut StdRng::seed_from_u64(seed.into()));
            let result = panic::catch_unwind(AssertUnwindSafe(|| parse(&bytes)));
            assert!(
                result.is_ok(),
                "{name}: input {at} with seed {seed} makes it panic"
            );
        }
    }
}

/// A damaged form of one input, perhaps with a piece of another.
fn mutate(input: &[u8], others: &[&[u8]], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..random.gen_range(1..=4) {
        if bytes.is_empty() {
            bytes.push(random.r#gen());
        }
        let at = random.gen_range(0..bytes.len());
        let length = random.gen_range(1..=64.min(bytes.len() - at));
        match random.gen_range(0..9) {
            0 => bytes[at] ^= 1 << random.gen_range(0..8),
            1 => bytes[at] = random.r#gen(),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..at + length)),
            4 => {
                let piece = bytes[at..at + length].to_vec();
                let to = random.gen_range(0..=bytes.len());
                bytes.splice(to..to, piece);
            }
            5 => {
                let edge = *EDGES.choose(random).expect("there are some");
                let width = *[2, 4, 8].choose(random).expect("there are some");
                let mut number = edge.to_le_bytes()[..width].to_vec();
                if random.r#gen() {
                    number.reverse();
                }
                let end = (at + width).min(bytes.len());
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
            6 => {
                let word = WORDS.choose(random).expect("there are some");
                bytes.splice(at..at, word.bytes());
            }
            // Fields in text: a number, or a word up to the next white space.
            7 => {
                let end = bytes[at..]
                    .iter()
                    .position(|byte| byte.is_ascii_whitespace() || b"\",:".contains(byte))
                    .map_or(bytes.len(), |end| at + end);
                let word = WORDS.choose(random).expect("there are some");
                bytes.splice(at..end, word.bytes());
            }
            _ => {
                let other = others.choose(random).expect("there are some");
                if !other.is_empty() {
                    let from = random.gen_range(0..other.len());
                    let end = (from + length).min(other.len());
                    bytes.splice(at..at, other[from..end].iter().copied());
                }
            }
        }
    }
    bytes
}
