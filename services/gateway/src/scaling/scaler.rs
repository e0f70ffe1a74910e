//! Scales functions by what they have to do: follows the requests, decides by
//! the [policy](super::policy), and acts.
//!
//! On an idle node it sleeps. A request wakes it, and it looks twice a second
//! until there is nothing more to decide; besides, it looks now and then for
//! functions that may go to zero.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{task::JoinHandle, time};

use super::policy::{self, History, Kind, Policy, Situation};
use crate::{
    api::Gateway,
    metrics::Function,
    model::{FunctionId, FunctionStatus, Usage},
    node,
    provider::{Provider, Result},
};

/// Pause between two looks while there is load.
const TICK: Duration = Duration::from_millis(500);
/// What is load now: the mean over this time.
const WINDOW: Duration = Duration::from_secs(2);
/// Pause between two looks for functions without load.
const SWEEP: Duration = Duration::from_secs(5);
/// Pause after a change that failed.
const PAUSE: Duration = Duration::from_secs(10);
/// The share of its memory that a node keeps free.
const FREE: f64 = 0.1;

/// What is known of a function from one look to the next.
struct Watched {
    /// Requests begun and in flight at moments of the window.
    samples: VecDeque<(Instant, u64, u32)>,
    history: History,
    /// Since when it is known to have replicas.
    since: Instant,
    cpu: f64,
    measuring: Option<JoinHandle<Result<Usage>>>,
    acting: Option<JoinHandle<()>>,
}

impl Watched {
    fn new(now: Instant) -> Self {
        Self {
            samples: VecDeque::new(),
            history: History::default(),
            since: now,
            cpu: 0.0,
            measuring: None,
            acting: None,
        }
    }

    fn sample(&mut self, now: Instant, function: &Function) {
        let begin = now.checked_sub(WINDOW);
        while self.samples.len() > 1 && self.samples.get(1).map(|it| it.0) <= begin {
            self.samples.pop_front();
        }
        let sample = (now, function.begun(), function.in_flight());
        self.samples.push_back(sample);
    }

    /// Whether it had anything to do in the window.
    fn is_busy(&self) -> bool {
        let begun = |it: &(Instant, u64, u32)| it.1;
        self.samples.back().map(begun) != self.samples.front().map(begun)
            || self.samples.iter().any(|it| it.2 > 0)
    }

    /// Requests a second, from the beginning of the window on: where that is
    /// between two samples, so is what had begun by then.
    fn rate(&self) -> f64 {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else {
            return 0.0;
        };
        let since = |it: &(Instant, u64, u32)| (it.0 - first.0).as_secs_f64();
        let begin = since(last) - WINDOW.as_secs_f64();
        let before = match self.samples.get(1) {
            Some(second) if begin > 0.0 => {
                let share = (begin / since(second)).min(1.0);
                share * (second.1 - first.1) as f64
            }
            _ => 0.0,
        };
        ((last.1 - first.1) as f64 - before) / WINDOW.as_secs_f64()
    }

    /// Requests in flight.
    fn capacity(&self) -> f64 {
        let all: u32 = self.samples.iter().map(|it| it.2).sum();
        f64::from(all) / self.samples.len().max(1) as f64
    }
}

/// Scales the functions of a gateway as long as it runs.
pub async fn run<P: Provider>(gateway: Arc<Gateway<P>>) {
    let mut scaler = Scaler {
        gateway,
        begin: Instant::now(),
        watched: HashMap::new(),
    };
    let mut sweep = time::Instant::now();
    loop {
        if scaler
            .watched
            .values()
            .any(|it| it.is_busy() || !it.history.is_empty())
        {
            time::sleep(TICK).await;
        } else {
            tokio::select! {
                () = scaler.gateway.metrics.arrived.notified() => {}
                () = time::sleep_until(sweep) => {}
            }
        }
        let all = time::Instant::now() >= sweep;
        if all {
            sweep = time::Instant::now() + SWEEP;
        }
        scaler.look(all).await;
    }
}

struct Scaler<P> {
    gateway: Arc<Gateway<P>>,
    begin: Instant,
    watched: HashMap<FunctionId, Watched>,
}

impl<P: Provider> Scaler<P> {
    /// Looks at the functions that have load or had some lately, or at all.
    async fn look(&mut self, all: bool) {
        let now = Instant::now();
        let mut due = BTreeSet::new();
        for (id, function) in self.gateway.metrics.called() {
            let fresh = || Watched::new(now);
            let watched = self.watched.entry(id.clone()).or_insert_with(fresh);
            watched.sample(now, &function);
            if watched.is_busy() || !watched.history.is_empty() {
                due.insert(id);
            }
        }
        let room = has_room();
        // Without the engine there is nothing to scale, and it says so itself.
        if all {
            let Ok(functions) = self.gateway.provider.list().await else {
                return;
            };
            let name = |it: &FunctionStatus| FunctionId::new(&it.name, &it.namespace);
            let known: BTreeSet<FunctionId> = functions.iter().map(name).collect();
            self.watched.retain(|id, _| known.contains(id));
            for status in &functions {
                self.consider(&name(status), status, now, room).await;
            }
        } else {
            for id in due {
                if let Ok(status) = self.gateway.provider.status(&id).await {
                    self.consider(&id, &status, now, room).await;
                }
            }
        }
    }

    async fn consider(
        &mut self,
        id: &FunctionId,
        status: &FunctionStatus,
        now: Instant,
        room: bool,
    ) {
        let fresh = || Watched::new(now);
        let watched = self.watched.entry(id.clone()).or_insert_with(fresh);
        if status.replicas == 0 {
            watched.since = now;
        }
        let Ok(mut policy) = Policy::of(status.labels.as_ref()) else {
            return;
        };
        // Nothing would start it again.
        if !self.gateway.starts_from_zero {
            policy.zero_after = None;
        }
        let function = self.gateway.metrics.find(id);
        let in_flight = function.as_ref().map_or(0, |it| it.in_flight());
        let last = function.map_or(watched.since, |it| it.last().max(watched.since));
        let load = match policy.kind {
            Kind::Rate => watched.rate(),
            Kind::Capacity => watched.capacity(),
            Kind::Cpu => measured(watched, &self.gateway, id).await,
            Kind::Queue => self.gateway.queued(id) as f64,
        };
        let situation = Situation {
            now: now - self.begin,
            replicas: status.replicas,
            by_hand: self.gateway.by_hand.get(id),
            load,
            in_flight,
            idle: now - last,
            room,
        };
        let decided = policy::decide(&policy, &situation, &mut watched.history);
        let rests =
            !watched.is_busy() && status.replicas <= policy.limits.min.max(situation.by_hand);
        if rests {
            watched.history = History::default();
        }
        let busy = watched.acting.as_ref().is_some_and(|it| !it.is_finished());
        if let Some(replicas) = decided.filter(|_| !busy) {
            watched.acting = Some(act(&self.gateway, id, status.replicas, replicas));
        }
    }
}

/// What the replicas used when they were last measured, which goes on beside.
async fn measured<P: Provider>(
    watched: &mut Watched,
    gateway: &Arc<Gateway<P>>,
    id: &FunctionId,
) -> f64 {
    if let Some(measuring) = watched.measuring.take_if(|it| it.is_finished())
        && let Ok(Ok(usage)) = measuring.await
    {
        watched.cpu = usage.cpu;
    }
    if watched.measuring.is_none() && watched.is_busy() {
        let (gateway, id) = (Arc::clone(gateway), id.clone());
        watched.measuring = Some(tokio::spawn(
            async move { gateway.provider.usage(&id).await },
        ));
    }
    if watched.is_busy() { watched.cpu } else { 0.0 }
}

fn act<P: Provider>(
    gateway: &Arc<Gateway<P>>,
    id: &FunctionId,
    from: u32,
    to: u32,
) -> JoinHandle<()> {
    let (gateway, id) = (Arc::clone(gateway), id.clone());
    tokio::spawn(async move {
        match gateway.starter.scale(&id, to).await {
            Ok(()) => eprintln!("gateway: {id} has {to} replicas, after {from}"),
            Err(error) => {
                eprintln!("gateway: cannot scale {id} from {from} to {to} replicas: {error}");
                time::sleep(PAUSE).await;
            }
        }
    })
}

/// Whether the node has memory for another replica; where that cannot be told,
/// it has.
fn has_room() -> bool {
    let text = std::fs::read_to_string("/proc/meminfo");
    let memory = text.ok().and_then(|text| node::memory(&text));
    memory.is_none_or(|memory| memory.available as f64 > memory.total as f64 * FREE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(samples: &[(u64, u64, u32)]) -> Watched {
        let begin = Instant::now();
        let mut watched = Watched::new(begin);
        let sample = |&(millis, begun, in_flight): &(u64, u64, u32)| {
            (begin + Duration::from_millis(millis), begun, in_flight)
        };
        watched.samples = samples.iter().map(sample).collect();
        watched
    }

    #[test]
    fn the_rate_is_that_of_the_window_also_after_a_pause() {
        for (samples, rate) in [
            (&[][..], 0.0),
            (&[(0, 5, 0)], 0.0),
            // Steady, with a sample just before the window.
            (&[(0, 0, 0), (500, 50, 0), (2250, 225, 0)], 100.0),
            // A burst of a second after a long pause.
            (&[(0, 7, 0), (60_000, 7, 0), (61_000, 107, 0)], 50.0),
            // The first second of all.
            (&[(0, 1, 0), (1000, 101, 0)], 50.0),
            (&[(0, 3, 1), (2000, 3, 1)], 0.0),
        ] {
            let found = watched(samples).rate();
            assert!((found - rate).abs() < 1.0, "{samples:?}: {found}");
        }
    }

    #[test]
    fn capacity_is_the_mean_of_what_is_in_flight() {
        assert_eq!(watched(&[]).capacity(), 0.0);
        assert_eq!(watched(&[(0, 0, 2), (500, 0, 4)]).capacity(), 3.0);
        assert!(watched(&[(0, 3, 1), (500, 3, 0)]).is_busy());
        assert!(!watched(&[(0, 3, 0), (500, 3, 0)]).is_busy());
    }
}
