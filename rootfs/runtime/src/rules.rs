//! What of a service's definition decides over its life.

use rubus_service::{Kind, Probe, Restart, Service};

use crate::machine::Micros;

/// The longest pause between probes while a service comes up: a probe inside
/// the container costs the start of a process, one over a socket next to
/// nothing.
const LONGEST_EXEC_PAUSE: Micros = 1_000_000;
pub(crate) const LONGEST_SOCKET_PAUSE: Micros = 200_000;

/// What of a [`Service`] decides over its life.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) oneshot: bool,
    pub(crate) restart: Restart,
    pub(crate) stop_timeout: Micros,
    pub(crate) post_start: bool,
    pub(crate) health: Option<HealthRules>,
    /// For the reason of an end by the memory limit.
    pub(crate) memory: Option<String>,
}

/// What of a health check decides.
#[derive(Clone, Debug)]
pub(crate) struct HealthRules {
    pub(crate) interval: Micros,
    pub(crate) retries: u32,
    /// The longest pause between probes while the service comes up.
    pub(crate) longest_pause: Micros,
}

impl From<&Service> for Rules {
    fn from(service: &Service) -> Rules {
        let micros = |period: rubus_service::units::Period| {
            Micros::try_from(period.0.as_micros()).unwrap_or(Micros::MAX / 4)
        };
        Rules {
            oneshot: service.kind == Kind::Oneshot,
            restart: service.restart,
            stop_timeout: micros(service.stop_timeout),
            post_start: !service.post_start.is_empty(),
            health: service.health.as_ref().map(|health| HealthRules {
                interval: micros(health.interval),
                retries: health.retries,
                longest_pause: match health.probe {
                    Probe::Exec(_) => LONGEST_EXEC_PAUSE,
                    Probe::Http(_) | Probe::Tcp(_) => LONGEST_SOCKET_PAUSE,
                },
            }),
            memory: service.limits.memory.map(|it| it.to_string()),
        }
    }
}
