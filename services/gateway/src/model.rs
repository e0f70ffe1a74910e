//! What the API reads and writes, and the rules for names.

pub mod logs;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::scaling::limits;

/// Names and their values.
pub type Map = BTreeMap<String, String>;

/// Which function is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionId {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

impl FunctionId {
    /// The function of a request path: `name`, or `name.namespace`.
    pub fn parse(text: &str, default_namespace: &str) -> Self {
        match text.rsplit_once('.') {
            Some((name, namespace)) => Self::new(name, namespace),
            None => Self::new(text, default_namespace),
        }
    }

    /// A function by its name and namespace.
    pub fn new(name: &str, namespace: &str) -> Self {
        Self {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
        }
    }
}

impl fmt::Display for FunctionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.namespace)
    }
}

/// Bounds on what a function may use, or what it asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Memory, as `128Mi`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub memory: String,
    /// Processors, as `100m`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cpu: String,
    /// What else was named (`nvidia.com/gpu`); kept, not acted on.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// The body of a deployment or an update.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionDeployment {
    /// Its name.
    #[serde(default)]
    pub service: String,
    /// Its image.
    #[serde(default)]
    pub image: String,
    /// Its namespace, where it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What the watchdog runs, where the image's own is not meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_process: Option<String>,
    /// Variables of its environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_vars: Option<Map>,
    /// Where it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraints: Option<Vec<String>>,
    /// Names of the secrets that it sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<String>>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Map>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Map>,
    /// Most that it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Resources>,
    /// What it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Resources>,
    /// Whether its root filesystem is read-only, with a writable `/tmp`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only_root_filesystem: bool,
    /// `user:password` of the registry in base64; used once, never stored.
    #[serde(default, skip_serializing)]
    pub registry_auth: Option<String>,
}

impl FunctionDeployment {
    /// Names of the secrets that it sees.
    pub fn secret_names(&self) -> &[String] {
        self.secrets.as_deref().unwrap_or_default()
    }

    /// The label `com.openfaas.scale.min`, or one.
    pub fn minimum(&self) -> u32 {
        limits::minimum(self.labels.as_ref())
    }
}

/// What the API says of a function.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionStatus {
    /// Its name.
    pub name: String,
    /// Its image, as it was submitted.
    pub image: String,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// What the watchdog runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_process: Option<String>,
    /// Variables of its environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_vars: Option<Map>,
    /// Where it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraints: Option<Vec<String>>,
    /// Names of the secrets that it sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<String>>,
    /// Labels, `faas_function` among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Map>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Map>,
    /// Most that it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Resources>,
    /// What it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Resources>,
    /// Whether its root filesystem is read-only.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only_root_filesystem: bool,
    /// Requests answered since the gateway started.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub invocation_count: f64,
    /// Replicas that there are to be.
    #[serde(default, skip_serializing_if = "is_naught")]
    pub replicas: u32,
    /// Replicas that run.
    #[serde(default, skip_serializing_if = "is_naught")]
    pub available_replicas: u32,
    /// When it was deployed, in RFC 3339.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created_at: String,
    /// What its replicas use, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// What the replicas of a function use, taken together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Thousandths of a processor.
    pub cpu: f64,
    /// Bytes of memory.
    #[serde(rename = "totalMemoryBytes")]
    pub memory: f64,
}

impl FunctionStatus {
    /// What is known of a function from its deployment alone.
    pub fn of(deployment: &FunctionDeployment, namespace: &str) -> Self {
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let mut labels = deployment.labels.clone().unwrap_or_default();
        labels.insert("faas_function".to_owned(), deployment.service.clone());
        Self {
            name: deployment.service.clone(),
            image: deployment.image.clone(),
            namespace: namespace.to_owned(),
            env_process: some(&deployment.env_process),
            env_vars: filled(deployment.env_vars.as_ref()),
            constraints: deployment.constraints.clone().filter(|all| !all.is_empty()),
            secrets: deployment.secrets.clone().filter(|all| !all.is_empty()),
            labels: Some(labels),
            annotations: filled(deployment.annotations.as_ref()),
            limits: deployment.limits.clone(),
            requests: deployment.requests.clone(),
            read_only_root_filesystem: deployment.read_only_root_filesystem,
            ..Self::default()
        }
    }
}

fn filled(map: Option<&Map>) -> Option<Map> {
    map.filter(|map| !map.is_empty()).cloned()
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

fn is_naught(value: &u32) -> bool {
    *value == 0
}

/// The body of a deletion.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteRequest {
    /// Its name.
    pub function_name: String,
    /// Its namespace.
    pub namespace: Option<String>,
}

/// The body of a change of replicas.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScaleRequest {
    /// The name, which the path has as well.
    pub service_name: Option<String>,
    /// Replicas that there are to be.
    pub replicas: u32,
    /// Its namespace.
    pub namespace: Option<String>,
}

/// The body of what is done with a secret. Where both values are there, the raw
/// one counts.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretRequest {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its value, which is text.
    pub value: Option<String>,
    /// Its value in base64.
    pub raw_value: Option<String>,
}

/// What the API says of a secret: never its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretStatus {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Map>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Map>,
}

/// Whether a name can be that of a function: a label of RFC 1035, though it may
/// begin with a digit.
pub fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(&first), Some(&last)) => {
            bytes.len() <= 63
                && plain(first)
                && plain(last)
                && bytes.iter().all(|&byte| plain(byte) || byte == b'-')
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_function_and_namespace() {
        assert_eq!(
            FunctionId::parse("echo", "fn"),
            FunctionId::new("echo", "fn")
        );
        assert_eq!(
            FunctionId::parse("echo.dev", "fn"),
            FunctionId::new("echo", "dev")
        );
        assert_eq!(
            FunctionId::parse("a.b.dev", "fn"),
            FunctionId::new("a.b", "dev")
        );
    }

    #[test]
    fn names_are_labels() {
        for name in ["a", "echoit", "3d", "a-b", &"x".repeat(63)] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            "-a",
            "a-",
            "A",
            "a.b",
            "a_b",
            "a/b",
            "\u{e4}",
            &"x".repeat(64),
        ] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn what_is_empty_is_left_out_of_a_status() {
        let deployment = FunctionDeployment {
            service: "echo".to_owned(),
            image: "rubus/echoit:1".to_owned(),
            ..FunctionDeployment::default()
        };
        let status = FunctionStatus::of(&deployment, "fn");
        assert_eq!(
            serde_json::to_string(&status).unwrap(),
            r#"{"name":"echo","image":"rubus/echoit:1","namespace":"fn","labels":{"faas_function":"echo"}}"#
        );
    }

    #[test]
    fn a_deployment_of_an_old_client_is_read() {
        let text = r#"{"service":"f","image":"i","network":"func_functions","envVars":null,
            "registryAuth":"dTpw","limits":{"memory":"5Mi","cpu":"100m"},"secrets":[]}"#;
        let deployment: FunctionDeployment = serde_json::from_str(text).unwrap();
        assert_eq!(deployment.registry_auth.as_deref(), Some("dTpw"));
        assert_eq!(deployment.limits.as_ref().unwrap().memory, "5Mi");
        let stored = serde_json::to_string(&deployment).unwrap();
        assert!(!stored.contains("registryAuth"));
    }
}
