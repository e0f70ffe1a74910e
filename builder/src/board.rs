//! What a board is: everything about one family of hardware, as data.
//!
//! `boards/NAME.toml` is a board. What several boards share is a set,
//! `boards/sets/NAME.toml`, which a board names in `sets`. Lists of a board
//! come before those of its sets, sets in the order in which they are named;
//! texts for kernel and firmware come after, because there the last word wins.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use toml::Spanned;

pub use crate::image::disk::PartitionTable;
use crate::{debian::sources, toml_file::TomlFile};

use rubus_service::suggest;

use crate::qemu::Machine;

/// What kernel and firmware packages depend on and an image has no use for:
/// it has tables, initramfs and partitions of its own making.
pub const EXCLUDE: [&str; 5] = [
    "dosfstools",
    "dracut",
    "initramfs-tools",
    "kmod",
    "linux-initramfs-tool",
];

/// A family of boards that one image serves.
#[derive(Clone, Debug)]
pub struct Board {
    /// The name: that of its file.
    pub name: String,
    /// One line that says what it is.
    pub description: String,
    /// The models that the image boots on.
    pub models: Vec<String>,
    /// How the disk is partitioned.
    pub partition_table: PartitionTable,
    /// The kernel and how it starts.
    pub kernel: KernelSpec,
    /// Kernel modules of the image.
    pub modules: Modules,
    /// Files taken from firmware packages.
    pub firmware: Vec<FirmwareSpec>,
    /// `config.txt` of a slot; empty where no Pi firmware reads one.
    pub config: String,
    /// `autoboot.txt` of the first partition; empty as above.
    pub autoboot: String,
    /// The machine that stands for the board in QEMU, as [`Machine`] names it.
    pub qemu: Option<String>,
}

/// Where a board's kernel comes from and how it starts.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct KernelSpec {
    /// Debian packages; what they depend on comes along, except what only
    /// maintainer scripts need.
    pub packages: Vec<String>,
    /// The suite that they come from.
    pub suite: String,
    /// The kernel command line, after what the sets say; `{slot}` stands for
    /// the slot's PARTUUID.
    pub cmdline: String,
    /// Terminals that take a login, as names below `/dev`, the serial one last.
    pub consoles: Vec<String>,
    /// Device trees: the kernel's name for one, and every name under which
    /// some firmware looks for it, both without `.dtb`.
    #[serde(default)]
    pub dtbs: BTreeMap<String, Vec<String>>,
}

/// Which kernel modules are in the image.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    /// Modules to keep; what they depend on comes along.
    pub keep: Vec<Pattern>,
    /// Modules that the initramfs loads, in this order.
    pub initramfs: Vec<Pattern>,
    /// Modules that the system root loads before anything asks for them.
    pub early: Vec<Pattern>,
}

/// Names kernel modules: the name of one, or a path below `kernel/` without
/// its ending. `*` stands for anything within one name, `**` for any folders;
/// alternatives are separated by `|`.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The text.
    pub text: String,
    /// Where it is written: file and line.
    pub place: String,
}

/// What is written, not where: images are identified by what their definitions
/// say, wherever the checkout is.
impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

/// Files taken from one firmware package.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FirmwareSpec {
    /// The Debian package.
    pub package: String,
    /// The folder in the package that `files` are relative to.
    pub from: String,
    /// Patterns of files, `*` within one name. A link brings its target.
    pub files: Vec<String>,
    /// Symbolic links to make in `/usr/lib/firmware`, path to target: what
    /// `update-alternatives` would have done.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
    /// Where they go.
    pub to: Vec<Place>,
}

/// Where a firmware file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The first partition.
    Start,
    /// Every slot.
    Slot,
    /// `/usr/lib/firmware` of the system root.
    System,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct BoardFile {
    /// One line that says what it is.
    description: String,
    /// The models that the image boots on.
    models: Vec<String>,
    /// Files of `boards/sets/` that it is made of too. A set has the keys
    /// `cmdline`, `modules`, `firmware`, `config` and `autoboot`.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    sets: Vec<Spanned<String>>,
    /// How the disk is partitioned.
    partition_table: PartitionTable,
    /// The kernel and how it starts.
    kernel: KernelSpec,
    /// Which kernel modules are in the image.
    #[serde(default)]
    modules: ModulesFile,
    /// Files taken from firmware packages.
    #[serde(default)]
    firmware: Vec<FirmwareSpec>,
    /// `config.txt` of a slot, after what the sets say.
    #[serde(default)]
    config: String,
    /// `autoboot.txt` of the first partition, after what the sets say.
    #[serde(default)]
    autoboot: String,
    /// The QEMU machine that stands for the board.
    #[serde(default)]
    qemu: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetFile {
    #[serde(default)]
    cmdline: String,
    #[serde(default)]
    modules: ModulesFile,
    #[serde(default)]
    firmware: Vec<FirmwareSpec>,
    #[serde(default)]
    config: String,
    #[serde(default)]
    autoboot: String,
}

/// Which kernel modules are in the image.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct ModulesFile {
    /// Modules to keep; what they depend on comes along.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    keep: Vec<Spanned<String>>,
    /// Modules that the initramfs loads, in this order.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    initramfs: Vec<Spanned<String>>,
    /// Modules that the system root loads before anything asks for them.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    early: Vec<Spanned<String>>,
}

/// The names of the boards in a folder, in order.
///
/// # Errors
/// When the folder cannot be read.
pub fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder)
        .with_context(|| format!("cannot read the boards in {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "toml")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// All boards in a folder, in the order of their names.
///
/// # Errors
/// As [`load`].
pub fn boards(folder: &Path) -> Result<Vec<Board>> {
    names(folder)?
        .iter()
        .map(|name| load(folder, name))
        .collect()
}

/// Reads one board.
///
/// # Errors
/// When there is no such board, with the name of the one that was likely
/// meant; when its file or one of its sets is wrong, with file, line and key.
pub fn load(folder: &Path, name: &str) -> Result<Board> {
    let names = names(folder)?;
    if !names.iter().any(|known| known == name) {
        let hint = suggest::hint(name, names.iter().map(String::as_str));
        bail!(
            "there is no board {name:?}; the boards are {}{hint}",
            names.join(", ")
        );
    }
    let source = TomlFile::read(folder.join(format!("{name}.toml")))?;
    let file: BoardFile = source.parse()?;

    let mut board = Board {
        name: name.to_owned(),
        description: file.description,
        models: file.models,
        partition_table: file.partition_table,
        kernel: file.kernel,
        modules: Modules::default(),
        firmware: file.firmware,
        config: String::new(),
        autoboot: String::new(),
        qemu: file.qemu,
    };
    add_modules(&mut board.modules, file.modules, &source);
    let mut cmdline: Vec<String> = Vec::new();
    for set in file.sets {
        let path =
            set_path(folder, set.as_ref()).with_context(|| source.place(set.span().start))?;
        let source = TomlFile::read(path)?;
        let set: SetFile = source.parse()?;
        add_modules(&mut board.modules, set.modules, &source);
        cmdline.extend(set.cmdline.split_whitespace().map(str::to_owned));
        board.firmware.extend(set.firmware);
        board.config.push_str(&set.config);
        board.autoboot.push_str(&set.autoboot);
    }
    // What the board itself says to kernel and firmware comes last, and wins.
    cmdline.push(board.kernel.cmdline);
    board.kernel.cmdline = cmdline.join(" ");
    board.config.push_str(&file.config);
    board.autoboot.push_str(&file.autoboot);
    check(&board).with_context(|| source.name())?;
    Ok(board)
}

fn set_path(folder: &Path, name: &str) -> Result<PathBuf> {
    let sets = folder.join("sets");
    let known = names(&sets)?;
    ensure!(
        known.iter().any(|set| set == name),
        "there is no set {name:?}; the sets are {}{}",
        known.join(", "),
        suggest::hint(name, known.iter().map(String::as_str))
    );
    Ok(sets.join(format!("{name}.toml")))
}

fn add_modules(modules: &mut Modules, file: ModulesFile, source: &TomlFile) {
    let patterns = |list: Vec<Spanned<String>>| {
        list.into_iter()
            .map(|pattern| Pattern {
                place: source.place(pattern.span().start),
                text: pattern.into_inner(),
            })
            .collect::<Vec<_>>()
    };
    modules.keep.extend(patterns(file.keep));
    modules.initramfs.extend(patterns(file.initramfs));
    modules.early.extend(patterns(file.early));
}

/// Holds a board to what the rest of the system relies on.
fn check(board: &Board) -> Result<()> {
    sources::pool(&board.kernel.suite).context("kernel.suite")?;
    let cmdline = &board.kernel.cmdline;
    ensure!(
        !cmdline.contains(['\n', '"']),
        "kernel.cmdline has to be one line without quotes"
    );
    for part in ["rubus.slot=PARTUUID={slot}", "cgroup_enable=memory"] {
        ensure!(
            cmdline.split(' ').any(|word| word == part),
            "kernel.cmdline lacks {part}, without which the system does not start"
        );
    }
    let last_console = cmdline
        .split(' ')
        .filter_map(|word| word.strip_prefix("console="))
        .next_back()
        .map(|console| console.split(',').next().unwrap_or(console));
    ensure!(
        last_console.is_some() && last_console == board.kernel.consoles.last().map(String::as_str),
        "the last console= of kernel.cmdline has to be the last of kernel.consoles"
    );
    ensure!(
        board.autoboot.len() <= 512,
        "autoboot is longer than the 512 bytes that the firmware reads"
    );
    let mut all_names: Vec<&String> = board.kernel.dtbs.values().flatten().collect();
    all_names.sort();
    for pair in all_names.windows(2) {
        ensure!(
            pair[0] != pair[1],
            "kernel.dtbs gives the name {} to two device trees",
            pair[0]
        );
    }
    if let Some(machine) = &board.qemu {
        machine.parse::<Machine>().context("qemu")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOARD: &str = r#"
description = "x"
models = ["x"]
sets = ["one"]
partition_table = "mbr"
config = "last\n"

[kernel]
packages = ["linux-image-arm64"]
suite = "trixie"
cmdline = "rubus.slot=PARTUUID={slot} console=tty0 console=ttyS1,115200"
consoles = ["ttyS1"]
dtbs = { a = ["a", "b"] }

[modules]
initramfs = ["own"]
"#;
    const SET: &str = r#"
cmdline = "cgroup_enable=memory"
config = "first\n"
[modules]
initramfs = ["shared"]
"#;

    /// A folder with a board `abc` and a set `one`, with a change to each.
    fn folder(board: (&str, &str), set: (&str, &str)) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sets")).unwrap();
        let write = |name: &str, text: &str, (from, to): (&str, &str)| {
            assert!(text.contains(from));
            fs::write(folder.path().join(name), text.replacen(from, to, 1)).unwrap();
        };
        write("abc.toml", BOARD, board);
        write("sets/one.toml", SET, set);
        folder
    }

    fn error(board: (&str, &str), set: (&str, &str)) -> String {
        let folder = folder(board, set);
        format!("{:#}", load(folder.path(), "abc").unwrap_err())
    }

    #[test]
    fn a_board_and_its_sets_become_one() {
        let folder = folder(("", ""), ("", ""));
        let board = load(folder.path(), "abc").unwrap();
        let initramfs: Vec<&str> = board
            .modules
            .initramfs
            .iter()
            .map(|pattern| pattern.text.as_str())
            .collect();
        assert_eq!(initramfs, ["own", "shared"]);
        assert!(board.modules.initramfs[0].place.ends_with("abc.toml:16"));
        assert!(board.modules.initramfs[1].place.ends_with("one.toml:5"));
        assert_eq!(board.config, "first\nlast\n");
        assert_eq!(
            board.kernel.cmdline,
            "cgroup_enable=memory rubus.slot=PARTUUID={slot} console=tty0 console=ttyS1,115200"
        );
        assert_eq!(names(folder.path()).unwrap(), ["abc"]);
    }

    #[test]
    fn an_unknown_board_is_an_error_that_knows_better() {
        let folder = folder(("", ""), ("", ""));
        let error = load(folder.path(), "abd").unwrap_err().to_string();
        assert!(error.contains("; did you mean `abc`?"), "{error}");
        let error = load(folder.path(), "toaster").unwrap_err().to_string();
        assert!(!error.contains("did you mean"), "{error}");
        assert!(error.contains("the boards are abc"), "{error}");
        assert!(load(folder.path(), "../abc").is_err());
    }

    #[test]
    fn errors_name_file_line_and_key() {
        let nothing = ("", "");
        for (board, set, expected) in [
            (
                ("suite", "sute"),
                nothing,
                "abc.toml:10: unknown key \"sute\"; the keys here are packages, suite, cmdline, consoles, dtbs; did you mean `suite`?",
            ),
            (
                ("initramfs", "initramfs2"),
                nothing,
                "abc.toml:16: unknown key \"initramfs2\"",
            ),
            (
                nothing,
                ("config", "confg"),
                "one.toml:3: unknown key \"confg\"; the keys here are cmdline, modules, firmware, config, autoboot; did you mean `config`?",
            ),
            (
                ("description = \"x\"\n", ""),
                nothing,
                "the key \"description\" is missing",
            ),
            (("\"mbr\"", "\"dos\""), nothing, "abc.toml:5: "),
            (
                ("[\"one\"]", "[\"on\"]"),
                nothing,
                "abc.toml:4: there is no set \"on\"; the sets are one; did you mean `one`?",
            ),
            (nothing, ("[modules]", "[modules"), "one.toml:4: "),
        ] {
            let error = error(board, set);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_would_not_boot_is_refused() {
        let nothing = ("", "");
        for (board, set, expected) in [
            (("={slot}", "=0"), nothing, "rubus.slot"),
            (
                ("\"trixie\"", "\"trixy\""),
                nothing,
                "kernel.suite: there is no suite \"trixy\"; did you mean \"trixie\"?",
            ),
            (
                nothing,
                ("cgroup_enable=memory", "quiet"),
                "cgroup_enable=memory",
            ),
            ((" console=ttyS1,115200", ""), nothing, "console="),
            (
                ("[\"a\", \"b\"]", "[\"a\"], b = [\"a\"]"),
                nothing,
                "the name a to two",
            ),
        ] {
            let error = error(board, set);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_boards_of_the_checkout_are_sound() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../boards");
        for board in boards(&folder).unwrap() {
            assert!(board.kernel.cmdline.contains(" panic=5 "), "{}", board.name);
            // What firmware looks for: on p1 where to go on, in a slot what
            // to start.
            let is_pi = board.name.starts_with("rpi");
            assert_eq!(board.autoboot.contains("boot_partition=2"), is_pi);
            assert_eq!(board.config.contains("kernel=vmlinuz"), is_pi);
            assert_eq!(board.kernel.dtbs.is_empty(), !is_pi);
        }
        assert_eq!(
            names(&folder).unwrap(),
            ["qemu-virt", "rpi3", "rpi4", "rpi5"]
        );
    }
}
