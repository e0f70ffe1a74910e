//! Reading `service.toml`, with errors that a person can act on.

use std::{fmt, ops::Range};

use serde::{Deserialize, de};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    Service,
    definition::{Group, Health, Limits, Switch, User},
    keys::key_at,
    suggest,
    validate::{self, Place},
};

/// What is wrong with a `service.toml`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, from 1, where there is one to name.
    pub line: Option<usize>,
    /// The key, with dots between the levels.
    pub key: Option<String>,
    /// What is wrong, and the way out.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": `{key}`")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl Service {
    /// Reads a `service.toml`. `name` is that of its folder, `file` what error
    /// messages call it.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Service, Error> {
        let source = Source { file, text };
        let document = source.parse()?;
        check_keys(source, "", document.get_ref())?;
        Service::read(name, source, &document, Place::Builder)
    }

    /// Reads a definition whose keys are known to exist.
    pub(crate) fn read(
        name: &str,
        source: Source<'_>,
        document: &Spanned<DeTable<'_>>,
        place: Place,
    ) -> Result<Service, Error> {
        let mut service = Service::deserialize(toml::Deserializer::from(document.clone()))
            .map_err(|error| source.wrong_value(document.get_ref(), &error))?;
        name.clone_into(&mut service.name);
        validate::check(&service, place).map_err(|problem| {
            let span = find(document.get_ref(), &problem.key);
            source.at(span, Some(problem.key), &problem.message)
        })?;
        Ok(service)
    }
}

/// The text of a definition.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file, as error messages call it.
    pub file: &'a str,
    /// Its content.
    pub text: &'a str,
}

impl<'a> Source<'a> {
    pub(crate) fn parse(&self) -> Result<Spanned<DeTable<'a>>, Error> {
        DeTable::parse(self.text).map_err(|error| self.at(error.span(), None, error.message()))
    }

    /// An error of the values in this text.
    pub(crate) fn wrong_value(&self, table: &DeTable<'_>, error: &toml::de::Error) -> Error {
        let key = error.span().and_then(|span| key_at(table, span.start));
        self.at(error.span(), key, error.message())
    }

    pub(crate) fn at(
        &self,
        span: Option<Range<usize>>,
        key: Option<String>,
        message: &str,
    ) -> Error {
        let line = span.and_then(|span| {
            let before = self.text.as_bytes().get(..span.start)?;
            Some(before.iter().filter(|&&byte| byte == b'\n').count() + 1)
        });
        Error {
            file: self.file.to_owned(),
            line,
            key,
            message: message.trim_end().replace('\n', "; "),
        }
    }
}

/// Refuses keys that do not exist, in every table of the file. Serde would do
/// so too, but without a suggestion.
pub(crate) fn check_keys(
    source: Source<'_>,
    prefix: &str,
    table: &DeTable<'_>,
) -> Result<(), Error> {
    check_table(source, prefix, table, fields_of::<Service>())?;
    for (key, value) in table {
        let known = match key.get_ref().as_ref() {
            "health" => fields_of::<Health>(),
            "limits" => fields_of::<Limits>(),
            "switch" => fields_of::<Switch>(),
            "users" => fields_of::<User>(),
            "groups" => fields_of::<Group>(),
            _ => continue,
        };
        let prefix = format!("{prefix}{}.", key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => check_table(source, &prefix, inner, known)?,
            DeValue::Array(list) => {
                for inner in list.iter() {
                    if let DeValue::Table(inner) = inner.get_ref() {
                        check_table(source, &prefix, inner, known)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_table(
    source: Source<'_>,
    prefix: &str,
    table: &DeTable<'_>,
    known: &[&str],
) -> Result<(), Error> {
    for (key, _) in table {
        let word = key.get_ref().as_ref();
        let path = Some(format!("{prefix}{word}"));
        if prefix.is_empty() && word == "name" {
            let message = "a service is named by its folder; remove this key";
            return Err(source.at(Some(key.span()), path, message));
        }
        if !known.contains(&word) {
            let candidates = known
                .iter()
                .copied()
                .filter(|it| !(prefix.is_empty() && *it == "name"));
            let message = format!("there is no such key{}", suggest::hint(word, candidates));
            return Err(source.at(Some(key.span()), path, &message));
        }
    }
    Ok(())
}

/// The place of the value of a dotted key.
pub(crate) fn find(table: &DeTable<'_>, path: &str) -> Option<Range<usize>> {
    let (first, rest) = path
        .split_once('.')
        .map_or((path, None), |(first, rest)| (first, Some(rest)));
    let (_, value) = table.iter().find(|(key, _)| key.get_ref() == first)?;
    match (rest, value.get_ref()) {
        (Some(rest), DeValue::Table(inner)) => find(inner, rest).or(Some(value.span())),
        _ => Some(value.span()),
    }
}

/// The keys that serde knows of a struct, so that they are written down once.
fn fields_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // Always an error: nothing is deserialized, only asked for.
    let _ = T::deserialize(FieldNames(&mut fields));
    fields
}

struct FieldNames<'a>(&'a mut &'static [&'static str]);

impl<'de> de::Deserializer<'de> for FieldNames<'_> {
    type Error = de::value::Error;

    fn deserialize_any<V: de::Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("not a struct"))
    }

    fn deserialize_struct<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(de::Error::custom("only the names are wanted"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string
        bytes byte_buf option unit unit_struct newtype_struct seq tuple
        tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE_WITH_PACKAGES: &str = "packages = [\"a\"]\nimage = \"x/y@sha256:\
        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"";
    const MINIMAL: &str = "description = \"d\"\nkind = \"daemon\"\ncommand = [\"c\"]\n";

    fn error(rest: &str) -> String {
        let text = format!("{MINIMAL}{rest}");
        Service::parse("ntp", "services/ntp/service.toml", &text)
            .expect_err(rest)
            .to_string()
    }

    #[test]
    fn the_example_of_the_design_is_read() {
        let text = r#"
description = "Network Time Protocol client"
kind = "daemon"
packages = ["chrony"]
command = ["chronyd", "-d", "-F", "1"]
after = ["network"]
restart = "always"
network = "host"
capabilities = ["CAP_SYS_TIME"]
mounts = ["/var/lib/rubus/ntp:/var/lib/chrony:rw"]
settings = ["ntp"]
[health]
exec = ["chronyc", "-n", "tracking"]
interval = "10s"
[limits]
memory = "64M"
"#;
        let service = Service::parse("ntp", "service.toml", text).unwrap();
        assert_eq!(service.name, "ntp");
        assert_eq!(service.mounts().next().unwrap().target, "/var/lib/chrony");
        assert_eq!(service.limits.memory.unwrap().0, 64 << 20);
    }

    #[test]
    fn json_of_a_service_is_read_back_the_same() {
        let text = format!("{MINIMAL}[health]\nhttp = \"http://127.0.0.1:80/\"\n");
        let text = text.replace("kind", "network = \"host\"\nkind");
        let service = Service::parse("a", "f", &text).unwrap();
        let json = serde_json::to_string(&service).unwrap();
        assert_eq!(serde_json::from_str::<Service>(&json).unwrap(), service);
    }

    #[test]
    fn an_unknown_key_is_named_with_file_line_and_suggestion() {
        assert_eq!(
            error("capabilites = []\n"),
            "services/ntp/service.toml:4: `capabilites`: there is no such key; did you mean `capabilities`?"
        );
        assert_eq!(
            error("[health]\ntcp = 1\nintervall = \"1s\"\n"),
            "services/ntp/service.toml:6: `health.intervall`: there is no such key; did you mean `interval`?"
        );
        assert_eq!(
            error("[[users]]\nname = \"a\"\nuidd = 1\n"),
            "services/ntp/service.toml:6: `users.uidd`: there is no such key; did you mean `uid`?"
        );
        assert_eq!(
            error("colour = 1\n"),
            "services/ntp/service.toml:4: `colour`: there is no such key"
        );
    }

    #[test]
    fn the_name_is_not_a_key() {
        assert!(error("name = \"x\"\n").contains("named by its folder"));
    }

    #[test]
    fn a_wrong_value_is_named_with_its_line_and_key() {
        let message = error("[limits]\nmemory = \"lots\"\n");
        assert!(
            message.starts_with(
                "services/ntp/service.toml:5: `limits.memory`: \"lots\" is not a size"
            ),
            "{message}"
        );
        let message = error("restart = \"allways\"\n");
        assert!(
            message.starts_with("services/ntp/service.toml:4: `restart`: "),
            "{message}"
        );
        let message = error("after = 5\n");
        assert!(
            message.starts_with("services/ntp/service.toml:4: `after`: "),
            "{message}"
        );
    }

    #[test]
    fn broken_toml_and_missing_keys_are_told() {
        assert!(error("after = [\n").starts_with("services/ntp/service.toml:"));
        let error = Service::parse("a", "f", "kind = \"daemon\"\n").unwrap_err();
        assert!(error.to_string().contains("description"), "{error}");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_key() {
        for (rest, key, words) in [
            (
                "capabilities = [\"CAP_SYS_TIM\"]",
                "capabilities",
                "did you mean `CAP_SYS_TIME`?",
            ),
            ("after = [\"ntp\"]", "after", "waits for itself"),
            (
                "stop_signal = \"SIGTREM\"",
                "stop_signal",
                "did you mean `SIGTERM`?",
            ),
            ("user = \"chrony\"", "user", "add it to `users`"),
            ("mounts = [\"x\"]", "mounts", "not a mount"),
            ("tmpfs = [\"x\"]", "tmpfs", "absolute"),
            ("devices = [\"/etc\"]", "devices", "not a device"),
            ("image = \"debian:13\"", "image", "digest"),
            (IMAGE_WITH_PACKAGES, "packages", "brings its own"),
            ("version = \"1 2\"", "version", "not a version"),
            (
                "version = \"1\"\nversion_of = \"a\"",
                "version",
                "that of a; remove",
            ),
            ("working_dir = \"app\"", "working_dir", "absolute"),
            ("directories = [\"../x\"]", "directories", "climb"),
            (
                "privileged = true\ncapabilities = [\"CAP_KILL\"]",
                "capabilities",
                "privileged",
            ),
            (
                "devices = [\"/dev/a\"]\ncapabilities = [\"CAP_MKNOD\"]",
                "devices",
                "CAP_MKNOD",
            ),
            (
                "[limits]\ncpu_weight = 0",
                "limits.cpu_weight",
                "1 to 10000",
            ),
            ("[limits]\nmemory = \"1K\"", "limits.memory", "1M"),
            ("[limits]\npids = 0", "limits.pids", "1 or more"),
            ("[limits]\nopen_files = 3", "limits.open_files", "16"),
            ("[health]\ntcp = 80", "health.tcp", "network = \"host\""),
            (
                "network = \"host\"\n[health]\ntcp = 0",
                "health.tcp",
                "not a port",
            ),
            (
                "network = \"host\"\n[health]\nhttp = \"ftp://x\"",
                "health.http",
                "not an address",
            ),
            (
                "[health]\nexec = [\"a\"]\ninterval = \"0s\"",
                "health.interval",
                "100ms",
            ),
            (
                "[health]\nexec = [\"a\"]\nretries = 0",
                "health.retries",
                "1 or more",
            ),
            (
                "[health]\nexec = [\"a\"]\ntimeout = \"0s\"",
                "health.timeout",
                "100ms",
            ),
        ] {
            let error = Service::parse("ntp", "f", &format!("{MINIMAL}{rest}\n")).expect_err(rest);
            assert_eq!(error.key.as_deref(), Some(key), "{error}");
            assert!(error.line.is_some_and(|line| line >= 4), "{error}");
            assert!(error.message.contains(words), "{error}");
        }
        let text = MINIMAL.replace("[\"c\"]", "[]");
        assert!(
            Service::parse("a", "f", &text)
                .unwrap_err()
                .message
                .contains("empty")
        );
        let text = format!(
            "{}[health]\nexec = [\"a\"]\n",
            MINIMAL.replace("daemon", "oneshot")
        );
        assert!(
            Service::parse("a", "f", &text)
                .unwrap_err()
                .message
                .contains("oneshot")
        );
        let error = Service::parse("A_b", "f", MINIMAL).unwrap_err();
        assert!(error.message.contains("lower case"), "{error}");
    }

    #[test]
    fn an_image_may_say_what_is_run() {
        let image = IMAGE_WITH_PACKAGES.lines().last().unwrap();
        let text = format!("{}{image}\n", MINIMAL.replace("command = [\"c\"]\n", ""));
        assert!(Service::parse("a", "f", &text).is_ok());
        let text = MINIMAL.replace("command = [\"c\"]\n", "");
        let error = Service::parse("a", "f", &text).unwrap_err();
        assert_eq!(error.key.as_deref(), Some("command"), "{error}");
    }

    #[test]
    fn a_user_that_the_definition_makes_may_run_it() {
        let text = format!("{MINIMAL}user = \"u\"\n[[users]]\nname = \"u\"\nuid = 5\ngid = 5\n");
        assert!(Service::parse("a", "f", &text).is_ok());
    }
}
