//! The commands that tests call, and where things are.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

/// The top of the checkout.
pub fn project() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A folder for what tests make and may find again.
pub fn scratch() -> PathBuf {
    let folder = target().join("rubus-tests");
    fs::create_dir_all(&folder).expect("the target folder is writable");
    folder
}

/// Where cargo puts what it makes.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => project().join(folder),
        None => project().join("target"),
    }
}

/// The `rubus` command, as `cargo build --release` left it.
///
/// # Panics
/// When it was not built.
pub fn rubus() -> Command {
    let path = target().join("release/rubus");
    assert!(
        path.is_file(),
        "{} is missing; run tests/run, or `cargo build --release` first",
        path.display()
    );
    let mut command = Command::new(path);
    command.current_dir(project()).stdin(Stdio::null());
    command
}

/// Runs a command to its end and returns what it printed.
///
/// # Panics
/// When it cannot be started, with the name of the Debian package that has it.
pub fn run(command: &mut Command) -> Output {
    match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => {
            panic!("cannot start {command:?}: {error}; tests/run installs what is missing")
        }
    }
}

/// Runs a command that has to succeed and returns its standard output.
///
/// # Panics
/// When it fails.
pub fn must(command: &mut Command) -> String {
    let output = run(command);
    assert!(
        output.status.success(),
        "{command:?} failed with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command that has to fail with the given status and returns what it
/// said on standard error.
///
/// # Panics
/// When it succeeds, or fails in another way.
pub fn must_fail(command: &mut Command, status: i32) -> String {
    let output = run(command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{command:?}: {said}");
    assert!(!said.contains("panicked"), "{command:?}: {said}");
    said
}

/// A command that only root may run: by itself for root, through `sudo` for
/// others.
pub fn as_root(program: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(r#"[ "$(id -u)" = 0 ] || exec sudo -n "$@"; exec "$@""#)
        .args(["sh", program]);
    command
}

/// The private key that test images let in; the public one is beside it.
pub fn ssh_key() -> PathBuf {
    static KEY: OnceLock<PathBuf> = OnceLock::new();
    KEY.get_or_init(|| {
        let key = scratch().join("id_ed25519");
        // Test programs run at the same time.
        let lock = File::create(scratch().join("id_ed25519.lock")).expect("it is writable");
        lock.lock().expect("a file can be locked");
        if !key.exists() {
            must(
                Command::new("ssh-keygen")
                    .args(["-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f"])
                    .arg(&key),
            );
        }
        key
    })
    .clone()
}
