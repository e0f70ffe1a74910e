//! What Alertmanager says, and what follows from it: upstream's rules, so that
//! alert rules for OpenFaaS work.

use serde::Deserialize;

use super::limits::Limits;

/// The body of a webhook of Alertmanager, as much of it as counts here.
#[derive(Clone, Debug, Deserialize)]
pub struct Webhook {
    /// What is to be told.
    #[serde(default)]
    pub alerts: Vec<Alert>,
}

/// One alert.
#[derive(Clone, Debug, Deserialize)]
pub struct Alert {
    /// `firing` or `resolved`.
    #[serde(default)]
    pub status: String,
    /// Whom it concerns.
    #[serde(default)]
    pub labels: Labels,
}

/// The labels of an alert that count here.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Labels {
    /// The function, as `name` or `name.namespace`.
    #[serde(default)]
    pub function_name: String,
}

/// The replicas that a function is to have after an alert. One that is resolved
/// goes straight back to the least.
pub fn replicas(current: u32, limits: Limits, firing: bool) -> u32 {
    if !firing {
        return limits.min;
    }
    let step = (u64::from(limits.max) * u64::from(limits.factor)).div_ceil(100);
    let more = u64::from(current) + step;
    u32::try_from(more).map_or(limits.max, |more| more.min(limits.max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_adds_a_share_of_the_most_and_its_end_leaves_the_least() {
        let limits = |min, max, factor| Limits { min, max, factor };
        for (current, limits, firing, expected) in [
            (1, limits(1, 20, 20), true, 5),
            (5, limits(1, 20, 20), true, 9),
            (17, limits(1, 20, 20), true, 20),
            (20, limits(1, 20, 20), true, 20),
            (20, limits(1, 20, 20), false, 1),
            // Part of a replica is a whole one.
            (1, limits(1, 5, 10), true, 2),
            (0, limits(2, 8, 25), true, 2),
            // The least and the most being equal switches scaling off.
            (3, limits(3, 3, 20), true, 3),
            (3, limits(3, 3, 20), false, 3),
            (u32::MAX, limits(1, u32::MAX, 100), true, u32::MAX),
        ] {
            let replicas = replicas(current, limits, firing);
            assert_eq!(replicas, expected, "{current} {limits:?} {firing}");
        }
    }

    #[test]
    fn a_webhook_is_read_for_what_counts() {
        let text = r#"{"receiver": "scale-up", "status": "firing", "version": "4", "alerts": [
            {"status": "firing", "labels": {"alertname": "APIHighInvocationRate",
             "function_name": "echo.fn", "code": "200"}, "annotations": {}, "startsAt": "x"},
            {"status": "resolved", "labels": {}}]}"#;
        let webhook: Webhook = serde_json::from_str(text).unwrap();
        let seen: Vec<_> = webhook
            .alerts
            .iter()
            .map(|alert| (alert.status.as_str(), alert.labels.function_name.as_str()))
            .collect();
        assert_eq!(seen, [("firing", "echo.fn"), ("resolved", "")]);
    }
}
