//! Our own device programs, compiled by cargo for the board.
//!
//! The bytes must not depend on where the checkout, cargo's home or the
//! toolchain is, so all three are mapped to fixed names.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::OsStr,
    fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{project::Project, tree::Content, ui};

/// The platform of the device programs: static, no C library to match.
const TARGET: &str = "aarch64-unknown-linux-musl";
/// What a person sees this called.
pub const STEP: &str = "Device programs";
/// The cargo profile in the workspace's `Cargo.toml`.
const PROFILE: &str = "device";
/// Crate and executable of what every image holds.
const SYSTEM: &[(&str, &str)] = &[
    ("rubus-init", "init"),
    ("configure", "configure"),
    ("ros", "ros"),
    ("system-runtime", "system-runtime"),
];
/// Crate and executable of what function images hold.
const FUNCTIONS: &[(&str, &str)] = &[("watchdog", "fwatchdog")];

/// Compiled programs, by the name of their executable.
#[derive(Debug)]
pub struct Programs {
    files: BTreeMap<String, PathBuf>,
}

/// What the compiled programs were made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    sources: String,
    toolchain: String,
    programs: BTreeSet<String>,
}

impl Stamp {
    /// Whether everything that another one stands for is there.
    fn covers(&self, other: &Self) -> bool {
        self.is_like(other) && other.programs.is_subset(&self.programs)
    }

    /// What was compiled earlier from the same is there as well: an image with
    /// other services does not make the next one compile.
    fn add(&mut self, earlier: Self) {
        if self.is_like(&earlier) {
            self.programs.extend(earlier.programs);
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        (&self.sources, &self.toolchain) == (&other.sources, &other.toolchain)
    }
}

impl Programs {
    /// Compiles what an image with the given service crates needs, unless
    /// nothing changed since the last time. Where nobody watches (`quiet`), it
    /// says in plain lines how far it is, else cargo does.
    ///
    /// # Errors
    /// When the toolchain is missing or a program does not compile.
    pub fn compile(project: &Project, service_crates: &[String], quiet: bool) -> Result<Self> {
        let mut wanted: Vec<(String, String)> = SYSTEM
            .iter()
            .chain(FUNCTIONS)
            .map(|(krate, program)| ((*krate).to_owned(), (*program).to_owned()))
            .collect();
        wanted.extend(
            service_crates
                .iter()
                .map(|name| (name.clone(), name.clone())),
        );
        wanted.sort();

        let target_dir = target_dir(project);
        let folder = target_dir.join(TARGET).join(PROFILE);
        let files: BTreeMap<String, PathBuf> = wanted
            .iter()
            .map(|(_, program)| (program.clone(), folder.join(program)))
            .collect();
        let mut stamp = Stamp {
            sources: sources_digest(project)?,
            toolchain: toolchain()?,
            programs: files.keys().cloned().collect(),
        };
        let stamp_path = folder.join("rubus-programs.json");
        let last: Option<Stamp> = fs::read(&stamp_path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let there = files.values().all(|path| path.is_file());
        if !there || !last.as_ref().is_some_and(|last| last.covers(&stamp)) {
            ensure_target()?;
            // What is interrupted leaves some of the old and some of the new.
            let _ = fs::remove_file(&stamp_path);
            run_cargo(project, &target_dir, &wanted, quiet)?;
            if let Some(last) = last {
                stamp.add(last);
            }
            fs::write(&stamp_path, serde_json::to_vec(&stamp)?)
                .with_context(|| format!("cannot write {}", stamp_path.display()))?;
        }
        Ok(Self { files })
    }

    /// All programs, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Result<Content>)> {
        self.files
            .keys()
            .map(|name| (name.as_str(), self.content(name)))
    }

    /// The bytes of a program.
    ///
    /// # Errors
    /// When it was not asked for, or cannot be read.
    pub fn content(&self, program: &str) -> Result<Content> {
        let path = self
            .files
            .get(program)
            .with_context(|| format!("no program is called {program}"))?;
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(bytes.into())
    }
}

/// A digest of everything that device programs are compiled from.
///
/// # Errors
/// When a source cannot be read.
pub fn sources_digest(project: &Project) -> Result<String> {
    let mut digest = Sha256::new();
    for path in ["Cargo.toml", "Cargo.lock", "rootfs", "services"] {
        digest_sources(&project.root().join(path), &mut digest)
            .with_context(|| format!("cannot read {path} in {}", project.root().display()))?;
    }
    Ok(format!("{:x}", digest.finalize()))
}

fn digest_sources(path: &Path, digest: &mut Sha256) -> io::Result<()> {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> = fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        entries.sort();
        for entry in entries {
            digest_sources(&entry, digest)?;
        }
        return Ok(());
    }
    // Service definitions and their files are not compiled.
    let compiled = path.extension().is_some_and(|end| end == "rs")
        || path
            .file_name()
            .is_some_and(|name| name == "Cargo.toml" || name == "Cargo.lock")
        || path.components().any(|part| part.as_os_str() == "src");
    if compiled {
        let bytes = fs::read(path)?;
        digest.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(&bytes);
    }
    Ok(())
}

/// The compiler, in its own words.
///
/// # Errors
/// When there is none.
pub fn toolchain() -> Result<String> {
    output(rustc().arg("-vV"))
}

fn rustc() -> Command {
    Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

fn target_dir(project: &Project) -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => project.root().join(folder),
        None => project.root().join("target"),
    }
}

/// Adds the target to the toolchain where it is missing.
fn ensure_target() -> Result<()> {
    let libraries = output(rustc().args(["--print", "target-libdir", "--target", TARGET]))?;
    if Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    let status = Command::new("rustup")
        .args(["target", "add", TARGET])
        .stdin(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        _ => bail!(
            "the Rust toolchain has no target {TARGET} and rustup could not add it; \
             run `rustup target add {TARGET}`"
        ),
    }
}

fn run_cargo(
    project: &Project,
    target_dir: &Path,
    programs: &[(String, String)],
    quiet: bool,
) -> Result<()> {
    let sysroot = output(rustc().args(["--print", "sysroot"]))?;
    let home = cargo_home()?;
    let mut flags: Vec<String> = [
        "-Clinker=rust-lld",
        "-Clinker-flavor=ld.lld",
        "-Clink-self-contained=yes",
        "-Ctarget-feature=+crt-static",
        // No build id: it would be a digest of paths that are mapped below.
        "-Clink-arg=--build-id=none",
    ]
    .map(str::to_owned)
    .to_vec();
    for (from, to) in [
        (project.root().to_path_buf(), "/rubus"),
        (home, "/cargo"),
        (PathBuf::from(sysroot.trim()), "/rust"),
    ] {
        flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    }

    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(project.root())
        .args([
            "build",
            "--locked",
            "--profile",
            PROFILE,
            "--target",
            TARGET,
        ])
        .arg("--target-dir")
        .arg(target_dir)
        .stdin(Stdio::null())
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        // What `cargo run` sets for this program is not meant for another build.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_MANIFEST_DIR")
        .env_remove("RUSTUP_TOOLCHAIN_SOURCE");
    for (krate, _) in programs {
        cargo.args(["--package", krate]);
    }
    let status = if quiet {
        let names: Vec<&str> = programs.iter().map(|(_, name)| name.as_str()).collect();
        ui::note(STEP, &format!("compiling {}", names.join(", ")));
        report_programs(&mut cargo)
    } else {
        cargo.status()
    }
    .context("cannot start cargo")?;
    ensure!(
        status.success(),
        "the device programs do not compile; cargo says why above"
    );
    Ok(())
}

/// Runs cargo and says of each program when it is there: minutes of silence look
/// like a build that hangs.
fn report_programs(cargo: &mut Command) -> io::Result<ExitStatus> {
    let mut child = cargo
        .args(["--quiet", "--message-format", "json-render-diagnostics"])
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            if let Some(program) = finished_program(&line?) {
                ui::note(STEP, &format!("{program} is compiled"));
            }
        }
    }
    child.wait()
}

/// The program that a message of cargo says was compiled.
fn finished_program(message: &str) -> Option<String> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let executable = Path::new(message["executable"].as_str()?);
    let new = message["fresh"] == serde_json::Value::Bool(false);
    new.then(|| executable.file_name()?.to_str().map(str::to_owned))?
}

fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = env::var_os("CARGO_HOME") {
        return Ok(PathBuf::from(home));
    }
    let home = env::var_os("HOME").context("HOME is not set")?;
    Ok(PathBuf::from(home).join(".cargo"))
}

fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_owned();
    let name = Path::new(&name)
        .file_name()
        .unwrap_or(OsStr::new("?"))
        .to_string_lossy()
        .into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {name}; install Rust with rustup"))?;
    ensure!(
        output.status.success(),
        "{name} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8(output.stdout).with_context(|| format!("{name} printed something odd"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(sources: &str, programs: &[&str]) -> Stamp {
        Stamp {
            sources: sources.to_owned(),
            toolchain: "rustc 1".to_owned(),
            programs: programs.iter().map(|&it| it.to_owned()).collect(),
        }
    }

    #[test]
    fn what_was_compiled_for_one_image_is_there_for_another() {
        let all = stamp("a", &["init", "ntp", "wifi"]);
        assert!(all.covers(&stamp("a", &["init", "wifi"])));
        assert!(!all.covers(&stamp("b", &["init"])), "other sources");
        assert!(!all.covers(&stamp("a", &["init", "mdns"])));

        let mut now = stamp("a", &["mdns"]);
        now.add(all.clone());
        assert!(now.covers(&all));
        let mut now = stamp("b", &["mdns"]);
        now.add(all);
        assert_eq!(now, stamp("b", &["mdns"]), "of other sources");
    }

    #[test]
    fn a_program_that_cargo_has_just_compiled_is_reported() {
        let message =
            r#"{"reason":"compiler-artifact","executable":"/t/device/init","fresh":false}"#;
        assert_eq!(finished_program(message).as_deref(), Some("init"));
        for other in [
            &message.replace("false", "true"),
            r#"{"reason":"compiler-artifact","executable":null,"fresh":false}"#,
            r#"{"reason":"build-finished","success":true}"#,
            "what a build script prints",
        ] {
            assert_eq!(finished_program(other), None, "{other}");
        }
    }
}
