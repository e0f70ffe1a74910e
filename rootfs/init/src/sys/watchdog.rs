//! The hardware watchdog.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;

/// `WDIOC_SETTIMEOUT` of `linux/watchdog.h`.
const SET_TIMEOUT: libc::Ioctl = 0xC004_5706_u32 as libc::Ioctl;

/// `WDIOC_SETOPTIONS` of `linux/watchdog.h`.
const SET_OPTIONS: libc::Ioctl = 0x8004_5704_u32 as libc::Ioctl;
const DISABLE: libc::c_int = 1;

/// A running watchdog: unless it is pinged in time, it resets the machine.
pub(crate) struct Watchdog(File);

impl Watchdog {
    /// Starts the watchdog at `path` with the given timeout, and returns it
    /// with the timeout that the hardware could take.
    pub(crate) fn start(path: &str, seconds: u32) -> io::Result<(Self, u32)> {
        let device = OpenOptions::new().write(true).open(path)?;
        let mut timeout = seconds.cast_signed();
        // SAFETY: the request reads and writes one int, which outlives it. A
        // watchdog that cannot change its timeout keeps the one it has.
        if unsafe { libc::ioctl(device.as_raw_fd(), SET_TIMEOUT, &raw mut timeout) } < 0 {
            timeout = seconds.cast_signed();
        }
        Ok((Self(device), timeout.cast_unsigned()))
    }

    /// Says that all is well.
    pub(crate) fn ping(&self) -> io::Result<()> {
        (&self.0).write_all(b"\0")
    }

    /// A second handle on the same watchdog.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Stops the watchdog, where the hardware can be stopped: a machine that
    /// is switched off must not be reset.
    pub(crate) fn stop(&self) {
        let option = DISABLE;
        // SAFETY: the request reads one int, which outlives it.
        unsafe { libc::ioctl(self.0.as_raw_fd(), SET_OPTIONS, &raw const option) };
    }
}
