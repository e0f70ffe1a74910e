//! `ros engine add`: an engine of the user's own becomes a bundle beside those
//! of the image.

mod source;
mod unpack;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use rubus_config::paths;
use rubus_service::{Identity, Service, is_name, oci::Config};
use serde_json::json;

use super::{ENGINES, cli::Add};
use crate::client::Client;
use crate::compose;
use crate::engine::Engine;
use crate::output::{self, Output};
use unpack::Budget;

/// No engine is larger.
const LARGEST: u64 = 2 << 30;
/// Where programs are looked for, as `PATH` of the service has them.
const FOLDERS: [&str; 6] = [
    "usr/local/sbin",
    "usr/local/bin",
    "usr/sbin",
    "usr/bin",
    "sbin",
    "bin",
];
/// Without these nothing is an engine.
const PROGRAMS: [&str; 4] = ["dockerd", "containerd", "containerd-shim-runc-v2", "runc"];
/// How our own first process tells them what to do; the image's own engine has
/// these.
const CONFIGURATION: [&str; 2] = ["etc/docker/daemon.json", "etc/containerd/config.toml"];
/// Whom the engine believes; taken from the image where it brings none.
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

/// `ros engine add`
pub(super) fn run(client: &Client, host: &Path, add: &Add, output: Output) -> Result<()> {
    let name = &add.name;
    if !is_name(name) {
        bail!(
            "{name} cannot name an engine; use lower case letters, digits, `-` and `.`, at most 63"
        );
    }
    let known = client.variants(ENGINES.service)?;
    if known.variants.iter().any(|it| it.name == *name) {
        bail!("there is an engine {name} already; choose another name, or remove it first");
    }
    let inside = |path: &str| host.join(path.trim_start_matches('/'));
    let own = inside(paths::SERVICES).join(ENGINES.service);
    let folder = inside(paths::STATE).join("variants").join(ENGINES.service);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let unfinished = Unfinished::new(&folder, name)?;
    let root = unfinished.path.join("rootfs");
    fs::create_dir(&root).with_context(|| format!("cannot make {}", root.display()))?;
    let mut budget = Budget::of(&folder, LARGEST)?;

    let from = &add.source;
    let cannot = || format!("cannot take an engine from {from}");
    if is_file(from) {
        output.line(&format!("unpacking {from}"))?;
        source::unpack_file(Path::new(from), &root, &mut budget).with_context(cannot)?;
    } else {
        let engine = Engine::new(&inside(paths::ENGINE_SOCKET));
        unpack_image(&engine, from, &root, &mut budget, output).with_context(cannot)?;
    }
    check(&root).with_context(cannot)?;
    complete(&unfinished.path, &own, name)?;
    unfinished.finish(&folder.join(name))?;
    Ok(output.line(&format!(
        "{name} is added; `ros engine switch {name}` runs it"
    ))?)
}

/// Whether a file is meant, and not an image of a registry.
fn is_file(source: &str) -> bool {
    source.starts_with(['/', '.']) || Path::new(source).is_file()
}

/// A bundle that is being made. It goes away unless it is finished: nobody
/// finds half an engine.
struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    fn new(folder: &Path, name: &str) -> Result<Self> {
        // Not a name that a variant can have.
        let path = folder.join(format!(".{name}.new"));
        if path.exists() {
            fs::remove_dir_all(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }

    /// Gives it its name once all of it is on the card.
    fn finish(self, target: &Path) -> Result<()> {
        let cannot = || format!("cannot finish {}", target.display());
        rustix::fs::syncfs(File::open(&self.path)?).with_context(cannot)?;
        fs::rename(&self.path, target).with_context(cannot)?;
        let folder = target.parent().unwrap_or(Path::new("/"));
        File::open(folder)?.sync_all().with_context(cannot)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Not there any more where it was finished.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Has the engine that runs fetch an image, and takes the root filesystem of a
/// container of it, which is never started.
fn unpack_image(
    engine: &Engine,
    image: &str,
    root: &Path,
    budget: &mut Budget,
    output: Output,
) -> Result<()> {
    if !engine.has_image(image)? {
        output.line(&format!("fetching {image}"))?;
        compose::pull(engine, image, output)?;
    }
    output.line(&format!("unpacking {image}"))?;
    let container = format!("ros-engine-add-{}", std::process::id());
    // An image from scratch names no command, and a container has to have one.
    engine.create(&container, &json!({ "Image": image, "Cmd": ["none"] }))?;
    let unpacked = engine
        .export(&container)
        .map_err(anyhow::Error::from)
        .and_then(|archive| unpack::unpack(archive, root, budget, false));
    if let Err(error) = engine.remove(&container) {
        output::complain(&format!(
            "ros: cannot remove the container {container}: {error}"
        ));
    }
    unpacked
}

/// Refuses what is no engine, or none for this board.
fn check(root: &Path) -> Result<()> {
    for program in PROGRAMS {
        let found = FOLDERS
            .iter()
            .filter(|folder| is_folder(root, folder))
            .map(|folder| root.join(folder).join(program))
            .find(|path| fs::symlink_metadata(path).is_ok_and(|it| it.is_file()))
            .ok_or_else(|| {
                anyhow!(
                    "it has no {program}; it has to be a root filesystem with the programs of an \
                     engine in /usr/bin or the like"
                )
            })?;
        let mut head = Vec::new();
        File::open(&found)?.take(20).read_to_end(&mut head)?;
        if let Some(why) = wrong_machine(&head) {
            bail!("its {program} {why}");
        }
    }
    Ok(())
}

/// Whether no part of a path below the root is a link.
fn is_folder(root: &Path, folder: &str) -> bool {
    let mut path = root.to_owned();
    Path::new(folder).components().all(|part| {
        path.push(part);
        fs::symlink_metadata(&path).is_ok_and(|it| it.is_dir())
    })
}

/// Why a program does not run on this machine, by the head of its file. A
/// script may be anything.
fn wrong_machine(head: &[u8]) -> Option<String> {
    if head.starts_with(b"#!") {
        return None;
    }
    let machine = match (head, head.get(18..20)) {
        ([0x7f, b'E', b'L', b'F', ..], Some(&[low, high])) => u16::from_le_bytes([low, high]),
        _ => return Some("is no program".to_owned()),
    };
    let known = [
        (62, "x86_64"),
        (183, "aarch64"),
        (40, "arm"),
        (243, "riscv64"),
    ];
    let name = known.iter().find(|it| it.0 == machine).map(|it| it.1);
    let ours = std::env::consts::ARCH;
    (name != Some(ours)).then(|| {
        let name = name.unwrap_or("another processor");
        format!("is for {name}, and this board is {ours}")
    })
}

/// Adds to a root filesystem what makes it a bundle that runs as the image's
/// own engine does.
fn complete(bundle: &Path, own: &Path, name: &str) -> Result<()> {
    let root = bundle.join("rootfs");
    let read = |path: &str| {
        let path = own.join(path);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let service: Service = serde_json::from_slice(&read("service.json")?)
        .context("cannot understand the definition of the image's own engine")?;
    if let Some(program) = &service.krate {
        let path = format!("usr/bin/{program}");
        unpack::replace(&root, &path, &read(&format!("rootfs/{path}"))?, 0o755)?;
    }
    for path in CONFIGURATION {
        unpack::replace(&root, path, &read(&format!("rootfs/{path}"))?, 0o644)?;
    }
    if fs::symlink_metadata(root.join(CERTIFICATES)).is_err() {
        let own = read(&format!("rootfs/{CERTIFICATES}"))?;
        unpack::replace(&root, CERTIFICATES, &own, 0o644)?;
    }
    let groups = with_groups(&read_text(&root, "etc/group"), &service);
    unpack::replace(&root, "etc/group", groups.as_bytes(), 0o644)?;
    // Its second socket is there.
    let var = unpack::make_folders(&root, Path::new("var"))?;
    if fs::symlink_metadata(var.join("run")).is_err() {
        std::os::unix::fs::symlink("../run", var.join("run"))?;
    }
    let service = definition(service, name);
    let config = Config::new(&service, &Identity::root());
    let write = |path: &str, text: &[u8]| {
        fs::write(bundle.join(path), text).with_context(|| format!("cannot write {path} of {name}"))
    };
    write("config.json", config.to_json().as_bytes())?;
    write("service.json", &serde_json::to_vec_pretty(&service)?)
}

/// A file of the root filesystem; empty where it is none.
fn read_text(root: &Path, path: &str) -> String {
    let path = root.join(path);
    let is_file = fs::symlink_metadata(&path).is_ok_and(|it| it.is_file());
    let text = is_file.then(|| fs::read(path).unwrap_or_default());
    String::from_utf8_lossy(&text.unwrap_or_default()).into_owned()
}

/// The groups of a root filesystem with those of the service, whose numbers
/// other services know.
fn with_groups(text: &str, service: &Service) -> String {
    let ours = |name: &str| service.groups.iter().any(|it| it.name == name);
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !ours(line.split(':').next().unwrap_or_default()))
        .map(str::to_owned)
        .collect();
    lines.extend(
        service
            .groups
            .iter()
            .map(|it| format!("{}:x:{}:", it.name, it.gid)),
    );
    lines.join("\n") + "\n"
}

/// The definition of an added engine: run as the image's own, made of something
/// else.
fn definition(own: Service, name: &str) -> Service {
    Service {
        description: "Docker engine, added on this node".to_owned(),
        variant: Some(name.to_owned()),
        version: None,
        version_of: None,
        packages: Vec::new(),
        suite: None,
        exclude: Vec::new(),
        image: None,
        remove: Vec::new(),
        links: Default::default(),
        ..own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(machine: u8) -> Vec<u8> {
        let mut head = b"\x7fELF".to_vec();
        head.resize(18, 0);
        head.extend([machine, 0]);
        head
    }

    #[test]
    fn a_program_for_another_processor_is_refused() {
        let (ours, other) = if std::env::consts::ARCH == "aarch64" {
            (183, 62)
        } else {
            (62, 183)
        };
        assert_eq!(wrong_machine(&elf(ours)), None);
        assert!(wrong_machine(&elf(other)).unwrap().starts_with("is for "));
        assert!(
            wrong_machine(&elf(7))
                .unwrap()
                .contains("another processor")
        );
        assert_eq!(wrong_machine(b"hello").unwrap(), "is no program");
        assert_eq!(wrong_machine(b"#!/bin/sh"), None);
    }

    #[test]
    fn a_path_or_a_file_is_no_image() {
        assert!(is_file("/tmp/engine.tar"));
        assert!(is_file("./engine.tar"));
        assert!(is_file("Cargo.toml"));
        assert!(!is_file("docker:28-dind"));
        assert!(!is_file("registry.lan:5000/engine"));
    }

    #[test]
    fn our_group_has_our_number() {
        let text = "description = \"d\"\nkind = \"daemon\"\ncommand = [\"c\"]\n\
                    groups = [{ name = \"docker\", gid = 998 }]\n";
        let service = Service::parse("docker", "f", text).unwrap();
        assert_eq!(
            with_groups("root:x:0:\ndocker:x:2375:dockremap\n", &service),
            "root:x:0:\ndocker:x:998:\n"
        );
        assert_eq!(with_groups("", &service), "docker:x:998:\n");
    }

    #[test]
    fn an_unfinished_one_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(Unfinished::new(folder.path(), "mine").unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let begun = Unfinished::new(folder.path(), "mine").unwrap();
        fs::write(begun.path.join("x"), "x").unwrap();
        std::mem::forget(begun);
        let again = Unfinished::new(folder.path(), "mine").unwrap();
        assert_eq!(fs::read_dir(&again.path).unwrap().count(), 0);
        again.finish(&folder.path().join("mine")).unwrap();
        let names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|it| it.unwrap().file_name())
            .collect();
        assert_eq!(names, ["mine"]);
    }
}
