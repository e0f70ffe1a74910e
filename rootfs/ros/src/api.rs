//! What the runtime's API answers, and the requests that `ros` makes.

use rubus_config::boot::Step;
use rubus_config::power::PowerAction;
use rubus_service::Service;
use rubus_service::status::{State, Status};
use rubus_service::suggest::nearest;
use rubus_service::variants::{Named, Variants};
use serde::{Deserialize, Serialize};

use crate::client::{Body, Client, ClientError, Wait, escape};

/// What `GET /v1/boot` answers.
pub(crate) type Boot = rubus_service::status::Boot<Step>;

/// Whether a program of a service in this state runs.
pub(crate) const fn runs(state: State) -> bool {
    matches!(
        state,
        State::Starting | State::Running | State::Ready | State::Unhealthy | State::Stopping
    )
}

/// Whether a service in this state runs or is about to.
pub(crate) const fn will_run(state: State) -> bool {
    runs(state) || matches!(state, State::Waiting | State::Backoff)
}

/// Whether a service should be ready and is not: it is enabled, or somebody
/// started it.
pub(crate) const fn is_missing(service: &Status) -> bool {
    match service.state {
        State::Ready | State::Done => false,
        State::Stopped => service.enabled,
        _ => true,
    }
}

/// What can be asked of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start it and wait until it is ready.
    Start,
    /// Stop it and wait until it has ended.
    Stop,
    /// Both.
    Restart,
    /// Have it read its settings anew; that restarts it unless it can do
    /// without.
    Reload,
}

impl Action {
    /// The word in the path of the request.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
        }
    }
}

/// What `POST /v1/settings/reload` answers.
#[derive(Debug, Deserialize)]
pub(crate) struct SettingsRead {
    /// When settings on trial are taken back: microseconds since the kernel
    /// started.
    pub(crate) trial_ends_us: Option<u64>,
}

/// The body of `POST /v1/power`.
#[derive(Serialize)]
struct Power {
    action: PowerAction,
}

/// What the removal of a service or a variant answers.
#[derive(Deserialize)]
struct Removed {
    aside: String,
}

impl Client {
    /// All services.
    pub(crate) fn services(&self) -> Result<Vec<Status>, ClientError> {
        self.get("/v1/services")
    }

    /// One service.
    pub(crate) fn service(&self, name: &str) -> Result<Status, ClientError> {
        self.get(&format!("/v1/services/{}", escape(name)))
            .map_err(|e| self.explain(name, e))
    }

    /// Starts, stops or restarts a service; the answer comes when that is done.
    pub(crate) fn act(&self, name: &str, action: Action) -> Result<Status, ClientError> {
        self.post(&format!("/v1/services/{}/{}", escape(name), action.word()))
            .map_err(|e| self.explain(name, e))
    }

    /// What a service is defined as.
    pub(crate) fn definition(&self, name: &str) -> Result<Service, ClientError> {
        self.get(&format!("/v1/services/{}/definition", escape(name)))
            .map_err(|e| self.explain(name, e))
    }

    /// Has the runtime read what concerns it of the settings.
    pub(crate) fn read_settings(&self) -> Result<SettingsRead, ClientError> {
        self.post("/v1/settings/reload")
    }

    /// The log of a service, one `LogLine` in JSON a line.
    pub(crate) fn logs(
        &self,
        name: &str,
        tail: Option<u32>,
        follow: bool,
    ) -> Result<Body, ClientError> {
        let wait = if follow { Wait::Long } else { Wait::Short };
        self.stream(&logs_path(name, tail, follow), wait)
            .map_err(|e| self.explain(name, e))
    }

    /// Has the runtime take in a service whose bundle was begun; it starts if it
    /// is enabled.
    pub(crate) fn add_service(&self, name: &str) -> Result<Status, ClientError> {
        self.put(&format!("/v1/services/{}", escape(name)))
    }

    /// Has the runtime let go of a service that was added and does not run.
    /// Returns the folder with its files, which are the caller's to delete.
    pub(crate) fn remove_service(&self, name: &str) -> Result<String, ClientError> {
        let removed: Removed = self.delete(&format!("/v1/services/{}", escape(name)))?;
        Ok(removed.aside)
    }

    /// The variants of a service.
    pub(crate) fn variants(&self, service: &str) -> Result<Variants, ClientError> {
        self.get(&format!("/v1/services/{}/variants", escape(service)))
            .map_err(|e| self.explain(service, e))
    }

    /// Begins a switch to another variant.
    pub(crate) fn switch_variant(
        &self,
        service: &str,
        variant: &str,
    ) -> Result<Variants, ClientError> {
        self.name_variant(service, "switch", variant)
    }

    /// Chooses the variant that the next boot tries.
    pub(crate) fn enable_variant(
        &self,
        service: &str,
        variant: &str,
    ) -> Result<Variants, ClientError> {
        self.name_variant(service, "enable", variant)
    }

    /// Takes an added variant out of the list. Returns the folder with its
    /// files, which are the caller's to delete.
    pub(crate) fn remove_variant(
        &self,
        service: &str,
        variant: &str,
    ) -> Result<String, ClientError> {
        let (service, variant) = (escape(service), escape(variant));
        let removed: Removed =
            self.delete(&format!("/v1/services/{service}/variants/{variant}"))?;
        Ok(removed.aside)
    }

    fn name_variant(
        &self,
        service: &str,
        what: &str,
        variant: &str,
    ) -> Result<Variants, ClientError> {
        let named = Named {
            variant: variant.to_owned(),
        };
        let body =
            serde_json::to_string(&named).map_err(|e| ClientError::Garbled(e.to_string()))?;
        self.ask(&format!("/v1/services/{}/{what}", escape(service)), &body)
    }

    /// The boot.
    pub(crate) fn boot(&self) -> Result<Boot, ClientError> {
        self.get("/v1/boot")
    }

    /// Asks for the end of this run of the machine.
    pub(crate) fn power(&self, action: PowerAction) -> Result<(), ClientError> {
        let body = serde_json::to_string(&Power { action })
            .map_err(|e| ClientError::Garbled(e.to_string()))?;
        self.post_json("/v1/power", &body)
    }

    /// Says what to do about a service that does not exist.
    fn explain(&self, name: &str, error: ClientError) -> ClientError {
        match error {
            ClientError::Refused { status: 404, .. } => {
                let services = self.services().unwrap_or_default();
                let names = services.iter().map(|service| service.name.as_str());
                ClientError::Refused {
                    status: 404,
                    message: unknown_service(name, names),
                }
            }
            other => other,
        }
    }
}

fn logs_path(name: &str, tail: Option<u32>, follow: bool) -> String {
    let mut path = format!("/v1/services/{}/logs", escape(name));
    let tail = tail.map(|n| format!("tail={n}"));
    let follow = follow.then(|| "follow=true".to_owned());
    let query: Vec<String> = tail.into_iter().chain(follow).collect();
    if !query.is_empty() {
        path.push('?');
        path += &query.join("&");
    }
    path
}

/// The error about a name that no service has.
pub(crate) fn unknown_service<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    let hint = nearest(name, names)
        .map(|other| format!(" (did you mean {other}?)"))
        .unwrap_or_default();
    format!("no service is called {name}{hint}; `ros service list` shows all")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_the_way_out() {
        assert_eq!(
            unknown_service("ntpp", ["ntp"].into_iter()),
            "no service is called ntpp (did you mean ntp?); `ros service list` shows all"
        );
        assert_eq!(
            unknown_service("zzz", ["ntp"].into_iter()),
            "no service is called zzz; `ros service list` shows all"
        );
    }

    #[test]
    fn a_log_is_asked_for_with_what_was_said_only() {
        assert_eq!(logs_path("ntp", None, false), "/v1/services/ntp/logs");
        assert_eq!(
            logs_path("ntp", Some(5), true),
            "/v1/services/ntp/logs?tail=5&follow=true"
        );
        assert_eq!(
            logs_path("a/b?c", None, true),
            "/v1/services/a%2Fb%3Fc/logs?follow=true"
        );
    }

    #[test]
    fn a_service_is_missing_when_it_should_be_ready() {
        let service = |enabled, state| Status {
            enabled,
            ..crate::samples::service("ntp", state)
        };
        assert!(is_missing(&service(true, State::Failed)));
        assert!(is_missing(&service(true, State::Stopped)));
        assert!(is_missing(&service(true, State::Running)));
        assert!(is_missing(&service(false, State::Failed)));
        assert!(!is_missing(&service(true, State::Ready)));
        assert!(!is_missing(&service(true, State::Done)));
        assert!(!is_missing(&service(false, State::Stopped)));
    }

    #[test]
    fn power_is_asked_for_in_the_words_of_the_api() {
        let body = serde_json::to_string(&Power {
            action: PowerAction::Poweroff,
        });
        assert_eq!(body.unwrap(), r#"{"action":"poweroff"}"#);
    }
}
