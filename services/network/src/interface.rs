//! What is done with one link over its life: a pure function of what happens to
//! it. It is prepared and switched on; while it has a carrier, it has what the
//! settings say and what a lease adds, or a link-local address when it is to
//! have a lease and no server answers.

use std::{net::Ipv4Addr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    config::{Address, Change, Config, changes},
    dhcp::{
        Lease, Reply, Request,
        client::{self, Client},
    },
    ipv6,
    link::{Link, Mac},
    setup::{Found, Setup},
};

/// How long a link waits for a server before it takes a link-local address, so
/// that two machines on one cable find each other.
const PATIENCE: Duration = Duration::from_secs(15);

/// What happens to a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The kernel describes it anew.
    Link(Link),
    /// A server spoke.
    Reply(Reply),
    /// The time of [`Interface::deadline`] has come.
    Timer,
}

/// What has to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Switch the link on.
    Up,
    /// Write this into the file of this name among the kernel's settings for
    /// IPv6 on the link.
    Ipv6(&'static str, &'static str),
    /// Change its configuration.
    Change(Change),
    /// Send this to a server.
    Send(Request),
    /// Keep this lease for the next boot.
    Remember(Lease),
}

/// What is known of a link that a next run has to know too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// What the kernel has been told.
    pub(crate) config: Config,
    /// The IPv4 address that is not from the settings.
    pub(crate) found: Found,
    /// Its largest packet before we set another.
    pub(crate) own_mtu: u32,
    /// How it was told to get its IPv6 addresses.
    pub(crate) ipv6: Option<ipv6::Setup>,
}

/// One link that is ours.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    link: Link,
    setup: Setup,
    client: Client,
    /// The lease that it had last: what it asks for first.
    remembered: Option<Lease>,
    kept: Kept,
    /// Whether it was prepared and switched on: that happens once, so that
    /// somebody who switches it off has their way.
    prepared: bool,
    /// When it takes a link-local address.
    give_up: Option<Duration>,
    /// When it began to look for a server.
    since: Duration,
}

impl Interface {
    /// A link that has just appeared; `remembered` is the lease of the boot
    /// before, `left` what an earlier run of this program knew of it.
    pub(crate) fn new(
        link: &Link,
        setup: Setup,
        remembered: Option<Lease>,
        left: Option<Kept>,
    ) -> Self {
        Self {
            // Not yet: the first description of it is an event like others.
            link: Link {
                carrier: false,
                ..link.clone()
            },
            setup,
            client: Client::new(),
            remembered,
            kept: left.unwrap_or_else(|| Kept {
                own_mtu: link.mtu,
                ..Kept::default()
            }),
            prepared: false,
            give_up: None,
            since: Duration::ZERO,
        }
    }

    /// The link as it was described last.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// What it is configured with.
    pub(crate) fn config(&self) -> &Config {
        &self.kept.config
    }

    /// What a next run has to know of it.
    pub(crate) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Where its DHCP client is, in one word.
    pub(crate) fn state(&self) -> &'static str {
        self.client.state()
    }

    /// Whether a server may have something to say to it.
    pub(crate) fn listens(&self) -> bool {
        self.client.listens()
    }

    /// Since when it looks for a server.
    pub(crate) fn since(&self) -> Duration {
        self.since
    }

    /// When [`Event::Timer`] is due.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        match (self.client.deadline(), self.give_up) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Takes an event at the time `now`.
    pub(crate) fn handle(&mut self, now: Duration, random: u32, event: Event) -> Vec<Action> {
        match event {
            Event::Link(link) => self.described(now, random, link),
            Event::Reply(reply) => self.client(now, random, client::Event::Reply(reply)),
            Event::Timer => {
                let mut actions = self.client(now, random, client::Event::Timer);
                if self.give_up.is_some_and(|at| now >= at) {
                    self.give_up = None;
                    self.kept.found = match self.link.mac {
                        Some(mac) if !self.setup.has_ipv4() => Found::LinkLocal(link_local(mac)),
                        _ => Found::Nothing,
                    };
                    actions.extend(self.configure());
                }
                actions
            }
        }
    }

    fn described(&mut self, now: Duration, random: u32, link: Link) -> Vec<Action> {
        let had = std::mem::replace(&mut self.link, link);
        let mut actions = Vec::new();
        if !std::mem::replace(&mut self.prepared, true) {
            actions.extend(self.prepare());
        }
        match (had.carrier, self.link.carrier) {
            (false, true) => {
                let own = self.setup.has_ipv4();
                if !self.setup.dhcp || own && matches!(self.kept.found, Found::LinkLocal(_)) {
                    self.kept.found = Found::Nothing;
                }
                if self.setup.dhcp {
                    self.search(now);
                    let event = client::Event::Start(self.remembered.clone());
                    actions.extend(self.client(now, random, event));
                }
                actions.extend(self.configure());
            }
            // Without a cable the addresses are of no use, and in the way when
            // another link leads to the same network.
            (true, false) => {
                self.give_up = None;
                self.kept.found = Found::Nothing;
                actions.extend(self.client(now, random, client::Event::Stop));
                actions.extend(self.configure());
            }
            _ => {}
        }
        actions
    }

    /// What comes before the link is switched on: some network cards take
    /// another MTU only while they are off, and IPv6 begins as it goes up.
    fn prepare(&mut self) -> Vec<Action> {
        let wanted = self.setup.ipv6;
        let mut actions = ipv6_actions(wanted, self.kept.ipv6);
        if wanted.begins_anew(self.kept.ipv6) {
            let config = &mut self.kept.config;
            config.addresses.retain(|it| it.address.is_ipv4());
            config.routes.retain(|it| it.destination.is_ipv4());
        }
        self.kept.ipv6 = Some(wanted);
        if !self.link.carrier {
            self.kept.found = Found::Nothing;
            actions.extend(self.configure());
        }
        if !self.link.up {
            actions.push(Action::Up);
        }
        actions
    }

    fn search(&mut self, now: Duration) {
        self.since = now;
        self.give_up = Some(now + PATIENCE);
    }

    fn client(&mut self, now: Duration, random: u32, event: client::Event) -> Vec<Action> {
        let mut actions = Vec::new();
        for action in self.client.handle(now, random, event) {
            match action {
                client::Action::Send(request) => actions.push(Action::Send(request)),
                client::Action::Bound(lease) => {
                    self.give_up = None;
                    self.kept.found = Found::Lease(lease.clone());
                    actions.extend(self.configure());
                    // Cards wear out: what the next boot asks for is the
                    // address, and that rarely changes.
                    let known = self.remembered.as_ref().is_some_and(|known| {
                        (known.address, known.server) == (lease.address, lease.server)
                    });
                    if !known {
                        actions.push(Action::Remember(lease.clone()));
                    }
                    self.remembered = Some(lease);
                }
                client::Action::Lost => {
                    self.search(now);
                    self.kept.found = Found::Nothing;
                    actions.extend(self.configure());
                }
            }
        }
        actions
    }

    /// Gives the link what it is to have now.
    fn configure(&mut self) -> Vec<Action> {
        let mut config = if self.link.carrier {
            self.setup.config(&self.kept.found)
        } else {
            Config::default()
        };
        config.mtu = self.mtu(&config);
        let changes = changes(&self.kept.config, &config);
        self.kept.config = config;
        changes.into_iter().map(Action::Change).collect()
    }

    /// The MTU that goes with a configuration. Some network cards lose their
    /// carrier for a moment when it changes: if it went back with the carrier,
    /// that would never end. So that of a lease stays until another lease.
    fn mtu(&self, config: &Config) -> Option<u32> {
        let before = self.kept.config.mtu;
        let settled = !self.setup.dhcp || matches!(self.kept.found, Found::Lease(_));
        let otherwise = if settled {
            before.map(|_| self.kept.own_mtu)
        } else {
            before
        };
        self.setup.mtu().or(config.mtu).or(otherwise)
    }
}

/// What takes from a link that is not ours any more what an earlier run left on
/// it.
pub(crate) fn release(left: &Kept) -> Vec<Action> {
    let nothing = Config {
        mtu: left.config.mtu.map(|_| left.own_mtu),
        ..Config::default()
    };
    let mut actions: Vec<_> = changes(&left.config, &nothing)
        .into_iter()
        .map(Action::Change)
        .collect();
    let untouched = ipv6::Setup::default();
    if left.ipv6.is_some_and(|before| before != untouched) {
        actions.extend(ipv6_actions(untouched, left.ipv6));
    }
    actions
}

fn ipv6_actions(wanted: ipv6::Setup, before: Option<ipv6::Setup>) -> Vec<Action> {
    let writes = wanted.writes(before).into_iter();
    writes
        .map(|(key, value)| Action::Ipv6(key, value))
        .collect()
}

/// An address of 169.254.1.0 to 169.254.254.255 (RFC 3927) that follows from
/// the hardware address, so that a node has the same one every time. Nobody is
/// asked whether it is taken: among the few machines on one cable that is very
/// unlikely, and a server's answer replaces it.
fn link_local(mac: Mac) -> Address {
    let hash = mac.iter().fold(0xcbf2_9ce4_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    let host = 256 + hash % (254 * 256);
    Address {
        address: Ipv4Addr::from_bits(0xa9fe_0000 | host).into(),
        prefix: 16,
    }
}

#[cfg(test)]
#[path = "interface_tests.rs"]
mod tests;
