//! Kernel modules.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// `MODULE_INIT_COMPRESSED_FILE`: the kernel decompresses the file.
const COMPRESSED_FILE: libc::c_int = 4;

/// Loads a module file. That it is loaded already is no error.
pub(crate) fn load(file: &Path, options: &str) -> io::Result<()> {
    let flags = if file.extension().is_some_and(|e| e == "ko") {
        0
    } else {
        COMPRESSED_FILE
    };
    let options = CString::new(options)?;
    let file = File::open(file)?;
    // SAFETY: the descriptor is open and `options` ends with a null byte; both
    // outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_finit_module,
            file.as_raw_fd(),
            options.as_ptr(),
            flags,
        )
    };
    match result {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            error => Err(error),
        },
    }
}

/// Removes a module by name, unless it is in use.
pub(crate) fn unload(name: &str) -> io::Result<()> {
    let name = CString::new(name)?;
    // SAFETY: `name` ends with a null byte and outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_delete_module, name.as_ptr(), libc::O_NONBLOCK) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
