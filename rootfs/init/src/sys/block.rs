//! Block devices: loop devices and partitions of a disk in use.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;

/// `LOOP_CTL_GET_FREE` of `linux/loop.h`.
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
/// `LOOP_CONFIGURE` of `linux/loop.h`.
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;

/// `struct loop_info64`.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// A loop device that goes away with its last user.
pub(crate) struct LoopDevice {
    /// Its node below `/dev`.
    pub(crate) path: String,
    /// Keeps the device from going away before it is mounted.
    _device: File,
}

/// Puts a loop device, read-only, over `image`. It reads past the page cache:
/// what is mounted from it is cached already. The kernel reads through the
/// cache where the disk's blocks do not allow that.
pub(crate) fn loop_over(image: &File) -> io::Result<LoopDevice> {
    let control = File::open("/dev/loop-control")?;
    // SAFETY: this request takes no argument.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    let path = format!("/dev/loop{number}");
    let device = File::open(&path)?;
    let config = LoopConfig {
        fd: image.as_raw_fd().cast_unsigned(),
        block_size: 0,
        info: LoopInfo {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: `config` has the layout of `struct loop_config` and outlives the
    // call, which only reads it.
    if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(LoopDevice {
        path,
        _device: device,
    })
}

/// `BLKPG` of `linux/blkpg.h`.
const BLKPG: libc::Ioctl = 0x1269;
const BLKPG_ADD_PARTITION: libc::c_int = 1;

/// `struct blkpg_partition`.
#[repr(C)]
struct BlkpgPartition {
    start: i64,
    length: i64,
    number: libc::c_int,
    device_name: [u8; 64],
    volume_name: [u8; 64],
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct BlkpgArgument {
    operation: libc::c_int,
    flags: libc::c_int,
    length: libc::c_int,
    data: *const BlkpgPartition,
}

/// Tells the kernel of one more partition. Reading the whole table again is
/// refused while another partition of the disk is in use.
pub(crate) fn add_partition(disk: &str, number: u32, start: u64, length: u64) -> io::Result<()> {
    let too_big = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let disk = OpenOptions::new().read(true).open(disk)?;
    let partition = BlkpgPartition {
        start: start.try_into().map_err(too_big)?,
        length: length.try_into().map_err(too_big)?,
        number: number.try_into().map_err(too_big)?,
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let argument = BlkpgArgument {
        operation: BLKPG_ADD_PARTITION,
        flags: 0,
        length: size_of::<BlkpgPartition>().try_into().map_err(too_big)?,
        data: &raw const partition,
    };
    // SAFETY: `argument` and what it points to have the layouts of
    // `struct blkpg_ioctl_arg` and `struct blkpg_partition`, outlive the call,
    // and are only read by it.
    if unsafe { libc::ioctl(disk.as_raw_fd(), BLKPG, &raw const argument) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{BlkpgArgument, BlkpgPartition, LoopConfig, LoopInfo};

    #[test]
    fn structures_have_the_size_that_the_kernel_expects() {
        assert_eq!(size_of::<LoopInfo>(), 232);
        assert_eq!(size_of::<LoopConfig>(), 304);
        assert_eq!(size_of::<BlkpgPartition>(), 152);
        assert_eq!(size_of::<BlkpgArgument>(), 24);
    }
}
