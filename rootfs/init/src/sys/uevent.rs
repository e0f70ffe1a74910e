//! The kernel's announcements of devices.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The multicast group in which the kernel itself announces.
const KERNEL_GROUP: u32 = 1;

/// Hears whenever a device comes or goes.
pub(crate) struct Uevents(OwnedFd);

impl Uevents {
    /// Begins to listen.
    pub(crate) fn open() -> io::Result<Self> {
        // SAFETY: creates a socket; no memory is involved.
        let fd = unsafe {
            libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
                libc::NETLINK_KOBJECT_UEVENT,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and has no other owner.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all zeros is a valid value of this plain structure.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        address.nl_groups = KERNEL_GROUP;
        // SAFETY: `address` is a whole `sockaddr_nl` and outlives the call.
        let bound = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_nl>() as libc::socklen_t,
            )
        };
        match bound {
            0 => Ok(Self(socket)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Waits until something was announced or `longest` has passed. What was
    /// announced is thrown away: the caller looks at the devices themselves.
    pub(crate) fn wait(&self, longest: Duration) {
        let timeout = PollTimeout::try_from(longest).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        // An interrupted wait is a short one; the caller looks and waits again.
        let _ = poll(&mut fds, timeout);
        let mut message = [0_u8; 4096];
        // SAFETY: the buffer has the given length and outlives the call.
        while unsafe {
            libc::recv(
                self.0.as_raw_fd(),
                message.as_mut_ptr().cast(),
                message.len(),
                0,
            )
        } > 0
        {}
    }
}
