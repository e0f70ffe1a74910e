//! Asynchronous calls: requests that are stored on disk, answered with 202, and
//! passed on to their function later.
//!
//! [`schedule`] decides, [`store`] keeps, [`worker`] calls, and [`callback`]
//! hands answers over.

mod callback;
mod disk;
mod limits;
mod message;
mod overview;
mod policy;
mod refusal;
mod schedule;
mod store;
mod worker;

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use axum::body::Body;
use http_body_util::BodyExt;
use tokio::{
    sync::{Notify, Semaphore},
    time,
};

pub use limits::Limits;
pub(crate) use message::Head;
pub(crate) use overview::Overview;
pub(crate) use policy::Policy;
pub(crate) use refusal::{DeadError, Refusal};
pub(crate) use worker::{Caller, run};

use self::{
    callback::Rules,
    disk::Files,
    schedule::{End, Moment, Next, Schedule, Ticket, Verdict},
    store::{Dead, Draft, Found, Store, Why},
};
use crate::{config::Config, files};

/// Answers that are on their way to a callback at a time.
const CALLBACKS: usize = 8;
/// Most characters of a reason that is kept.
const REASON: usize = 500;

/// Requests that wait for their function.
#[derive(Debug)]
pub struct Queue {
    store: Arc<Store>,
    limits: Limits,
    rules: Rules,
    /// How long a body may pause on its way in.
    patience: Duration,
    state: Mutex<State>,
    /// Told when there may be something to call.
    changed: Notify,
    callbacks: Arc<Semaphore>,
    start: Instant,
    clock: PathBuf,
}

#[derive(Debug)]
struct State {
    schedule: Schedule,
    /// Every message that has a file, called or not.
    stored: HashMap<u64, Stored>,
    /// Requests that are arriving.
    arriving: usize,
    /// What all of these take of the disk.
    bytes: u64,
    dead: BTreeMap<u64, Dead>,
    /// The number of the next file.
    next: u64,
    /// Hours of operation since the queue was made.
    hour: u64,
}

#[derive(Debug)]
struct Stored {
    /// The failures that the name of its file has.
    failures: u32,
    size: u64,
}

impl Queue {
    /// Opens the queue in the gateway's state folder.
    ///
    /// # Errors
    /// When the folder can be neither read nor made.
    pub fn open(config: &Config) -> Result<Self, String> {
        let root = config.state.join("queue");
        Self::open_at(&root, config)
            .map_err(|error| format!("cannot open the queue in {}: {error}", root.display()))
    }

    fn open_at(root: &Path, config: &Config) -> io::Result<Self> {
        let clock = root.join("hours");
        let told = fs::read_to_string(&clock).ok();
        let told: Option<u64> = told.and_then(|text| text.trim().parse().ok());
        let (store, found) = Store::open(root, Box::new(Files), |reason| Why {
            reason: shortened(reason),
            time: now(),
            hour: told.unwrap_or_default(),
            ..Why::default()
        })?;
        let latest = found.dead.iter().map(|(_, dead)| dead.why.hour).max();
        let hour = told.or(latest).unwrap_or_default();
        let mut limits = config.queue.clone();
        if config.max_body > 0 {
            // More would be stored only to be refused later.
            limits.body = limits.body.min(config.max_body);
        }
        Ok(Self {
            store: Arc::new(store),
            limits,
            rules: Rules {
                port: config.port,
                private: config.queue.private_callbacks,
            },
            patience: config.read_timeout,
            state: Mutex::new(State::new(found, config.queue.inflight, hour)),
            changed: Notify::new(),
            callbacks: Arc::new(Semaphore::new(CALLBACKS)),
            start: Instant::now(),
            clock,
        })
    }

    /// Checks where an answer is to go.
    pub(crate) fn check_callback(&self, url: &str) -> Result<(), String> {
        callback::Target::parse(url, self.rules).map(drop)
    }

    /// The most bytes that a body may have.
    pub(crate) fn body_limit(&self) -> u64 {
        self.limits.body
    }

    /// Takes a request in. It is stored when this returns.
    pub(crate) async fn accept(
        self: &Arc<Self>,
        head: Head,
        mut body: Body,
    ) -> Result<(), Refusal> {
        let mut place = Place::new(self)?;
        let mut draft = Draft::new(&self.store, &format!("{:016x}", place.number));
        loop {
            let Ok(frame) = time::timeout(self.patience, body.frame()).await else {
                let seconds = self.patience.as_secs();
                return Err(Refusal::Incomplete(format!(
                    "nothing came within {seconds} s"
                )));
            };
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| Refusal::Incomplete(error.to_string()))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if draft.length() + data.len() as u64 > self.limits.body {
                return Err(Refusal::TooLarge(self.limits.body));
            }
            place.grow(data.len() as u64)?;
            if draft.push(&data) {
                draft = flushed(draft).await?;
            }
        }
        let queue = Arc::clone(self);
        // As one piece of work, which goes on when the caller goes: what is
        // stored is scheduled.
        blocking(move || {
            let seq = queue.state().number();
            let size = draft.accept(seq, &head)?;
            queue.take_in(seq, &head.function, size);
            drop(place);
            Ok(())
        })
        .await?;
        Ok(())
    }

    fn take_in(&self, seq: u64, function: &str, size: u64) {
        let mut state = self.state();
        state.schedule.add(seq, function, 0);
        state.stored.insert(seq, Stored { failures: 0, size });
        state.bytes += size;
        drop(state);
        self.changed.notify_one();
    }

    /// What there is.
    pub(crate) fn overview(&self) -> Overview {
        Overview::of(&self.state())
    }

    /// Calls of a function that wait or are under way.
    pub(crate) fn load_of(&self, function: &str) -> usize {
        self.state().schedule.load_of(function)
    }

    /// Lets the dead letters of this id be called again.
    pub(crate) async fn replay(self: &Arc<Self>, id: &str) -> Result<(), DeadError> {
        let claimed = self.claim(id)?;
        if claimed.iter().any(|(_, dead)| !dead.whole) {
            self.state().dead.extend(claimed);
            return Err(DeadError::Damaged);
        }
        let queue = Arc::clone(self);
        self.with_each(claimed, move |seq, dead| {
            queue.store.replay(seq)?;
            queue.take_in(seq, &dead.function, dead.size);
            Ok(())
        })
        .await
    }

    /// Removes the dead letters of this id.
    pub(crate) async fn discard(self: &Arc<Self>, id: &str) -> Result<(), DeadError> {
        let claimed = self.claim(id)?;
        let queue = Arc::clone(self);
        self.with_each(claimed, move |seq, _| queue.store.discard(seq))
            .await
    }

    /// Takes the dead letters of an id out of the list: whoever has them may
    /// change their files. A caller can send the same id twice.
    fn claim(&self, id: &str) -> Result<Vec<(u64, Dead)>, DeadError> {
        let claimed = self.state().take_dead(|dead| dead.id == id);
        match claimed.is_empty() {
            true => Err(DeadError::NotFound),
            false => Ok(claimed),
        }
    }

    async fn with_each(
        self: &Arc<Self>,
        claimed: Vec<(u64, Dead)>,
        act: impl Fn(u64, &Dead) -> io::Result<()> + Send + 'static,
    ) -> Result<(), DeadError> {
        let queue = Arc::clone(self);
        blocking(move || {
            let mut result = Ok(());
            for (seq, dead) in claimed {
                if let Err(error) = act(seq, &dead) {
                    queue.state().dead.insert(seq, dead);
                    result = Err(error);
                }
            }
            result
        })
        .await
        .map_err(DeadError::Failed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moment(&self) -> Moment {
        self.start.elapsed()
    }

    /// Chooses the next call.
    fn next(&self) -> Next {
        let now = self.moment();
        self.state().schedule.next(now)
    }

    /// Gives the slot of an answered call back. Its file is there until
    /// [`finish`](Self::finish).
    fn answered(&self, ticket: &Ticket) {
        let now = self.moment();
        let policy = Policy::default();
        self.state()
            .schedule
            .conclude(ticket, &End::Answered, &policy, now);
        self.changed.notify_one();
    }

    /// Takes note of a call that failed, and brings the files in line. Returns
    /// whether it was given up.
    async fn failed(
        self: &Arc<Self>,
        ticket: &Ticket,
        end: &End,
        policy: &Policy,
        reason: String,
    ) -> bool {
        let given_up = match schedule::verdict(ticket.failures, end, policy) {
            Verdict::Keep | Verdict::Remove => false,
            Verdict::Retry(failures) => {
                self.count(ticket.seq, failures).await;
                false
            }
            Verdict::Bury(attempts) => {
                self.bury(ticket, attempts, reason).await;
                true
            }
        };
        let now = self.moment();
        self.state().schedule.conclude(ticket, end, policy, now);
        self.changed.notify_one();
        given_up
    }

    /// Remembers how often a message failed.
    async fn count(self: &Arc<Self>, seq: u64, failures: u32) {
        let (queue, from) = (Arc::clone(self), self.failures(seq));
        let done = blocking(move || queue.store.retry(seq, from, failures)).await;
        if said(seq, done)
            && let Some(stored) = self.state().stored.get_mut(&seq)
        {
            stored.failures = failures;
        }
    }

    /// Removes a message that is done with.
    async fn finish(self: &Arc<Self>, seq: u64) {
        let (queue, failures) = (Arc::clone(self), self.failures(seq));
        let done = blocking(move || queue.store.finish(seq, failures)).await;
        said(seq, done);
        self.forget(seq);
    }

    async fn bury(self: &Arc<Self>, ticket: &Ticket, attempts: u32, reason: String) {
        let seq = ticket.seq;
        eprintln!(
            "gateway: an asynchronous call of {} is given up after {attempts} attempts: {reason}",
            ticket.function
        );
        let why = Why {
            reason: shortened(reason),
            attempts,
            time: now(),
            hour: self.state().hour,
        };
        let (queue, failures) = (Arc::clone(self), self.failures(seq));
        match blocking(move || queue.store.bury(seq, failures, &why)).await {
            Ok(dead) => {
                self.state().dead.insert(seq, dead);
            }
            Err(error) => {
                said(seq, Err(error));
            }
        }
        self.forget(seq);
        self.prune().await;
    }

    fn failures(&self, seq: u64) -> u32 {
        let state = self.state();
        state.stored.get(&seq).map_or(0, |stored| stored.failures)
    }

    fn forget(&self, seq: u64) {
        let mut state = self.state();
        if let Some(stored) = state.stored.remove(&seq) {
            state.bytes = state.bytes.saturating_sub(stored.size);
        }
    }

    /// Counts an hour of operation.
    async fn hour_passed(self: &Arc<Self>) {
        let hour = {
            let mut state = self.state();
            state.hour += 1;
            (!state.dead.is_empty()).then_some(state.hour)
        };
        if let Some(hour) = hour {
            let clock = self.clock.clone();
            let text = hour.to_string();
            let done = blocking(move || files::replace(&clock, text.as_bytes(), 0o600)).await;
            if let Err(error) = done {
                eprintln!("gateway: cannot write {}: {error}", self.clock.display());
            }
            self.prune().await;
        }
    }

    /// Removes the dead letters that are too old or too many.
    async fn prune(self: &Arc<Self>) {
        let surplus = self.state().surplus(&self.limits);
        for (seq, dead) in surplus {
            eprintln!(
                "gateway: dead letter {} of {} is removed: too many, or too old",
                dead.id, dead.function
            );
            let queue = Arc::clone(self);
            said(seq, blocking(move || queue.store.discard(seq)).await);
        }
    }
}

impl State {
    fn new(found: Found, slots: usize, hour: u64) -> Self {
        let mut schedule = Schedule::new(slots);
        let mut stored = HashMap::new();
        let mut bytes = 0;
        for message in found.waiting {
            schedule.add(message.seq, &message.function, message.failures);
            bytes += message.size;
            let (failures, size) = (message.failures, message.size);
            stored.insert(message.seq, Stored { failures, size });
        }
        Self {
            schedule,
            stored,
            arriving: 0,
            bytes,
            dead: found.dead.into_iter().collect(),
            next: found.next,
            hour,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Takes dead letters out of the list.
    fn take_dead(&mut self, which: impl Fn(&Dead) -> bool) -> Vec<(u64, Dead)> {
        let chosen = self.dead.iter().filter(|(_, dead)| which(dead));
        let chosen: Vec<u64> = chosen.map(|(seq, _)| *seq).collect();
        let taken = chosen.into_iter();
        taken
            .filter_map(|seq| Some((seq, self.dead.remove(&seq)?)))
            .collect()
    }

    /// Takes the dead letters out that are too old or too many, the oldest
    /// first.
    fn surplus(&mut self, limits: &Limits) -> Vec<(u64, Dead)> {
        let hour = self.hour;
        let mut surplus =
            self.take_dead(|dead| hour.saturating_sub(dead.why.hour) >= limits.dead_hours);
        let mut bytes: u64 = self.dead.values().map(|dead| dead.size).sum();
        while self.dead.len() > limits.dead || bytes > limits.dead_bytes() {
            let Some((seq, dead)) = self.dead.pop_first() else {
                break;
            };
            bytes -= dead.size;
            surplus.push((seq, dead));
        }
        surplus
    }
}

/// The place of a request that is arriving.
#[derive(Debug)]
struct Place {
    queue: Arc<Queue>,
    number: u64,
    bytes: u64,
}

impl Place {
    fn new(queue: &Arc<Queue>) -> Result<Self, Refusal> {
        let mut state = queue.state();
        let messages = state.stored.len() + state.arriving;
        if messages >= queue.limits.messages {
            return Err(Refusal::Full(format!("{messages} requests wait")));
        }
        state.arriving += 1;
        let mut place = Self {
            queue: Arc::clone(queue),
            number: state.number(),
            bytes: 0,
        };
        drop(state);
        place.grow(store::on_disk(0))?;
        Ok(place)
    }

    fn grow(&mut self, bytes: u64) -> Result<(), Refusal> {
        let mut state = self.queue.state();
        let sum = state.bytes.saturating_add(bytes);
        if sum > self.queue.limits.bytes {
            return Err(Refusal::Full(format!(
                "{} of {} bytes are taken",
                state.bytes, self.queue.limits.bytes
            )));
        }
        state.bytes = sum;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.arriving -= 1;
        state.bytes = state.bytes.saturating_sub(self.bytes);
    }
}

/// Writes what a draft has in memory. It is moved there and back, so that a
/// caller that goes meanwhile leaves no file behind.
async fn flushed(mut draft: Draft) -> io::Result<Draft> {
    blocking(move || draft.flush().map(|()| draft)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Whether it was done; says so where it was not.
fn said(seq: u64, done: io::Result<()>) -> bool {
    if let Err(error) = &done {
        eprintln!("gateway: message {seq:016x} of the queue: {error}");
    }
    done.is_ok()
}

/// The wall clock, for people.
fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

fn shortened(reason: String) -> String {
    match reason.char_indices().nth(REASON) {
        Some((end, _)) => format!("{}...", &reason[..end]),
        None => reason,
    }
}

#[cfg(test)]
mod tests;
