//! What the API is asked: from a request to a call. What the paths mean is in
//! `docs/architecture.md`.

use rubus_config::power::PowerAction;
use rubus_service::variants::Named;
use serde::Deserialize;

use crate::http::{Failure, Request};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    List,
    Show(String),
    Start(String),
    Stop(String),
    Restart(String),
    Reload(String),
    Logs {
        service: String,
        tail: Option<usize>,
        follow: bool,
    },
    Definition(String),
    /// Takes in a service that was begun on the node.
    Add(String),
    /// Removes one that was added.
    Remove(String),
    ReadSettings,
    /// The variants of a service.
    Variants(String),
    Switch {
        service: String,
        variant: String,
    },
    Enable {
        service: String,
        variant: String,
    },
    RemoveVariant {
        service: String,
        variant: String,
    },
    Boot,
    Power(PowerAction),
}

/// Finds out what a request asks for.
pub(crate) fn route(request: &Request) -> Result<Call, Failure> {
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    let path: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (call, method) = match path[..] {
        ["v1", "services"] => (Call::List, "GET"),
        ["v1", "services", name] => match request.method.as_str() {
            "PUT" => (Call::Add(name.to_owned()), "PUT"),
            "DELETE" => (Call::Remove(name.to_owned()), "DELETE"),
            _ => (Call::Show(name.to_owned()), "GET"),
        },
        ["v1", "services", name, "start"] => (Call::Start(name.to_owned()), "POST"),
        ["v1", "services", name, "stop"] => (Call::Stop(name.to_owned()), "POST"),
        ["v1", "services", name, "restart"] => (Call::Restart(name.to_owned()), "POST"),
        ["v1", "services", name, "reload"] => (Call::Reload(name.to_owned()), "POST"),
        ["v1", "services", name, "logs"] => (logs(name, query)?, "GET"),
        ["v1", "services", name, "definition"] => (Call::Definition(name.to_owned()), "GET"),
        ["v1", "settings", "reload"] => (Call::ReadSettings, "POST"),
        ["v1", "services", name, "variants"] => (Call::Variants(name.to_owned()), "GET"),
        ["v1", "services", name, "variants", variant] => (
            Call::RemoveVariant {
                service: name.to_owned(),
                variant: variant.to_owned(),
            },
            "DELETE",
        ),
        ["v1", "services", _, "switch" | "enable"] if request.method != "POST" => {
            return Err(wrong_method("POST"));
        }
        ["v1", "services", name, "switch"] => (
            Call::Switch {
                service: name.to_owned(),
                variant: variant(&request.body)?,
            },
            "POST",
        ),
        ["v1", "services", name, "enable"] => (
            Call::Enable {
                service: name.to_owned(),
                variant: variant(&request.body)?,
            },
            "POST",
        ),
        ["v1", "boot"] => (Call::Boot, "GET"),
        ["v1", "power"] if request.method != "POST" => return Err(wrong_method("POST")),
        ["v1", "power"] => (power(&request.body)?, "POST"),
        _ => return Err(Failure::new(404, format!("there is no {}", request.target))),
    };
    if request.method != method {
        return Err(wrong_method(method));
    }
    Ok(call)
}

fn wrong_method(right: &str) -> Failure {
    Failure::new(405, format!("use {right}"))
}

fn logs(name: &str, query: &str) -> Result<Call, Failure> {
    let (mut tail, mut follow) = (None, false);
    for pair in query.split('&').filter(|it| !it.is_empty()) {
        let wrong = || Failure::new(400, format!("\"{pair}\" is not tail=NUMBER or follow=true"));
        match pair.split_once('=').ok_or_else(wrong)? {
            ("tail", count) => tail = Some(count.parse().map_err(|_| wrong())?),
            ("follow", word) => follow = word.parse().map_err(|_| wrong())?,
            _ => return Err(wrong()),
        }
    }
    Ok(Call::Logs {
        service: name.to_owned(),
        tail,
        follow,
    })
}

fn variant(body: &[u8]) -> Result<String, Failure> {
    serde_json::from_slice::<Named>(body)
        .map(|named| named.variant)
        .map_err(|error| Failure::new(400, format!("send {{\"variant\":\"NAME\"}}: {error}")))
}

fn power(body: &[u8]) -> Result<Call, Failure> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Power {
        action: PowerAction,
    }
    serde_json::from_slice::<Power>(body)
        .map(|power| Call::Power(power.action))
        .map_err(|error| {
            Failure::new(
                400,
                format!("send {{\"action\":\"reboot\"}} or {{\"action\":\"poweroff\"}}: {error}"),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, target: &str, body: &str) -> Result<Call, u16> {
        route(&Request {
            method: method.to_owned(),
            target: target.to_owned(),
            body: body.into(),
        })
        .map_err(|failure| failure.status)
    }

    #[test]
    fn every_path_has_its_call() {
        let name = || "ntp".to_owned();
        assert_eq!(ask("GET", "/v1/services", ""), Ok(Call::List));
        assert_eq!(ask("GET", "/v1/services/ntp", ""), Ok(Call::Show(name())));
        assert_eq!(
            ask("POST", "/v1/services/ntp/start", ""),
            Ok(Call::Start(name()))
        );
        assert_eq!(
            ask("POST", "/v1/services/ntp/stop", ""),
            Ok(Call::Stop(name()))
        );
        assert_eq!(
            ask("POST", "/v1/services/ntp/restart", ""),
            Ok(Call::Restart(name()))
        );
        assert_eq!(
            ask("POST", "/v1/services/ntp/reload", ""),
            Ok(Call::Reload(name()))
        );
        assert_eq!(
            ask("GET", "/v1/services/ntp/definition", ""),
            Ok(Call::Definition(name()))
        );
        assert_eq!(
            ask("POST", "/v1/settings/reload", ""),
            Ok(Call::ReadSettings)
        );
        assert_eq!(ask("PUT", "/v1/services/ntp", ""), Ok(Call::Add(name())));
        assert_eq!(
            ask("DELETE", "/v1/services/ntp", ""),
            Ok(Call::Remove(name()))
        );
        assert_eq!(ask("GET", "/v1/boot", ""), Ok(Call::Boot));
        let logs = |tail, follow| {
            Ok(Call::Logs {
                service: name(),
                tail,
                follow,
            })
        };
        assert_eq!(ask("GET", "/v1/services/ntp/logs", ""), logs(None, false));
        assert_eq!(
            ask("GET", "/v1/services/ntp/logs?tail=5&follow=true", ""),
            logs(Some(5), true)
        );
        assert_eq!(
            ask("POST", "/v1/power", "{\"action\":\"reboot\"}"),
            Ok(Call::Power(PowerAction::Reboot))
        );
    }

    #[test]
    fn variants_are_listed_switched_enabled_and_removed() {
        let (service, variant) = (|| "docker".to_owned(), || "docker-28".to_owned());
        let body = r#"{"variant":"docker-28"}"#;
        assert_eq!(
            ask("GET", "/v1/services/docker/variants", ""),
            Ok(Call::Variants(service()))
        );
        assert_eq!(
            ask("POST", "/v1/services/docker/switch", body),
            Ok(Call::Switch {
                service: service(),
                variant: variant()
            })
        );
        assert_eq!(
            ask("POST", "/v1/services/docker/enable", body),
            Ok(Call::Enable {
                service: service(),
                variant: variant()
            })
        );
        assert_eq!(
            ask("DELETE", "/v1/services/docker/variants/docker-28", ""),
            Ok(Call::RemoveVariant {
                service: service(),
                variant: variant()
            })
        );
        for (method, target, body, status) in [
            ("GET", "/v1/services/docker/switch", body, 405),
            ("POST", "/v1/services/docker/variants", "", 405),
            ("GET", "/v1/services/docker/variants/x", "", 405),
            ("POST", "/v1/services/docker/switch", "", 400),
            ("POST", "/v1/services/docker/enable", "{\"x\":1}", 400),
        ] {
            assert_eq!(ask(method, target, body), Err(status), "{method} {target}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(ask("GET", "/", ""), Err(404));
        assert_eq!(ask("GET", "/v2/services", ""), Err(404));
        assert_eq!(ask("POST", "/v1/services", ""), Err(405));
        assert_eq!(ask("POST", "/v1/services/ntp", ""), Err(405));
        assert_eq!(ask("GET", "/v1/services/ntp/start", ""), Err(405));
        assert_eq!(ask("GET", "/v1/settings/reload", ""), Err(405));
        assert_eq!(ask("GET", "/v1/power", ""), Err(405));
        assert_eq!(
            ask("POST", "/v1/power", "{\"action\":\"explode\"}"),
            Err(400)
        );
        assert_eq!(ask("POST", "/v1/power", ""), Err(400));
        assert_eq!(ask("GET", "/v1/services/ntp/logs?tail=-1", ""), Err(400));
        assert_eq!(ask("GET", "/v1/services/ntp/logs?colour=red", ""), Err(400));
    }
}
