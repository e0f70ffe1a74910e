//! Random bytes.

use std::io;

/// Random bytes, once the kernel has gathered enough entropy.
pub(crate) fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    fill(0)
}

/// Random bytes at once, for identifiers that must differ but need not be hard
/// to guess: in the initramfs of a board without a random number generator the
/// kernel may take seconds to gather entropy.
pub(crate) fn bytes_now<const N: usize>() -> io::Result<[u8; N]> {
    fill(libc::GRND_INSECURE)
}

fn fill<const N: usize>(flags: libc::c_uint) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: the buffer is `N` bytes long and outlives the call.
    let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, flags) };
    match usize::try_from(filled) {
        Ok(filled) if filled == N => Ok(bytes),
        Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}
