//! Kernel packages for tests: a kernel of a few modules, or real ones.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
    write::{Object, Symbol, SymbolSection},
};
use rubus::{
    board::{Board, EXCLUDE},
    tree::{Node, Tree},
};

/// The release of the synthetic kernel.
pub(crate) const RELEASE: &str = "1.2.3-test";
/// Its `vmlinuz`.
pub(crate) const IMAGE: &[u8] = &[7; 100_000];

/// A module: what it says of itself, the symbol that it offers, and the
/// symbols that it uses.
pub(crate) struct Module {
    /// `.modinfo`.
    pub(crate) info: &'static [&'static str],
    /// What it exports.
    pub(crate) exports: &'static str,
    /// What it imports.
    pub(crate) imports: &'static [&'static str],
}

/// The modules of the synthetic kernel, by path below the release.
pub(crate) const MODULES: [(&str, Module); 7] = [
    (
        "kernel/net/mii.ko.xz",
        Module {
            info: &["license=GPL", "depends=", "name=mii"],
            exports: "mii_link",
            imports: &[],
        },
    ),
    (
        "kernel/net/usb/usbnet.ko.xz",
        Module {
            info: &["depends=mii", "name=usbnet"],
            exports: "usbnet_probe",
            imports: &["mii_link"],
        },
    ),
    (
        "kernel/net/usb/smsc95xx.ko.xz",
        Module {
            info: &[
                "alias=usb:v0424p9E00d*dc*dsc*dp*ic*isc*ip*in*",
                "alias=smsc-95[0-9]-plain",
                "alias=plain-alias",
                "softdep=pre: phy-soft post: absent-soft",
                "depends=usbnet",
                "name=smsc95xx",
            ],
            exports: "",
            imports: &["usbnet_probe"],
        },
    ),
    (
        "kernel/net/phy/phy-soft.ko.xz",
        Module {
            info: &["alias=plain-alias", "depends=", "name=phy_soft"],
            exports: "",
            imports: &[],
        },
    ),
    (
        "kernel/drivers/tun.ko.xz",
        Module {
            info: &[
                "alias=devname:net/tun",
                "alias=char-major-10-200",
                "depends=",
            ],
            exports: "",
            imports: &[],
        },
    ),
    (
        "kernel/crypto/crc32c.ko.xz",
        Module {
            info: &["alias=crypto-crc32c", "depends="],
            exports: "",
            imports: &[],
        },
    ),
    (
        "kernel/broken/needs-absent.ko.xz",
        Module {
            info: &["depends=absent-module"],
            exports: "",
            imports: &[],
        },
    ),
];

/// The bytes of a module, uncompressed.
pub(crate) fn module(module: &Module) -> Vec<u8> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::Aarch64, Endianness::Little);
    let mut section = |name: &str, strings: &[&str]| {
        let id = object.add_section(Vec::new(), name.into(), SectionKind::ReadOnlyData);
        let bytes: Vec<u8> = strings
            .iter()
            .flat_map(|text| text.bytes().chain([0]))
            .collect();
        object.append_section_data(id, &bytes, 1);
    };
    section(".modinfo", module.info);
    section("__ksymtab_strings", &[module.exports]);
    for name in module.imports {
        object.add_symbol(Symbol {
            name: name.as_bytes().to_vec(),
            value: 0,
            size: 0,
            kind: SymbolKind::Unknown,
            scope: SymbolScope::Unknown,
            weak: false,
            section: SymbolSection::Undefined,
            flags: SymbolFlags::None,
        });
    }
    object.write().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut out = liblzma::write::XzEncoder::new(Vec::new(), 1);
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// The unpacked packages of the synthetic kernel.
pub(crate) fn synthetic() -> Tree {
    let mut tree = Tree::new();
    let mut add = |path: &str, bytes: &[u8]| {
        tree.insert(path, Node::file(0o644, bytes.to_vec()))
            .unwrap();
    };
    add(&format!("boot/vmlinuz-{RELEASE}"), IMAGE);
    add(
        &format!("usr/lib/linux-image-{RELEASE}/broadcom/bcm1-a.dtb"),
        b"tree",
    );
    let at = |path: &str| format!("usr/lib/modules/{RELEASE}/{path}");
    let order: String = MODULES
        .iter()
        .rev()
        .map(|(path, _)| format!("{}\n", path.trim_end_matches(".xz")))
        .collect();
    add(&at("modules.order"), order.as_bytes());
    add(
        &at("modules.builtin"),
        b"kernel/lib/in-kernel.ko\nkernel/fs/ext2.ko\n",
    );
    add(
        &at("modules.builtin.modinfo"),
        b"in_kernel.license=GPL\0in_kernel.alias=builtin-alias\0ext2.alias=fs-ext2\0",
    );
    for (path, definition) in &MODULES {
        add(&at(path), &xz(&module(definition)));
    }
    add(&at("kernel/broken/damaged.ko.xz"), &xz(&[1; 10_000])[..100]);
    add(&at("kernel/broken/not-elf.ko.xz"), &xz(&[1; 10_000]));
    tree
}

/// The packages of a board's kernel out of `RUBUS_TEST_PACKAGES`: its own and
/// the parts of the kernel that they depend on.
pub(crate) fn of_board(board: &Board) -> Result<Tree> {
    let mut tree = Tree::new();
    let mut wanted = board.kernel.packages.clone();
    let backports = board.kernel.suite.ends_with("-backports");
    let mut done = Vec::new();
    while let Some(name) = wanted.pop() {
        let file = package(&name, backports)?;
        if done.contains(&file) {
            continue;
        }
        let depends = output(Command::new("dpkg-deb").arg("-f").arg(&file).arg("Depends"))?;
        let depends = String::from_utf8(depends)?;
        let names = depends
            .split([',', '|'])
            .filter_map(|part| part.split_whitespace().next())
            .filter(|name| !EXCLUDE.contains(name));
        wanted.extend(names.map(str::to_owned));
        tree.merge("", &unpack(&file)?)?;
        done.push(file);
    }
    Ok(tree)
}

/// The firmware packages of a board, likewise.
pub(crate) fn firmware_of(board: &Board) -> BTreeMap<String, Tree> {
    board
        .firmware
        .iter()
        .map(|spec| {
            let tree = unpack(&package(&spec.package, false).unwrap()).unwrap();
            (spec.package.clone(), tree)
        })
        .collect()
}

fn package(name: &str, backports: bool) -> Result<PathBuf> {
    let folder =
        std::env::var_os("RUBUS_TEST_PACKAGES").context("RUBUS_TEST_PACKAGES is not set")?;
    let mut files: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|path| {
        let file = path.file_name().unwrap().to_string_lossy();
        file.split('_').next() == Some(name) && file.contains("~bpo") == backports
    });
    ensure!(files.len() == 1, "packages named {name}: {files:?}");
    Ok(files.remove(0))
}

fn unpack(file: &PathBuf) -> Result<Tree> {
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(file)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut tree = Tree::new();
    let mut archive = tar::Archive::new(child.stdout.take().unwrap());
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let path = path
            .trim_start_matches("./")
            .trim_end_matches('/')
            .to_owned();
        let kind = entry.header().entry_type();
        let path = match path.strip_prefix("lib/") {
            Some(rest) => format!("usr/lib/{rest}"),
            None => path,
        };
        if kind.is_file() {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            tree.insert(&path, Node::file(0o644, bytes))?;
        } else if kind.is_symlink() {
            let target = entry.link_name()?.unwrap().to_string_lossy().into_owned();
            tree.insert(&path, Node::symlink(target))?;
        }
    }
    ensure!(child.wait()?.success(), "dpkg-deb failed");
    Ok(tree)
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {output:?}");
    Ok(output.stdout)
}
