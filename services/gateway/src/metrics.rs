//! The metrics of the gateway, under upstream's names.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, core::Metric,
};
use tokio::sync::Notify;

use crate::{
    model::{FunctionId, FunctionStatus},
    queue::Overview,
};

/// What is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    start: Instant,
    registry: Registry,
    total: IntCounterVec,
    started: IntCounterVec,
    seconds: HistogramVec,
    replicas: IntGaugeVec,
    queue_depth: IntGaugeVec,
    queue_inflight: IntGaugeVec,
    queue_dead: IntGauge,
    functions: Mutex<HashMap<FunctionId, Arc<Function>>>,
    /// Requests to all functions that have begun and not ended.
    in_flight: Arc<AtomicU32>,
    /// Told of every request.
    pub(crate) arrived: Notify,
}

/// What is counted of one function, found once and not by its labels at every
/// request.
#[derive(Debug)]
pub(crate) struct Function {
    name: String,
    total: IntCounterVec,
    seconds: HistogramVec,
    started: IntCounter,
    codes: Mutex<Vec<Code>>,
    begun: AtomicU64,
    in_flight: AtomicU32,
    last: Mutex<Instant>,
}

/// What is counted of the answers with one status.
#[derive(Debug)]
struct Code {
    code: u16,
    total: IntCounter,
    seconds: Histogram,
}

/// The answers with one status.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) code: u16,
    pub(crate) count: u64,
    /// What they took together.
    pub(crate) seconds: f64,
    /// How many took no longer than each of `prometheus::DEFAULT_BUCKETS`.
    pub(crate) buckets: Vec<u64>,
}

impl Function {
    /// The answers so far.
    pub(crate) fn answers(&self) -> Vec<Answers> {
        let codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = |code: &Code| {
            let metric = code.seconds.metric();
            let buckets = metric.get_histogram().get_bucket();
            Answers {
                code: code.code,
                count: code.total.get(),
                seconds: code.seconds.get_sample_sum(),
                buckets: buckets.iter().map(|it| it.cumulative_count()).collect(),
            }
        };
        codes.iter().map(answers).collect()
    }

    /// Requests that have begun so far.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Requests that have begun and not ended.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// When a request last began or ended.
    pub(crate) fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Requests that have ended.
    fn ended(&self) -> u64 {
        let codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.iter().map(|code| code.total.get()).sum()
    }

    fn end(&self, code: u16, seconds: f64) {
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        let place = codes.iter().position(|it| it.code == code);
        let place = place.unwrap_or_else(|| {
            let labels = [self.name.as_str(), &code.to_string()];
            codes.push(Code {
                code,
                total: self.total.with_label_values(&labels),
                seconds: self.seconds.with_label_values(&labels),
            });
            codes.len() - 1
        });
        if let Some(code) = codes.get(place) {
            code.total.inc();
            code.seconds.observe(seconds);
        }
    }
}

impl Metrics {
    pub(crate) fn new() -> prometheus::Result<Self> {
        let name = "function_name";
        let metrics = Self {
            start: Instant::now(),
            registry: Registry::new(),
            total: IntCounterVec::new(
                Opts::new("gateway_function_invocation_total", "Function metrics"),
                &[name, "code"],
            )?,
            started: IntCounterVec::new(
                Opts::new(
                    "gateway_function_invocation_started",
                    "The total number of function HTTP requests started.",
                ),
                &[name],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new("gateway_functions_seconds", "Function time taken"),
                &[name, "code"],
            )?,
            replicas: IntGaugeVec::new(
                Opts::new(
                    "gateway_service_count",
                    "Current count of replicas for function",
                ),
                &[name],
            )?,
            queue_depth: IntGaugeVec::new(
                Opts::new("gateway_queue_depth", "Asynchronous calls that wait"),
                &[name],
            )?,
            queue_inflight: IntGaugeVec::new(
                Opts::new("gateway_queue_inflight", "Asynchronous calls under way"),
                &[name],
            )?,
            queue_dead: IntGauge::new(
                "gateway_queue_dead",
                "Asynchronous calls that were given up",
            )?,
            functions: Mutex::default(),
            in_flight: Arc::default(),
            arrived: Notify::new(),
        };
        let registry = &metrics.registry;
        registry.register(Box::new(metrics.total.clone()))?;
        registry.register(Box::new(metrics.started.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.replicas.clone()))?;
        registry.register(Box::new(metrics.queue_depth.clone()))?;
        registry.register(Box::new(metrics.queue_inflight.clone()))?;
        registry.register(Box::new(metrics.queue_dead.clone()))?;
        Ok(metrics)
    }

    /// Counts a request to a function as started. It counts as answered when
    /// what is returned goes.
    pub(crate) fn begin(&self, id: &FunctionId) -> Invocation {
        let function = self.function(id);
        function.started.inc();
        function.begun.fetch_add(1, Ordering::Relaxed);
        function.in_flight.fetch_add(1, Ordering::Relaxed);
        function.touch();
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.arrived.notify_one();
        Invocation {
            function,
            all: Arc::clone(&self.in_flight),
            code: 500,
            start: Instant::now(),
        }
    }

    fn function(&self, id: &FunctionId) -> Arc<Function> {
        let mut functions = self
            .functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.get(id) {
            return Arc::clone(function);
        }
        let name = id.to_string();
        let function = Arc::new(Function {
            started: self.started.with_label_values(&[&name]),
            total: self.total.clone(),
            seconds: self.seconds.clone(),
            codes: Mutex::default(),
            begun: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            last: Mutex::new(Instant::now()),
            name,
        });
        functions.insert(id.clone(), Arc::clone(&function));
        function
    }

    /// Since when it counts.
    pub(crate) fn age(&self) -> Duration {
        self.start.elapsed()
    }

    /// The functions that were called so far.
    pub(crate) fn called(&self) -> Vec<(FunctionId, Arc<Function>)> {
        let functions = self
            .functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let pair =
            |(id, function): (&FunctionId, &Arc<Function>)| (id.clone(), Arc::clone(function));
        functions.iter().map(pair).collect()
    }

    /// Requests to all functions that have begun and not ended.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// A function, if it was called so far.
    pub(crate) fn find(&self, id: &FunctionId) -> Option<Arc<Function>> {
        let functions = self
            .functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        functions.get(id).cloned()
    }

    /// Requests to a function that were answered.
    pub(crate) fn invocations(&self, id: &FunctionId) -> f64 {
        self.find(id).map_or(0, |function| function.ended()) as f64
    }

    /// Takes over how the queue is.
    pub(crate) fn set_queue(&self, queue: &Overview) {
        self.queue_depth.reset();
        self.queue_inflight.reset();
        for function in &queue.functions {
            let name = [function.name.as_str()];
            let count = |number| i64::try_from(number).unwrap_or(i64::MAX);
            let depth = self.queue_depth.with_label_values(&name);
            depth.set(count(function.depth));
            let inflight = self.queue_inflight.with_label_values(&name);
            inflight.set(count(function.inflight));
        }
        let dead = i64::try_from(queue.dead.len()).unwrap_or(i64::MAX);
        self.queue_dead.set(dead);
    }

    /// Everything as text, with these functions' replicas.
    pub(crate) fn encode(&self, functions: &[FunctionStatus]) -> String {
        self.replicas.reset();
        for function in functions {
            let name = format!("{}.{}", function.name, function.namespace);
            self.replicas
                .with_label_values(&[&name])
                .set(i64::from(function.replicas));
        }
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_default()
    }
}

/// A request on its way through the gateway.
#[derive(Debug)]
pub(crate) struct Invocation {
    function: Arc<Function>,
    /// Those of all functions.
    all: Arc<AtomicU32>,
    code: u16,
    start: Instant,
}

impl Invocation {
    /// Says what the caller is answered.
    pub(crate) fn answered(&mut self, code: u16) {
        self.code = code;
    }
}

impl Drop for Invocation {
    fn drop(&mut self) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.function.end(self.code, seconds);
        self.function.touch();
        self.function.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}
