//! What an OCI image says about running it, and a service that follows it.

use serde::{Deserialize, Deserializer};

use crate::Service;

/// What an image says about running it: the `config` of its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    /// User, or `user:group`, by name or number.
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    /// `NAME=value`.
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// What is run.
    #[serde(deserialize_with = "or_default")]
    pub entrypoint: Vec<String>,
    /// Arguments to it, or what is run if there is no entry point.
    #[serde(deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    /// Where it is run.
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
}

/// Docker writes `null` for what is not set.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Why an image cannot complete a definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Neither says what is run.
    #[error("its image does not say what is run; add `command` to its service.toml")]
    NoCommand,
    /// The image sets a variable that has no name.
    #[error("its image sets a variable without a name")]
    NamelessVariable,
}

impl Service {
    /// Completes a definition with what its image says about running it: what
    /// the definition says itself counts more. A command replaces entry point
    /// and arguments together, as half of each seldom fits.
    ///
    /// # Errors
    /// When neither says what is run, or the image says impossible things.
    pub fn completed(&self, image: &ImageConfig) -> Result<Service, ImageError> {
        let mut service = self.clone();
        if service.command.is_empty() {
            service.command = image.entrypoint.iter().chain(&image.cmd).cloned().collect();
        }
        if service.command.first().is_none_or(String::is_empty) {
            return Err(ImageError::NoCommand);
        }
        for variable in &image.env {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            if name.is_empty() {
                return Err(ImageError::NamelessVariable);
            }
            if !service.environment.contains_key(name) {
                let (name, value) = (name.to_owned(), value.to_owned());
                service.environment.insert(name, value);
            }
        }
        if service.user.is_none() && !image.user.is_empty() {
            service.user = Some(image.user.clone());
        }
        if service.working_dir.is_none() && !image.working_dir.is_empty() {
            // Some builders write it relative to the root, as Docker allows.
            let folder = image.working_dir.trim_start_matches('/');
            service.working_dir = Some(format!("/{folder}"));
        }
        Ok(service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(text: &str) -> Service {
        let head = "description = \"x\"\nkind = \"daemon\"\ncommand = [\"x\"]\n";
        toml::from_str(&format!("{head}{text}")).unwrap()
    }

    fn image(json: &str) -> ImageConfig {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn an_image_says_what_the_definition_does_not() {
        let image = image(
            r#"{ "Entrypoint": ["/app"], "Cmd": ["-v"], "User": "7:8", "WorkingDir": "/srv",
                 "Env": ["PATH=/opt", "A=image", "EMPTY"] }"#,
        );
        let mut bare = service("environment = { A = \"own\", B = \"c\" }");
        bare.command.clear();
        let completed = bare.completed(&image).unwrap();
        assert_eq!(completed.command, ["/app", "-v"]);
        assert_eq!(completed.user(), "7:8");
        assert_eq!(completed.working_dir.as_deref(), Some("/srv"));
        let environment: Vec<_> = completed.environment.iter().collect();
        let expected = [("A", "own"), ("B", "c"), ("EMPTY", ""), ("PATH", "/opt")];
        assert!(
            environment
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .eq(expected),
            "{environment:?}"
        );

        let named = service("user = \"root\"\nworking_dir = \"/\"");
        let completed = named.completed(&image).unwrap();
        assert_eq!(completed.command, ["x"]);
        assert_eq!(completed.user(), "root");
        assert_eq!(completed.working_dir.as_deref(), Some("/"));
    }

    #[test]
    fn an_image_without_a_command_needs_one() {
        let mut bare = service("");
        bare.command.clear();
        let error = bare.completed(&image("{}")).unwrap_err().to_string();
        assert!(error.contains("add `command`"), "{error}");
        let nameless = image(r#"{"Cmd": ["a"], "Env": ["=b"]}"#);
        assert!(bare.completed(&nameless).is_err());
    }

    #[test]
    fn what_an_image_does_not_say_is_empty() {
        let config = image(r#"{"Env":["A=b"],"Cmd":null,"Labels":{}}"#);
        assert_eq!(config.env, ["A=b"]);
        assert_eq!(config.cmd, Vec::<String>::new());
    }
}
