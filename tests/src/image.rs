//! Images under test.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use crate::tools::{must, rubus, scratch, ssh_key};

/// The image of a board, built with the key of the tests. Test programs run at
/// the same time: one of them builds, the others wait and find it done.
///
/// # Panics
/// When it cannot be built.
pub fn image(board: &str) -> PathBuf {
    image_with("out", board, &[])
}

/// The same with more arguments to `rubus build`, in a folder of its own.
///
/// # Panics
/// When it cannot be built.
pub fn image_with(folder: &str, board: &str, args: &[&str]) -> PathBuf {
    let out = scratch().join(folder);
    fs::create_dir_all(&out).expect("the target folder is writable");
    let lock = File::create(out.join(".lock")).expect("the target folder is writable");
    lock.lock().expect("a file can be locked");
    must(
        rubus()
            .args(["build", "--locked", "--board", board, "--out"])
            .arg(&out)
            .arg("--ssh-key")
            .arg(ssh_key().with_extension("pub"))
            .args(args),
    );
    out.join(format!("rubus-{board}.img"))
}
