//! How many requests a caller may send in a second.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    state::keyed::HashMapStateStore,
};

/// After so many requests, callers that were quiet since are forgotten.
const FORGET: u32 = 4096;

type Limiter = RateLimiter<
    IpAddr,
    HashMapStateStore<IpAddr>,
    DefaultClock,
    NoOpMiddleware<<DefaultClock as Clock>::Instant>,
>;

/// A bound on the requests of each caller.
#[derive(Debug)]
pub struct Rate {
    limiter: Limiter,
    clock: DefaultClock,
    counted: AtomicU32,
}

impl Rate {
    /// Lets every caller send so many requests in a second, and as many at once.
    pub fn new(requests: NonZeroU32) -> Self {
        Self {
            limiter: RateLimiter::hashmap(Quota::per_second(requests)),
            clock: DefaultClock::default(),
            counted: AtomicU32::new(0),
        }
    }

    /// Counts a request of a caller.
    ///
    /// # Errors
    /// How long it has to wait, when that is one too many.
    pub fn count(&self, caller: IpAddr) -> Result<(), Duration> {
        if self.counted.fetch_add(1, Ordering::Relaxed) % FORGET == FORGET - 1 {
            self.limiter.retain_recent();
        }
        self.limiter
            .check_key(&network(caller))
            .map_err(|wait| wait.wait_time_from(self.clock.now()))
    }
}

/// What a caller has: with IPv6 a whole network.
fn network(caller: IpAddr) -> IpAddr {
    match caller {
        IpAddr::V4(_) => caller,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_caller_has_a_bound_of_its_own() {
        let rate = Rate::new(NonZeroU32::new(3).unwrap());
        let [one, two]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|it| it.parse().unwrap());
        for _ in 0..3 {
            assert_eq!(rate.count(one), Ok(()));
        }
        let wait = rate.count(one).unwrap_err();
        assert!(
            wait > Duration::ZERO && wait <= Duration::from_secs(1),
            "{wait:?}"
        );
        assert_eq!(rate.count(two), Ok(()));
    }

    #[test]
    fn a_network_of_ipv6_is_one_caller() {
        let rate = Rate::new(NonZeroU32::MIN);
        let [one, same, other]: [IpAddr; 3] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|it| it.parse().unwrap());
        assert_eq!(rate.count(one), Ok(()));
        assert!(rate.count(same).is_err());
        assert_eq!(rate.count(other), Ok(()));
    }

    #[test]
    fn callers_are_forgotten() {
        let rate = Rate::new(NonZeroU32::new(1_000_000).unwrap());
        for number in 0..20_000_u32 {
            let _ = rate.count(IpAddr::V4(number.into()));
        }
        assert!(
            rate.limiter.len() <= FORGET as usize,
            "{}",
            rate.limiter.len()
        );
    }
}
