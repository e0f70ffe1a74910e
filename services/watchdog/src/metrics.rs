//! The metrics of a watchdog, in the text format of Prometheus.
//!
//! Three metrics with two labels: written out here, because a library for them
//! would be a tenth of the program.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use hyper::Method;

/// The usual bounds of a histogram in seconds.
const BUCKETS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// What was counted of the requests of one method and status.
#[derive(Clone, Debug, Default)]
struct Series {
    count: u64,
    sum: f64,
    buckets: [u64; BUCKETS.len()],
}

/// The metrics that upstream's watchdogs have.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    in_flight: AtomicI64,
    series: Mutex<BTreeMap<(u16, &'static str), Series>>,
}

impl Metrics {
    /// Counts a request as in flight.
    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests in flight.
    pub(crate) fn in_flight(&self) -> i64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a request that is over, and no longer in flight.
    pub(crate) fn end(&self, code: u16, method: &'static str, seconds: f64) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let series = all.entry((code, method)).or_default();
        series.count += 1;
        series.sum += seconds;
        for (bound, bucket) in BUCKETS.iter().zip(&mut series.buckets) {
            *bucket += u64::from(seconds <= *bound);
        }
    }

    /// Everything as text.
    pub(crate) fn encode(&self) -> String {
        let series = self
            .series
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, self.in_flight(), &series);
        text
    }
}

fn encode(
    text: &mut String,
    in_flight: i64,
    all: &BTreeMap<(u16, &str), Series>,
) -> std::fmt::Result {
    const SECONDS: &str = "http_request_duration_seconds";
    writeln!(
        text,
        "# HELP {SECONDS} Seconds spent serving HTTP requests."
    )?;
    writeln!(text, "# TYPE {SECONDS} histogram")?;
    for ((code, method), series) in all {
        let labels = format!("code=\"{code}\",method=\"{method}\"");
        for (bound, count) in BUCKETS.iter().zip(series.buckets) {
            writeln!(text, "{SECONDS}_bucket{{{labels},le=\"{bound}\"}} {count}")?;
        }
        let Series { count, sum, .. } = series;
        writeln!(text, "{SECONDS}_bucket{{{labels},le=\"+Inf\"}} {count}")?;
        writeln!(text, "{SECONDS}_sum{{{labels}}} {sum}")?;
        writeln!(text, "{SECONDS}_count{{{labels}}} {count}")?;
    }
    writeln!(
        text,
        "# HELP http_requests_in_flight The number of HTTP requests being served."
    )?;
    writeln!(text, "# TYPE http_requests_in_flight gauge")?;
    writeln!(text, "http_requests_in_flight {in_flight}")?;
    writeln!(
        text,
        "# HELP http_requests_total The total number of HTTP requests."
    )?;
    writeln!(text, "# TYPE http_requests_total counter")?;
    for ((code, method), series) in all {
        let count = series.count;
        writeln!(
            text,
            "http_requests_total{{code=\"{code}\",method=\"{method}\"}} {count}"
        )?;
    }
    Ok(())
}

/// The label of a method. A caller can make methods up, but not series.
pub(crate) fn label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "get",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        "HEAD" => "head",
        "OPTIONS" => "options",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_status_and_method() {
        let metrics = Metrics::default();
        for (code, method, seconds) in [
            (200, Method::POST, 0.02),
            (200, Method::POST, 20.0),
            (500, Method::GET, 0.001),
            (405, Method::from_bytes(b"ANYTHING").unwrap(), 0.001),
        ] {
            metrics.begin();
            metrics.end(code, label(&method), seconds);
        }
        metrics.begin();
        let text = metrics.encode();
        metrics.end(200, "get", 0.1);
        for line in [
            "# TYPE http_request_duration_seconds histogram",
            "http_request_duration_seconds_bucket{code=\"200\",method=\"post\",le=\"0.01\"} 0",
            "http_request_duration_seconds_bucket{code=\"200\",method=\"post\",le=\"0.025\"} 1",
            "http_request_duration_seconds_bucket{code=\"200\",method=\"post\",le=\"10\"} 1",
            "http_request_duration_seconds_bucket{code=\"200\",method=\"post\",le=\"+Inf\"} 2",
            "http_request_duration_seconds_sum{code=\"200\",method=\"post\"} 20.02",
            "http_request_duration_seconds_count{code=\"500\",method=\"get\"} 1",
            "http_requests_total{code=\"200\",method=\"post\"} 2",
            "http_requests_total{code=\"405\",method=\"unknown\"} 1",
            "http_requests_in_flight 1",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
        assert!(metrics.encode().contains("http_requests_in_flight 0\n"));
    }
}
