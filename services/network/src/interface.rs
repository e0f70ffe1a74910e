//! What is done with one link over its life: a pure function of what happens to
//! it. It is switched on; while it has a carrier, it has the configuration of a
//! lease, or a link-local address when no server answers.

use std::{net::Ipv4Addr, time::Duration};

use crate::{
    config::{Address, Change, Config, changes},
    dhcp::{
        Lease, Reply, Request,
        client::{self, Client},
    },
    link::{Link, Mac},
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
    /// Change its configuration.
    Change(Change),
    /// Send this to a server.
    Send(Request),
    /// Keep this lease for the next boot.
    Remember(Lease),
}

/// One link that is ours.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    link: Link,
    client: Client,
    /// The lease that it had last: what it asks for first.
    remembered: Option<Lease>,
    /// What the kernel has been told.
    config: Config,
    /// Whether it was switched on: that happens once, so that somebody who
    /// switches it off has their way.
    switched_on: bool,
    /// When it takes a link-local address.
    give_up: Option<Duration>,
    /// When it began to look for a server.
    since: Duration,
}

impl Interface {
    /// A link that has just appeared; `remembered` is the lease of the boot
    /// before, `config` what an earlier run of this program left on it.
    pub(crate) fn new(link: &Link, remembered: Option<Lease>, config: Config) -> Self {
        Self {
            // Not yet: the first description of it is an event like others.
            link: Link {
                carrier: false,
                ..link.clone()
            },
            client: Client::new(),
            remembered,
            config,
            switched_on: false,
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
        &self.config
    }

    /// The lease in use.
    pub(crate) fn lease(&self) -> Option<&Lease> {
        self.client.lease()
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
                    if let Some(mac) = self.link.mac {
                        actions.extend(self.configure(link_local(mac)));
                    }
                }
                actions
            }
        }
    }

    fn described(&mut self, now: Duration, random: u32, link: Link) -> Vec<Action> {
        let had = std::mem::replace(&mut self.link, link);
        let mut actions = Vec::new();
        if !std::mem::replace(&mut self.switched_on, true) && !self.link.up {
            actions.push(Action::Up);
        }
        match (had.carrier, self.link.carrier) {
            (false, true) => {
                self.since = now;
                self.give_up = Some(now + PATIENCE);
                let event = client::Event::Start(self.remembered.clone());
                actions.extend(self.client(now, random, event));
            }
            // Without a cable the address is of no use, and in the way when
            // another link leads to the same network.
            (true, false) => {
                self.give_up = None;
                actions.extend(self.client(now, random, client::Event::Stop));
                actions.extend(self.configure(Config::default()));
            }
            _ => {}
        }
        actions
    }

    fn client(&mut self, now: Duration, random: u32, event: client::Event) -> Vec<Action> {
        let mut actions = Vec::new();
        for action in self.client.handle(now, random, event) {
            match action {
                client::Action::Send(request) => actions.push(Action::Send(request)),
                client::Action::Bound(lease) => {
                    self.give_up = None;
                    actions.extend(self.configure(Config::from(&lease)));
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
                    self.since = now;
                    self.give_up = Some(now + PATIENCE);
                    actions.extend(self.configure(Config::default()));
                }
            }
        }
        actions
    }

    fn configure(&mut self, config: Config) -> Vec<Action> {
        let changes = changes(&self.config, &config);
        self.config = config;
        changes.into_iter().map(Action::Change).collect()
    }
}

/// An address of 169.254.1.0 to 169.254.254.255 (RFC 3927) that follows from
/// the hardware address, so that a node has the same one every time. Nobody is
/// asked whether it is taken: among the few machines on one cable that is very
/// unlikely, and a server's answer replaces it.
fn link_local(mac: Mac) -> Config {
    let hash = mac.iter().fold(0xcbf2_9ce4_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    let host = 256 + hash % (254 * 256);
    Config {
        address: Some(Address {
            address: Ipv4Addr::from_bits(0xa9fe_0000 | host),
            prefix: 16,
        }),
        ..Config::default()
    }
}

#[cfg(test)]
#[path = "interface_tests.rs"]
mod tests;
