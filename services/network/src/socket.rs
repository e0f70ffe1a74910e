//! The sockets that DHCP needs: one below IP, because a host without an address
//! cannot use UDP, and one of UDP to renew with a server that is elsewhere.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use crate::dhcp::message::{CLIENT_PORT, SERVER_PORT};

/// Takes and gives IP packets of one link.
pub(crate) struct PacketSocket {
    fd: OwnedFd,
    index: i32,
}

impl PacketSocket {
    /// Opens the link of this number for packets to a DHCP client.
    ///
    /// # Errors
    /// When the link is gone, or raw sockets are not allowed.
    pub(crate) fn open(index: u32) -> io::Result<Self> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // Protocol 0: nothing arrives before the filter is there and the
        // socket is bound.
        // SAFETY: no pointers are passed.
        let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let index = i32::try_from(index).map_err(io::Error::other)?;
        let socket = Self { fd, index };
        socket.attach_filter()?;
        let address = socket.address();
        // SAFETY: the address is valid for its length during the call.
        check(unsafe {
            libc::bind(
                socket.fd.as_raw_fd(),
                (&raw const address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        })?;
        Ok(socket)
    }

    /// Sends an IP packet to everyone on the link.
    ///
    /// # Errors
    /// When the link is down or gone.
    pub(crate) fn broadcast(&self, packet: &[u8]) -> io::Result<()> {
        let address = self.address();
        // SAFETY: packet and address are valid for their lengths during the
        // call.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                (&raw const address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// The next packet, if there is one; what does not fit is cut off.
    ///
    /// # Errors
    /// When the link is down or gone.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        // SAFETY: the buffer is valid for its length during the call.
        let received = unsafe {
            libc::recv(
                self.fd.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
            )
        };
        if received >= 0 {
            return Ok(Some(received.cast_unsigned()));
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            error => Err(error),
        }
    }

    fn address(&self) -> libc::sockaddr_ll {
        // SAFETY: all zeros are a valid value of this plain structure.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_IP as u16).to_be();
        address.sll_ifindex = self.index;
        address.sll_halen = 6;
        address.sll_addr[..6].fill(0xff);
        address
    }

    /// Lets the kernel drop all but first fragments of UDP to our port, so that
    /// the traffic of the node does not wake this program.
    fn attach_filter(&self) -> io::Result<()> {
        const LOAD_BYTE: u16 = 0x30;
        const LOAD_HALF: u16 = 0x28;
        const LOAD_HALF_BEHIND_HEADER: u16 = 0x48;
        const LOAD_HEADER_LENGTH: u16 = 0xb1;
        const JUMP_EQUAL: u16 = 0x15;
        const JUMP_ANY_BIT: u16 = 0x45;
        const RETURN: u16 = 0x06;
        let step = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
        let mut filter = [
            step(LOAD_BYTE, 9, 0, 0),
            step(JUMP_EQUAL, libc::IPPROTO_UDP as u32, 0, 6),
            step(LOAD_HALF, 6, 0, 0),
            step(JUMP_ANY_BIT, 0x1fff, 4, 0),
            step(LOAD_HEADER_LENGTH, 0, 0, 0),
            step(LOAD_HALF_BEHIND_HEADER, 2, 0, 0),
            step(JUMP_EQUAL, CLIENT_PORT.into(), 0, 1),
            step(RETURN, u32::MAX, 0, 0),
            step(RETURN, 0, 0, 0),
        ];
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_mut_ptr(),
        };
        // SAFETY: the program and its steps are valid during the call.
        check(unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const program).cast(),
                size_of_val(&program) as libc::socklen_t,
            )
        })?;
        Ok(())
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A UDP socket to one server. It is kept until the reply has come: without it
/// the kernel would tell the server that nobody listens.
///
/// # Errors
/// When the address is not ours, or the server cannot be reached.
pub(crate) fn renewal(address: Ipv4Addr, server: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((address, CLIENT_PORT))?;
    socket.connect((server, SERVER_PORT))?;
    Ok(socket)
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
