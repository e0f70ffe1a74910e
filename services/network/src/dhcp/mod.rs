//! DHCPv4 (RFC 2131): what a lease is, when which message is sent
//! ([`client`]), and how messages look on the wire ([`message`]).

pub(crate) mod client;
pub(crate) mod message;

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// What a server granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    /// Our address.
    pub(crate) address: Ipv4Addr,
    /// Length of the subnet's prefix.
    pub(crate) prefix: u8,
    /// Routes besides that of the subnet itself.
    pub(crate) routes: Vec<Route>,
    /// Name servers.
    pub(crate) name_servers: Vec<Ipv4Addr>,
    /// Domain that short names are looked up in.
    pub(crate) domain: Option<String>,
    /// Largest packet on this network.
    pub(crate) mtu: Option<u16>,
    /// Who granted it.
    pub(crate) server: Ipv4Addr,
    /// Seconds until it is renewed with that server.
    pub(crate) renew: u32,
    /// Seconds until any server is asked to extend it.
    pub(crate) rebind: u32,
    /// Seconds until it ends; `None` for never.
    pub(crate) duration: Option<u32>,
}

/// A way to other networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    /// First address of the network that it leads to.
    pub(crate) destination: Ipv4Addr,
    /// Length of that network's prefix; 0 for everywhere else.
    pub(crate) prefix: u8,
    /// The router; none when the network is on this very link.
    pub(crate) gateway: Option<Ipv4Addr>,
}

/// A message to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Tells which reply belongs to it.
    pub(crate) transaction: u32,
    /// What is asked for.
    pub(crate) kind: RequestKind,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// Who has an address for us?
    Discover,
    /// The address that this server offered.
    Take { address: Ipv4Addr, server: Ipv4Addr },
    /// The address that we had before.
    Reuse { address: Ipv4Addr },
    /// More time for our address, from the server that granted it.
    Renew { address: Ipv4Addr, server: Ipv4Addr },
    /// More time for our address, from any server.
    Rebind { address: Ipv4Addr },
}

/// A server's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The request that it answers.
    pub(crate) transaction: u32,
    /// What it says.
    pub(crate) kind: ReplyKind,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReplyKind {
    /// You may ask for this.
    Offer(Lease),
    /// It is yours.
    Ack(Lease),
    /// It is not yours.
    Nak,
}
