//! When a DHCP client sends what, and what it makes of replies: RFC 2131,
//! section 4.4, as a pure function of events and time.

use std::time::Duration;

use super::{Lease, Reply, ReplyKind, Request, RequestKind};

/// Wait for the first reply; doubles with every try. RFC 2131 begins at 4 s,
/// but a board boots faster than that, and 2 s are plenty on a local network.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// Tries follow each other by at most this.
const LONGEST_WAIT: Duration = Duration::from_secs(64);
/// Tries for an address that was offered until we begin anew.
const TRIES: u32 = 3;
/// Shortest time between two requests for more time.
const SHORTEST_EXTENSION: Duration = Duration::from_secs(60);

/// What happens to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The link works; this is the lease that it had last, if any.
    Start(Option<Lease>),
    /// The link is gone.
    Stop,
    /// A server spoke.
    Reply(Reply),
    /// The time of [`Client::deadline`] has come.
    Timer,
}

/// What a client wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send this.
    Send(Request),
    /// The lease is ours, or its terms have changed.
    Bound(Lease),
    /// The address must not be used any more.
    Lost,
}

/// Where a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// No link.
    Off,
    /// Waits for offers.
    Selecting { tries: u32 },
    /// Asked for what was offered.
    Requesting { offer: Lease, tries: u32 },
    /// Asked for what it had before.
    Rebooting,
    /// Has a lease.
    Bound { lease: Lease, since: Duration },
    /// Has a lease and asks its server for more time.
    Renewing { lease: Lease, since: Duration },
    /// Has a lease and asks any server for more time.
    Rebinding { lease: Lease, since: Duration },
}

/// A DHCP client for one link. Times are those of a clock that never goes back.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    state: State,
    transaction: u32,
    deadline: Option<Duration>,
}

impl Client {
    /// A client without a link.
    pub(crate) fn new() -> Self {
        Self {
            state: State::Off,
            transaction: 0,
            deadline: None,
        }
    }

    /// When [`Event::Timer`] is due.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// Whether a reply may come: what arrives otherwise need not be read.
    pub(crate) fn listens(&self) -> bool {
        !matches!(self.state, State::Off | State::Bound { .. })
    }

    /// Where the client is, in one word.
    pub(crate) fn state(&self) -> &'static str {
        match self.state {
            State::Off => "off",
            State::Selecting { .. } => "selecting",
            State::Requesting { .. } => "requesting",
            State::Rebooting => "rebooting",
            State::Bound { .. } => "bound",
            State::Renewing { .. } => "renewing",
            State::Rebinding { .. } => "rebinding",
        }
    }

    /// Takes an event at the time `now`; `random` makes transaction numbers,
    /// and spreads the tries of nodes that were switched on together.
    pub(crate) fn handle(&mut self, now: Duration, random: u32, event: Event) -> Vec<Action> {
        match event {
            Event::Start(None) => self.discover(now, random, 0),
            Event::Start(Some(lease)) => {
                self.transaction = random;
                self.state = State::Rebooting;
                self.deadline = Some(now + wait(0, random));
                self.send(RequestKind::Reuse {
                    address: lease.address,
                })
            }
            Event::Stop => {
                self.state = State::Off;
                self.deadline = None;
                Vec::new()
            }
            Event::Timer if self.deadline.is_some_and(|at| now >= at) => self.timer(now, random),
            Event::Timer => Vec::new(),
            Event::Reply(reply) if reply.transaction == self.transaction => {
                self.reply(now, random, reply.kind)
            }
            Event::Reply(_) => Vec::new(),
        }
    }

    fn reply(&mut self, now: Duration, random: u32, reply: ReplyKind) -> Vec<Action> {
        match (&self.state, reply) {
            (State::Selecting { .. }, ReplyKind::Offer(offer)) => self.take(now, random, offer, 0),
            (
                State::Requesting { .. }
                | State::Rebooting
                | State::Renewing { .. }
                | State::Rebinding { .. },
                ReplyKind::Ack(lease),
            ) => self.bound(now, lease),
            (State::Rebooting, ReplyKind::Nak) => self.discover(now, random, 0),
            // A server that offers and then refuses is not asked again at once.
            (State::Requesting { tries, .. }, ReplyKind::Nak) => {
                let tries = *tries;
                self.state = State::Selecting { tries: tries + 1 };
                self.deadline = Some(now + wait(tries + 1, random));
                Vec::new()
            }
            (State::Renewing { .. } | State::Rebinding { .. }, ReplyKind::Nak) => {
                self.lost(now, random)
            }
            _ => Vec::new(),
        }
    }

    fn timer(&mut self, now: Duration, random: u32) -> Vec<Action> {
        match self.state.clone() {
            State::Off => Vec::new(),
            State::Selecting { tries } => self.discover(now, random, tries + 1),
            State::Requesting { tries, .. } if tries + 1 >= TRIES => self.discover(now, random, 1),
            State::Requesting { offer, tries } => self.take(now, random, offer, tries + 1),
            // One try is enough: a server that does not know the address may
            // stay silent, and then every further one only costs time.
            State::Rebooting => self.discover(now, random, 0),
            State::Bound { lease, since } | State::Renewing { lease, since }
                if now < since + seconds(lease.rebind) =>
            {
                if matches!(self.state, State::Bound { .. }) {
                    self.transaction = random;
                }
                let end = since + seconds(lease.rebind);
                self.deadline = Some(extension(now, end));
                let kind = RequestKind::Renew {
                    address: lease.address,
                    server: lease.server,
                };
                self.state = State::Renewing { lease, since };
                self.send(kind)
            }
            State::Bound { lease, since }
            | State::Renewing { lease, since }
            | State::Rebinding { lease, since } => {
                let end = match lease.duration {
                    Some(duration) => since + seconds(duration),
                    None => return self.bound(now, lease),
                };
                if now >= end {
                    return self.lost(now, random);
                }
                self.deadline = Some(extension(now, end));
                let kind = RequestKind::Rebind {
                    address: lease.address,
                };
                self.state = State::Rebinding { lease, since };
                self.send(kind)
            }
        }
    }

    fn discover(&mut self, now: Duration, random: u32, tries: u32) -> Vec<Action> {
        self.transaction = random;
        self.state = State::Selecting { tries };
        self.deadline = Some(now + wait(tries, random));
        self.send(RequestKind::Discover)
    }

    fn take(&mut self, now: Duration, random: u32, offer: Lease, tries: u32) -> Vec<Action> {
        let kind = RequestKind::Take {
            address: offer.address,
            server: offer.server,
        };
        self.state = State::Requesting { offer, tries };
        self.deadline = Some(now + wait(tries, random));
        self.send(kind)
    }

    fn bound(&mut self, now: Duration, lease: Lease) -> Vec<Action> {
        self.deadline = lease.duration.map(|_| now + seconds(lease.renew));
        self.state = State::Bound {
            lease: lease.clone(),
            since: now,
        };
        vec![Action::Bound(lease)]
    }

    fn lost(&mut self, now: Duration, random: u32) -> Vec<Action> {
        let mut actions = vec![Action::Lost];
        actions.extend(self.discover(now, random, 0));
        actions
    }

    fn send(&self, kind: RequestKind) -> Vec<Action> {
        vec![Action::Send(Request {
            transaction: self.transaction,
            kind,
        })]
    }
}

/// Time to the next try: doubles, and is up to a second longer by chance.
fn wait(tries: u32, random: u32) -> Duration {
    let doubled = FIRST_WAIT * (1 << tries.min(6));
    doubled.min(LONGEST_WAIT) + Duration::from_millis(u64::from(random % 1000))
}

/// When to ask for more time again: half way to the end (RFC 2131, 4.4.5).
fn extension(now: Duration, end: Duration) -> Duration {
    let left = end.saturating_sub(now);
    end.min(now + (left / 2).max(SHORTEST_EXTENSION))
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
