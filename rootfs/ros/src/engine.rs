//! The Docker engine, as much of its API as `ros` needs: what `docker` calls
//! containers, images, networks and volumes. Requests name no version: each
//! engine then takes its own, and what is used here has not changed since 1.41.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use rubus_service::ImageConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::client::{Body, Client, ClientError, Wait, escape};

/// The longest line of a progress report.
const MAX_LINE: u64 = 1024 * 1024;
const NOT_MODIFIED: u16 = 304;
const NOT_FOUND: u16 = 404;

/// Why the engine did not do something.
#[derive(Debug)]
pub(crate) struct EngineError(ClientError);

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ClientError::Unreachable { source, .. } => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => f.write_str(
                    "the Docker engine does not run; `ros logs docker` shows why, \
                     `ros service start docker` starts it",
                ),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    f.write_str("the Docker engine does not answer; try again")
                }
                _ => write!(f, "cannot talk to the Docker engine: {source}"),
            },
            ClientError::Garbled(what) => {
                write!(
                    f,
                    "the answer of the Docker engine cannot be understood: {what}"
                )
            }
            ClientError::Refused { message, .. } => f.write_str(message),
        }
    }
}

impl std::error::Error for EngineError {}

impl From<ClientError> for EngineError {
    fn from(error: ClientError) -> Self {
        Self(error)
    }
}

type Outcome<T> = Result<T, EngineError>;

/// The engine at a socket.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    client: Client,
}

/// A container in a list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listed {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) names: Vec<String>,
    /// `running`, `exited`, `restarting`, ...
    pub(crate) state: String,
    /// The same for people: `Up 5 minutes (healthy)`.
    #[serde(default)]
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) labels: std::collections::BTreeMap<String, String>,
}

/// A container by itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Inspected {
    pub(crate) state: ContainerState,
}

/// How a container is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainerState {
    pub(crate) running: bool,
    pub(crate) exit_code: i64,
    #[serde(default)]
    pub(crate) health: Option<ContainerHealth>,
}

/// What the health check of a container says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainerHealth {
    /// `starting`, `healthy` or `unhealthy`.
    pub(crate) status: String,
    /// The last tries.
    #[serde(default)]
    log: Option<Vec<Try>>,
}

/// A try of a health check.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Try {
    output: String,
}

impl ContainerHealth {
    /// What the last try said.
    pub(crate) fn last(&self) -> &str {
        let last = self.log.as_ref().and_then(|tries| tries.last());
        let output = last.map_or("", |it| it.output.trim());
        output.lines().last().unwrap_or_default()
    }
}

/// What the engine says while it fetches an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Progress {
    /// What goes on, such as `Downloading`.
    pub(crate) status: String,
    /// The layer.
    pub(crate) id: Option<String>,
    /// How far it is.
    pub(crate) progress_detail: Detail,
    /// Why it ends here.
    error: Option<String>,
}

/// How far a layer is, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Detail {
    pub(crate) current: u64,
    pub(crate) total: u64,
}

impl Engine {
    /// The engine at `socket`; nothing is opened yet.
    pub(crate) fn new(socket: &Path) -> Self {
        Self {
            client: Client::of("the Docker engine", socket),
        }
    }

    /// All containers, also those that do not run, with this label.
    pub(crate) fn containers(&self, label: &str, value: Option<&str>) -> Outcome<Vec<Listed>> {
        let label = value.map_or_else(|| label.to_owned(), |value| format!("{label}={value}"));
        let filters = json!({ "label": [label] }).to_string();
        self.get(&format!(
            "/containers/json?all=true&filters={}",
            escape(&filters)
        ))
    }

    /// A container, by name or number.
    pub(crate) fn container(&self, name: &str) -> Outcome<Inspected> {
        self.get(&format!("/containers/{}/json", escape(name)))
    }

    /// Makes a container.
    pub(crate) fn create(&self, name: &str, body: &Value) -> Outcome<()> {
        let path = format!("/containers/create?name={}", escape(name));
        self.post(&path, Some(body))
    }

    /// Starts a container.
    pub(crate) fn start(&self, name: &str) -> Outcome<()> {
        already(self.post(&format!("/containers/{}/start", escape(name)), None))
    }

    /// Stops a container, in the time that it was made with.
    pub(crate) fn stop(&self, name: &str) -> Outcome<()> {
        already(self.post(&format!("/containers/{}/stop", escape(name)), None))
    }

    /// Removes a container that has ended.
    pub(crate) fn remove(&self, name: &str) -> Outcome<()> {
        self.delete(&format!("/containers/{}", escape(name)))
    }

    /// The root filesystem of a container, as a tar archive.
    pub(crate) fn export(&self, name: &str) -> Outcome<Body> {
        let path = format!("/containers/{}/export", escape(name));
        Ok(self.client.stream(&path, Wait::Long)?)
    }

    /// The log of a container as the engine sends it: frames of eight bytes
    /// and text.
    pub(crate) fn logs(&self, id: &str, tail: Option<u32>, follow: bool) -> Outcome<Body> {
        let tail = tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let path = format!(
            "/containers/{}/logs?stdout=true&stderr=true&timestamps=true&tail={tail}&follow={follow}",
            escape(id)
        );
        Ok(self.client.stream(&path, Wait::Long)?)
    }

    /// Whether an image is there.
    pub(crate) fn has_image(&self, image: &str) -> Outcome<bool> {
        let path = format!("/images/{}/json", in_path(image));
        Ok(found(self.get::<Value>(&path))?.is_some())
    }

    /// What an image that is there says about running it.
    pub(crate) fn image_config(&self, image: &str) -> Outcome<ImageConfig> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Image {
            config: Option<ImageConfig>,
        }
        let found: Image = self.get(&format!("/images/{}/json", in_path(image)))?;
        Ok(found.config.unwrap_or_default())
    }

    /// Fetches an image; `credentials` as the engine takes them, in base64.
    pub(crate) fn pull(
        &self,
        image: &str,
        credentials: Option<&str>,
        mut watch: impl FnMut(&Progress),
    ) -> Outcome<()> {
        let path = format!("/images/create?fromImage={}", escape(&with_tag(image)));
        let headers: Vec<_> = credentials
            .map(|it| ("X-Registry-Auth", it))
            .into_iter()
            .collect();
        let body = self
            .client
            .request("POST", &path, &headers, None, Wait::Long)?;
        let mut body = BufReader::new(body);
        loop {
            let mut line = Vec::new();
            if let Err(error) = body.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
                return Err(body.get_ref().error(error).into());
            }
            if line.is_empty() {
                return Ok(());
            }
            let progress: Progress = serde_json::from_slice(&line)
                .map_err(|error| ClientError::Garbled(error.to_string()))?;
            if let Some(message) = progress.error {
                return Err(EngineError(ClientError::Refused {
                    status: 500,
                    message,
                }));
            }
            watch(&progress);
        }
    }

    /// Whether a network is there.
    pub(crate) fn has_network(&self, name: &str) -> Outcome<bool> {
        Ok(found(self.get::<Value>(&format!("/networks/{}", escape(name))))?.is_some())
    }

    /// Makes a network.
    pub(crate) fn make_network(&self, body: &Value) -> Outcome<()> {
        self.post("/networks/create", Some(body))
    }

    /// Removes a network.
    pub(crate) fn remove_network(&self, name: &str) -> Outcome<()> {
        self.delete(&format!("/networks/{}", escape(name)))
    }

    /// The names of all volumes.
    pub(crate) fn volumes(&self) -> Outcome<Vec<String>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Volume {
            name: String,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Volumes {
            volumes: Option<Vec<Volume>>,
        }
        let found: Volumes = self.get("/volumes")?;
        let volumes = found.volumes.unwrap_or_default().into_iter();
        Ok(volumes.map(|volume| volume.name).collect())
    }

    /// Makes a volume.
    pub(crate) fn make_volume(&self, body: &Value) -> Outcome<()> {
        self.post("/volumes/create", Some(body))
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        Ok(self.client.get(path)?)
    }

    fn post(&self, path: &str, body: Option<&Value>) -> Outcome<()> {
        let body = body.map(Value::to_string);
        let answer = self
            .client
            .request("POST", path, &[], body.as_deref(), Wait::Long)?;
        answer.bytes()?;
        Ok(())
    }

    fn delete(&self, path: &str) -> Outcome<()> {
        let answer = self.client.request("DELETE", path, &[], None, Wait::Long)?;
        answer.bytes()?;
        Ok(())
    }
}

/// A container that is already as it should be is no error.
fn already(outcome: Outcome<()>) -> Outcome<()> {
    match outcome {
        Err(EngineError(ClientError::Refused { status, .. })) if status == NOT_MODIFIED => Ok(()),
        other => other,
    }
}

/// What is there, if it is.
fn found<T>(outcome: Outcome<T>) -> Outcome<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(EngineError(ClientError::Refused { status, .. })) if status == NOT_FOUND => Ok(None),
        Err(error) => Err(error),
    }
}

/// An image with a tag or digest: without one the engine fetches all tags.
fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}

/// An image as part of a path; the slashes of its name stay.
fn in_path(image: &str) -> String {
    image.split('/').map(escape).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_a_tag_is_the_latest() {
        for (image, expected) in [
            ("nginx", "nginx:latest"),
            ("host:5000/a/b", "host:5000/a/b:latest"),
            ("nginx:1.27", "nginx:1.27"),
            ("a/b@sha256:00", "a/b@sha256:00"),
        ] {
            assert_eq!(with_tag(image), expected);
        }
        assert_eq!(in_path("host:5000/a/b:1"), "host%3A5000/a/b%3A1");
    }

    #[test]
    fn a_container_tells_what_its_health_check_said() {
        let text = r#"{"State": {"Running": true, "ExitCode": 0, "Health": {
            "Status": "unhealthy", "Log": [{"Output": "a"}, {"Output": "b\nrefused\n"}]}}}"#;
        let container: Inspected = serde_json::from_str(text).unwrap();
        assert_eq!(container.state.health.unwrap().last(), "refused");
        let text = r#"{"State": {"Running": false, "ExitCode": 3}}"#;
        let container: Inspected = serde_json::from_str(text).unwrap();
        assert_eq!(
            (container.state.exit_code, container.state.health),
            (3, None)
        );
    }

    #[test]
    fn an_engine_that_is_away_is_told_with_the_way_out() {
        let engine = Engine::new(Path::new("/nonexistent/docker.sock"));
        let error = engine.volumes().unwrap_err();
        assert!(error.to_string().contains("ros service start docker"));
    }
}
