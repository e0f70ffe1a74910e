//! How long to pause before something that died is started again.

const FIRST_MS: u64 = 250;
const LONGEST_MS: u64 = 30_000;
/// What ran this long was well; the pauses begin anew.
const WELL_MS: u64 = 60_000;

/// Pauses that double up to a limit.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    last: Option<u64>,
}

impl Backoff {
    /// The next pause, after something that ran for `ran` milliseconds.
    pub(super) fn next(&mut self, ran: u64) -> u64 {
        let pause = match self.last {
            Some(last) if ran < WELL_MS => (last * 2).min(LONGEST_MS),
            _ => FIRST_MS,
        };
        self.last = Some(pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..9).map(|_| backoff.next(10)).collect();
        assert_eq!(
            pauses,
            [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]
        );
    }

    #[test]
    fn after_a_minute_of_good_health_they_begin_anew() {
        let mut backoff = Backoff::default();
        backoff.next(10);
        backoff.next(10);
        assert_eq!(backoff.next(59_999), 1000);
        assert_eq!(backoff.next(60_000), 250);
        assert_eq!(backoff.next(10), 500);
    }
}
