//! Who we are to a registry, from the files that other tools write.

use std::{
    collections::BTreeMap,
    env, fmt, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

/// Logins by registry. Each is sent to its own registry only.
#[derive(Clone, Default)]
pub struct Credentials {
    logins: BTreeMap<String, RegistryAuth>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.logins.keys()).finish()
    }
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Login>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Login {
    /// base64 of `user:password`.
    auth: String,
    username: String,
    password: String,
    registrytoken: String,
}

impl Credentials {
    /// Reads, in this order and up to the first that is there: the variable
    /// `DOCKER_AUTH_CONFIG`, which holds what the others are names of; the files
    /// `$REGISTRY_AUTH_FILE`, `$DOCKER_CONFIG/config.json` and
    /// `~/.docker/config.json`.
    ///
    /// # Errors
    /// When what is there cannot be read.
    pub fn from_environment() -> Result<Self> {
        if let Ok(text) = env::var("DOCKER_AUTH_CONFIG") {
            return Self::parse(&text).context("cannot use the variable DOCKER_AUTH_CONFIG");
        }
        let folder = |name| env::var_os(name).map(PathBuf::from);
        let files = [
            folder("REGISTRY_AUTH_FILE"),
            folder("DOCKER_CONFIG").map(|folder| folder.join("config.json")),
            folder("HOME").map(|home| home.join(".docker/config.json")),
        ];
        for file in files.into_iter().flatten() {
            if let Some(credentials) = Self::load(&file)? {
                return Ok(credentials);
            }
        }
        Ok(Self::default())
    }

    /// Reads a file as `docker login` writes it, if it is there.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn load(path: &Path) -> Result<Option<Self>> {
        let reading = || format!("cannot read the registry logins in {}", path.display());
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map(Some).with_context(reading),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(reading),
        }
    }

    /// Parses what `docker login` writes. Logins that lie with a credential
    /// helper are not seen.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse(text: &str) -> Result<Self> {
        let config: DockerConfig = serde_json::from_str(text)?;
        let mut logins = BTreeMap::new();
        for (registry, login) in config.auths {
            let auth = login
                .into_auth()
                .with_context(|| format!("the login for {registry} cannot be understood"))?;
            if let Some(auth) = auth {
                logins.insert(host(&registry).to_owned(), auth);
            }
        }
        Ok(Self { logins })
    }

    /// The login for a registry.
    pub(super) fn for_registry(&self, registry: &str) -> RegistryAuth {
        self.logins
            .get(host(registry))
            .cloned()
            .unwrap_or(RegistryAuth::Anonymous)
    }
}

impl Login {
    fn into_auth(self) -> Result<Option<RegistryAuth>> {
        if !self.registrytoken.is_empty() {
            return Ok(Some(RegistryAuth::Bearer(self.registrytoken)));
        }
        if !self.username.is_empty() {
            return Ok(Some(RegistryAuth::Basic(self.username, self.password)));
        }
        if self.auth.is_empty() {
            return Ok(None);
        }
        let text = String::from_utf8(STANDARD.decode(self.auth.trim())?)?;
        let (user, password) = text.split_once(':').context("there is no password")?;
        Ok(Some(RegistryAuth::Basic(user.into(), password.into())))
    }
}

/// Reduces the ways to write a registry to one.
fn host(registry: &str) -> &str {
    let registry = registry
        .strip_prefix("https://")
        .or_else(|| registry.strip_prefix("http://"))
        .unwrap_or(registry);
    match registry.split('/').next().unwrap_or(registry) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_read_as_docker_writes_them() {
        let credentials = Credentials::parse(
            r#"{
                "auths": {
                    "https://index.docker.io/v1/": {"auth": "dXNlcjpwYXNzOndvcmQ="},
                    "registry.example:5000": {"username": "a", "password": "b"},
                    "token.example": {"registrytoken": "t"},
                    "helper.example": {}
                },
                "credsStore": "desktop"
            }"#,
        )
        .unwrap();
        let basic = |user: &str, password: &str| RegistryAuth::Basic(user.into(), password.into());
        for (registry, expected) in [
            ("docker.io", basic("user", "pass:word")),
            ("index.docker.io", basic("user", "pass:word")),
            ("registry.example:5000", basic("a", "b")),
            ("registry.example", RegistryAuth::Anonymous),
            ("token.example", RegistryAuth::Bearer("t".into())),
            ("helper.example", RegistryAuth::Anonymous),
        ] {
            assert_eq!(credentials.for_registry(registry), expected, "{registry}");
        }
    }

    #[test]
    fn a_broken_login_names_its_registry_and_no_secret() {
        let error = Credentials::parse(r#"{"auths": {"x.example": {"auth": "c2VjcmV0"}}}"#)
            .map(|_| ())
            .unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("x.example"), "{text}");
        assert!(!text.contains("secret") && !text.contains("c2Vj"), "{text}");
    }
}
