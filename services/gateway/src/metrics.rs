//! The metrics of the gateway, under upstream's names.

use std::{collections::HashMap, time::Instant};

use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    core::Collector,
};

use crate::{
    model::{FunctionId, FunctionStatus},
    queue::Overview,
};

/// What is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    total: IntCounterVec,
    started: IntCounterVec,
    seconds: HistogramVec,
    replicas: IntGaugeVec,
    queue_depth: IntGaugeVec,
    queue_inflight: IntGaugeVec,
    queue_dead: IntGauge,
}

impl Metrics {
    pub(crate) fn new() -> prometheus::Result<Self> {
        let name = "function_name";
        let metrics = Self {
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
        let name = id.to_string();
        self.started.with_label_values(&[&name]).inc();
        Invocation {
            name,
            code: 500,
            start: Instant::now(),
            total: self.total.clone(),
            seconds: self.seconds.clone(),
        }
    }

    /// Requests answered, by `name.namespace`.
    pub(crate) fn invocations(&self) -> HashMap<String, f64> {
        let mut sums = HashMap::new();
        for family in self.total.collect() {
            for metric in family.get_metric() {
                let name = metric
                    .get_label()
                    .iter()
                    .find(|label| label.name() == "function_name");
                if let Some(name) = name {
                    *sums.entry(name.value().to_owned()).or_default() +=
                        metric.get_counter().get_value();
                }
            }
        }
        sums
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
    name: String,
    code: u16,
    start: Instant,
    total: IntCounterVec,
    seconds: HistogramVec,
}

impl Invocation {
    /// Says what the caller is answered.
    pub(crate) fn answered(&mut self, code: u16) {
        self.code = code;
    }
}

impl Drop for Invocation {
    fn drop(&mut self) {
        let labels = [self.name.as_str(), &self.code.to_string()];
        self.total.with_label_values(&labels).inc();
        self.seconds
            .with_label_values(&labels)
            .observe(self.start.elapsed().as_secs_f64());
    }
}
