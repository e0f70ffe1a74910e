//! PID 1 of Rubus, in the initramfs and in the system root; also `modprobe`.
//!
//! One program, because each of its roles is small and all of them need the
//! same few things:
//!
//! - called `modprobe`, it loads modules ([`modprobe`]);
//! - as process 1 on the kernel's initramfs, it finds and mounts the system
//!   root and becomes it ([`initramfs`]);
//! - as process 1 on the system root, it prepares the machine, launches
//!   `system-runtime` and stays to reap and supervise ([`system`],
//!   [`supervise`]).

mod cmdline;
mod failure;
mod initramfs;
mod log;
mod modprobe;
mod mounts;
mod program;
mod shutdown;
mod steps;
mod supervise;
mod sys;
mod system;
mod table;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let program = args.next().unwrap_or_default();
    let args: Vec<OsString> = args.collect();
    if Path::new(&program)
        .file_name()
        .is_some_and(|n| n == "modprobe")
    {
        return modprobe::main(&args);
    }
    if std::process::id() != 1 {
        eprintln!("init: this program is process 1; the kernel starts it, people use `ros`");
        return ExitCode::from(2);
    }
    let failed = if initramfs::is_root() {
        initramfs::run()
    } else {
        system::run()
    };
    failure::give_up(&failed)
}
