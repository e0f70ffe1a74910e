//! `/system/stats`: the numbers of all functions since the gateway started.
//! They only grow, so that whoever asks twice knows what was between.

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, response::Response};
use serde::Serialize;

use super::{Gateway, json_answer};
use crate::{metrics::Answers, provider::Provider};

#[derive(Debug, Serialize)]
struct Stats {
    /// Since the gateway started.
    seconds: f64,
    /// The bounds, in seconds, that answers are counted by.
    buckets: &'static [f64],
    functions: Vec<Function>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Function {
    name: String,
    namespace: String,
    begun: u64,
    in_flight: u32,
    /// Answers by the class of their status, as `2xx`.
    answers: BTreeMap<String, u64>,
    /// What they took together.
    seconds: f64,
    /// How many took no longer than each bound.
    buckets: Vec<u64>,
}

pub(super) async fn show<P: Provider>(State(gateway): State<Arc<Gateway<P>>>) -> Response {
    let mut functions: Vec<_> = gateway
        .metrics
        .called()
        .into_iter()
        .map(|(id, counted)| {
            let mut function = Function {
                name: id.name,
                namespace: id.namespace,
                begun: counted.begun(),
                in_flight: counted.in_flight(),
                answers: BTreeMap::new(),
                seconds: 0.0,
                buckets: vec![0; prometheus::DEFAULT_BUCKETS.len()],
            };
            for answers in counted.answers() {
                function.add(&answers);
            }
            function
        })
        .collect();
    functions.sort_by(|a, b| (&a.name, &a.namespace).cmp(&(&b.name, &b.namespace)));
    json_answer(&Stats {
        seconds: gateway.metrics.age().as_secs_f64(),
        buckets: prometheus::DEFAULT_BUCKETS,
        functions,
    })
}

impl Function {
    fn add(&mut self, answers: &Answers) {
        let class = format!("{}xx", answers.code / 100);
        *self.answers.entry(class).or_default() += answers.count;
        self.seconds += answers.seconds;
        for (sum, count) in self.buckets.iter_mut().zip(&answers.buckets) {
            *sum += count;
        }
    }
}
