//! A file that `ros service add` is given: what it is, and what the service is
//! called by it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The largest file that is read.
const MOST_BYTES: u64 = 256 << 10;
/// Standard input.
const STDIN: &str = "-";
/// Files of these names are called by their folder.
const USUAL: [&str; 3] = ["compose", "docker-compose", "service"];

/// A file with services.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    file: PathBuf,
    /// What the service is to be called, where somebody said so.
    pub(crate) name: Option<String>,
    /// What it is called by its file.
    pub(crate) usual_name: String,
    pub(crate) text: String,
}

/// What a file defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One service, which the runtime runs: a `service.toml`.
    Service,
    /// Services that the engine runs: a compose file.
    Compose,
}

impl Given {
    /// Reads a file; `-` is standard input.
    pub(crate) fn read(file: &Path, name: Option<&str>) -> Result<Self> {
        let read = || -> io::Result<String> {
            let mut text = String::new();
            let source: Box<dyn Read> = if file == Path::new(STDIN) {
                Box::new(io::stdin())
            } else {
                Box::new(std::fs::File::open(file)?)
            };
            source.take(MOST_BYTES + 1).read_to_string(&mut text)?;
            Ok(text)
        };
        let text = read().with_context(|| format!("cannot read {}", file.display()))?;
        if text.len() as u64 > MOST_BYTES {
            bail!(
                "{} is larger than {} KiB; that is no file of services",
                file.display(),
                MOST_BYTES >> 10
            );
        }
        // A file in the working folder is called by that.
        let whole = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        Ok(Self {
            file: file.to_owned(),
            name: name.map(str::to_owned),
            usual_name: usual_name(&whole),
            text,
        })
    }

    /// What it is: the end of its name says so, else what stands in it.
    pub(crate) fn kind(&self) -> Kind {
        let end = self.file.extension().unwrap_or_default();
        match end.to_str() {
            Some("toml") => Kind::Service,
            Some("yaml" | "yml") => Kind::Compose,
            _ => meant(&self.text),
        }
    }

    /// The file, for messages.
    pub(crate) fn shown(&self) -> String {
        self.file.display().to_string()
    }

    /// What names of other files in it are relative to.
    pub(crate) fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    /// The name of a service that says nothing of it itself.
    pub(crate) fn own_name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.usual_name)
    }
}

/// What a text is meant to be, by the first of its lines that tells: what is
/// broken further on is to be told of in its own terms.
fn meant(text: &str) -> Kind {
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let mut told = lines.filter_map(|line| match line.split_once('=') {
        _ if line.starts_with('#') => None,
        _ if line.starts_with('[') => Some(Kind::Service),
        Some((key, _)) if is_key(key) => Some(Kind::Service),
        _ if line.starts_with(['{', '%', '-']) => Some(Kind::Compose),
        _ => {
            let (key, value) = line.split_once(':')?;
            let is_pair = is_key(key) && (value.is_empty() || value.starts_with([' ', '\t']));
            is_pair.then_some(Kind::Compose)
        }
    });
    told.next().unwrap_or(Kind::Service)
}

/// Whether this may stand before `=` in TOML, or before `:` in YAML.
fn is_key(text: &str) -> bool {
    let mut characters = text.trim_end().chars().peekable();
    characters.peek().is_some()
        && characters.all(|it| it.is_alphanumeric() || "_-.\"'".contains(it))
}

/// What a service is called by its file. As Compose does it: a file of a usual
/// name is called by its folder.
fn usual_name(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let stem = stem.to_lowercase();
    let parent = file.parent().and_then(Path::file_name);
    match parent {
        Some(folder) if USUAL.contains(&stem.as_str()) => folder.to_string_lossy().to_lowercase(),
        _ => stem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(file: &str, text: &str) -> Given {
        Given {
            file: file.into(),
            name: None,
            usual_name: usual_name(Path::new(file)),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_service_is_called_by_its_file_or_the_folder_of_that() {
        for (file, name) in [
            ("web.toml", "web"),
            ("/home/a/Web.yaml", "web"),
            ("shop/compose.yaml", "shop"),
            ("shop/docker-compose.yml", "shop"),
            ("services/mosquitto/service.toml", "mosquitto"),
            ("service.toml", "service"),
            ("-", "-"),
        ] {
            assert_eq!(given(file, "").own_name(), name, "{file}");
        }
        let named = Given {
            name: Some("other".to_owned()),
            ..given("web.toml", "")
        };
        assert_eq!(named.own_name(), "other");
        assert_eq!(named.folder(), Path::new(""));
    }

    #[test]
    fn the_end_of_a_name_says_what_it_is_else_its_text() {
        let toml = "kind = \"daemon\"\nimage = \"x\"\n";
        let yaml = "services: {a: {image: x}}\n";
        for (file, text, kind) in [
            ("web.toml", yaml, Kind::Service),
            ("web.yaml", toml, Kind::Compose),
            ("web.yml", toml, Kind::Compose),
            ("-", toml, Kind::Service),
            ("-", yaml, Kind::Compose),
            ("web", toml, Kind::Service),
        ] {
            assert_eq!(given(file, text).kind(), kind, "{file}: {text}");
        }
    }

    #[test]
    fn what_is_broken_is_still_what_was_meant() {
        for (text, kind) in [
            ("kind = [", Kind::Service),
            ("kind=\"daemon", Kind::Service),
            ("[service]\nkind: daemon\n", Kind::Service),
            ("[[mounts", Kind::Service),
            ("health.tcp = x", Kind::Service),
            ("\"kind\" = daemon", Kind::Service),
            ("# a: comment\n\n  description = It's mine\n", Kind::Service),
            ("\u{feff}kind = \"daemon\"", Kind::Service),
            ("kind \"daemon\"\nimage = \"x:1\"\n", Kind::Service),
            ("environment = { a: b }", Kind::Service),
            ("", Kind::Service),
            ("# nothing yet\n", Kind::Service),
            ("services:\n  a: {image: [x}\n", Kind::Compose),
            ("services: {a: {environment: [A=b", Kind::Compose),
            ("# a = comment\nservices:\n\ta: b\n", Kind::Compose),
            ("---\nservices = {}\n", Kind::Compose),
            ("%YAML 1.2\n", Kind::Compose),
            ("{services: {a: {image: x}}", Kind::Compose),
            ("- services\n", Kind::Compose),
            ("x-a: &a\n  k = v\n", Kind::Compose),
            ("\"services\":\n", Kind::Compose),
        ] {
            assert_eq!(given("-", text).kind(), kind, "{text}");
            assert_eq!(given("web", text).kind(), kind, "{text}");
        }
    }

    #[test]
    fn a_file_that_is_too_large_or_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("web.toml");
        let error = Given::read(&file, None).unwrap_err();
        assert!(error.to_string().starts_with("cannot read "), "{error}");
        std::fs::write(&file, "#".repeat(300 << 10)).unwrap();
        let error = Given::read(&file, None).unwrap_err();
        assert!(error.to_string().contains("256 KiB"), "{error}");
    }
}
