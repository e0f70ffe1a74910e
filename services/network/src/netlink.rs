//! Talks to the kernel about links, addresses and routes.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage, AddressScope},
    link::{
        InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType,
        LinkMessage, LinkMode,
    },
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol,
        RouteScope, RouteType,
    },
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::{
    config::{Address, Origin, Route},
    link::Link,
};

/// What the kernel reports of links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LinkEvent {
    /// It is there, and this is how it is now.
    Is(Link),
    /// The one of this number is gone.
    Gone(u32),
}

/// Requests, each answered before the next.
pub(crate) struct Kernel {
    socket: Socket,
    sequence: u32,
}

impl Kernel {
    /// Opens the way to the kernel.
    ///
    /// # Errors
    /// When it has no netlink.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// All links.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(crate) fn links(&mut self) -> io::Result<Vec<Link>> {
        let mut links = Vec::new();
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        self.request(request, NLM_F_DUMP, |message| {
            if let Some(LinkEvent::Is(link)) = event(message) {
                links.push(link);
            }
        })?;
        Ok(links)
    }

    /// Switches a link on.
    ///
    /// # Errors
    /// As the kernel says.
    pub(crate) fn up(&mut self, index: u32) -> io::Result<()> {
        self.switch(index, LinkFlags::Up)
    }

    fn switch(&mut self, index: u32, flags: LinkFlags) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = flags;
        message.header.change_mask = LinkFlags::Up;
        self.change(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Sets the largest packet of a link.
    ///
    /// # Errors
    /// As the kernel says.
    pub(crate) fn set_mtu(&mut self, index: u32, mtu: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes = vec![LinkAttribute::Mtu(mtu)];
        let message = RouteNetlinkMessage::SetLink(message);
        match self.change(message.clone(), 0) {
            // The network card of the Pi 5 takes it only while it is off. That
            // its addresses go and come back is seen as with a cable.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                self.switch(index, LinkFlags::empty())?;
                let outcome = self.change(message, 0);
                self.up(index)?;
                outcome
            }
            other => other,
        }
    }

    /// Makes a VLAN on the link of this number.
    ///
    /// # Errors
    /// As the kernel says.
    pub(crate) fn make_vlan(&mut self, name: &str, id: u16, link: u32) -> io::Result<()> {
        let message = vlan_message(name, id, link);
        self.change(
            RouteNetlinkMessage::NewLink(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// Removes a link; that it is gone already is no error.
    ///
    /// # Errors
    /// As the kernel says.
    pub(crate) fn remove_link(&mut self, index: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        gone_is_fine(self.change(RouteNetlinkMessage::DelLink(message), 0))
    }

    /// Gives a link an address.
    ///
    /// # Errors
    /// As the kernel says.
    pub(crate) fn add_address(&mut self, index: u32, address: Address) -> io::Result<()> {
        let message = address_message(index, address);
        self.change(
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
    }

    /// Takes an address from a link; that it is gone already is no error.
    ///
    /// # Errors
    /// As the kernel says.
    pub(crate) fn remove_address(&mut self, index: u32, address: Address) -> io::Result<()> {
        let message = address_message(index, address);
        gone_is_fine(self.change(RouteNetlinkMessage::DelAddress(message), 0))
    }

    /// Adds a route over a link; that it is there already is no error.
    ///
    /// # Errors
    /// As the kernel says.
    pub(crate) fn add_route(&mut self, index: u32, route: Route) -> io::Result<()> {
        let message = route_message(index, route);
        // Not in the place of another one: that may be the same way over
        // another link.
        match self.change(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            other => other,
        }
    }

    /// Removes a route over a link; that it is gone already is no error.
    ///
    /// # Errors
    /// As the kernel says.
    pub(crate) fn remove_route(&mut self, index: u32, route: Route) -> io::Result<()> {
        let message = route_message(index, route);
        gone_is_fine(self.change(RouteNetlinkMessage::DelRoute(message), 0))
    }

    fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.request(message, NLM_F_ACK | flags, |_| {})
    }

    fn request(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        mut each: impl FnMut(RouteNetlinkMessage),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        loop {
            let (received, _) = self.socket.recv_from_full()?;
            for message in messages(&received) {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok(()),
                    NetlinkPayload::Error(error) => {
                        return match error.code {
                            None => Ok(()),
                            Some(_) => Err(error.to_io()),
                        };
                    }
                    NetlinkPayload::InnerMessage(message) => each(message),
                    _ => {}
                }
            }
        }
    }
}

/// What the kernel reports unasked.
pub(crate) struct Events {
    socket: Socket,
}

impl Events {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the kernel has no netlink.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.add_membership(libc::RTNLGRP_LINK)?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket })
    }

    /// What has happened since the last call; `None` when so much that the
    /// kernel dropped some: then all links have to be looked at.
    ///
    /// # Errors
    /// When the socket broke.
    pub(crate) fn read(&self) -> io::Result<Option<Vec<LinkEvent>>> {
        let mut events = Vec::new();
        loop {
            match self.socket.recv_from_full() {
                Ok((received, _)) => {
                    for message in messages(&received) {
                        if let NetlinkPayload::InnerMessage(message) = message.payload {
                            events.extend(event(message));
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Some(events)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is that of the socket, which lives as long as
        // the borrow of `self`.
        unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) }
    }
}

/// The messages in a datagram, up to the first that cannot be read.
fn messages(mut bytes: &[u8]) -> Vec<NetlinkMessage<RouteNetlinkMessage>> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        // Of a message that cannot be understood the length still can.
        let Some(length) = bytes.first_chunk::<4>() else {
            break;
        };
        let length = (u32::from_ne_bytes(*length) as usize).next_multiple_of(4);
        if length < 16 || length > bytes.len().next_multiple_of(4) {
            break;
        }
        match NetlinkMessage::deserialize(bytes) {
            Ok(message) => messages.push(message),
            Err(error) => eprintln!("cannot read a message of the kernel: {error}"),
        }
        bytes = bytes.get(length..).unwrap_or_default();
    }
    messages
}

fn event(message: RouteNetlinkMessage) -> Option<LinkEvent> {
    match message {
        // Those of another family are what bridges say of their ports.
        RouteNetlinkMessage::NewLink(message)
            if message.header.interface_family == AddressFamily::Unspec
                && !is_news_of_a_radio(&message) =>
        {
            Some(LinkEvent::Is(link(message)))
        }
        RouteNetlinkMessage::DelLink(message)
            if message.header.interface_family == AddressFamily::Unspec =>
        {
            Some(LinkEvent::Gone(message.header.index))
        }
        _ => None,
    }
}

/// Whether this says what a radio did, with little more than the link's name
/// beside it, instead of how the link is.
fn is_news_of_a_radio(message: &LinkMessage) -> bool {
    let mut attributes = message.attributes.iter();
    attributes.any(|it| matches!(it, LinkAttribute::Wireless(_)))
}

fn link(message: LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: None,
        kind: None,
        enslaved: false,
        up: flags.contains(LinkFlags::Up),
        // Dormant: associated with a wireless network, but without a key yet.
        carrier: flags.contains(LinkFlags::LowerUp) && !flags.contains(LinkFlags::Dormant),
        supplicant: false,
        mtu: 0,
    };
    let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(address) if ethernet => {
                link.mac = address.as_slice().try_into().ok();
            }
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            // Supplicants ask the kernel for this, and take it back when they
            // end; access points do without it.
            LinkAttribute::Mode(mode) => link.supplicant = mode == LinkMode::Dormant,
            LinkAttribute::Controller(_) => link.enslaved = true,
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    if let LinkInfo::Kind(kind) = info {
                        link.kind = Some(kind.to_string());
                    }
                }
            }
            _ => {}
        }
    }
    link
}

fn vlan_message(name: &str, id: u16, link: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Link(link),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Vlan),
            LinkInfo::Data(InfoData::Vlan(vec![InfoVlan::Id(id)])),
        ]),
    ];
    message
}

fn address_message(index: u32, address: Address) -> AddressMessage {
    let ip = address.address;
    let mut message = AddressMessage::default();
    message.header.prefix_len = address.prefix;
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    match ip {
        IpAddr::V4(ip) => {
            message.header.family = AddressFamily::Inet;
            if ip.is_link_local() {
                message.header.scope = AddressScope::Link;
            }
            if address.prefix < 31 {
                let host = u32::MAX >> address.prefix;
                let broadcast = Ipv4Addr::from_bits(ip.to_bits() | host);
                message
                    .attributes
                    .push(AddressAttribute::Broadcast(broadcast));
            }
        }
        // Its scope follows from the address.
        IpAddr::V6(_) => message.header.family = AddressFamily::Inet6,
    }
    message
}

fn route_message(index: u32, route: Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: match route.destination {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        },
        destination_prefix_length: route.prefix,
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: match route.origin {
            Origin::Dhcp => RouteProtocol::Dhcp,
            Origin::Settings => RouteProtocol::Static,
        },
        scope: match route.gateway {
            Some(_) => RouteScope::Universe,
            None => RouteScope::Link,
        },
        kind: RouteType::Unicast,
        flags: if route.unproven {
            RouteFlags::Onlink
        } else {
            RouteFlags::empty()
        },
        ..RouteHeader::default()
    };
    message.attributes = vec![
        RouteAttribute::Oif(index),
        RouteAttribute::Priority(route.metric),
    ];
    if route.prefix > 0 {
        message
            .attributes
            .push(RouteAttribute::Destination(route_address(
                route.destination,
            )));
    }
    if let Some(gateway) = route.gateway {
        message
            .attributes
            .push(RouteAttribute::Gateway(route_address(gateway)));
    }
    message
}

fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error)
            if [libc::ESRCH, libc::EADDRNOTAVAIL, libc::ENODEV]
                .map(Some)
                .contains(&error.raw_os_error()) =>
        {
            Ok(())
        }
        other => other,
    }
}

#[cfg(test)]
#[path = "netlink_tests.rs"]
mod tests;
