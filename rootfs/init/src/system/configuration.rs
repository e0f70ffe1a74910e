//! The configuration of the device: layers into one file that services read.

use std::fs::{self, DirEntry};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rubus_config::paths;
use rubus_config::report::Report;
use rubus_config::settings::Settings;
use rubus_config::view;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{log, mounts, program};
use rubus_config::files;

/// How long reading the configuration may take; it takes some 10 ms.
const LONGEST: Duration = Duration::from_secs(20);

/// Has the layers read and merged by a program of its own, for process 1 must
/// not fall over a file that somebody else wrote. If that fails, what the image
/// was built with counts: a node with a broken configuration still boots.
pub(super) fn load() -> Result<(Settings, Option<String>)> {
    let outcome = program::run_briefly(paths::CONFIGURE, &["boot"], LONGEST)
        .and_then(|()| read_json(paths::CONFIG));
    // Nobody needs it any more.
    mounts::detach(paths::FIRST_BOOT);
    let _ = fs::remove_dir(paths::FIRST_BOOT);
    match outcome {
        Ok(settings) => Ok((settings, tell_report())),
        Err(error) => {
            log::error(&format!("{error:#}; going on with what the image has"));
            let settings = of_image();
            let json =
                serde_json::to_vec(&settings).context("cannot write the configuration as JSON")?;
            files::replace_lazily(Path::new(paths::CONFIG), &json, 0o600)
                .with_context(|| format!("cannot write {}", paths::CONFIG))?;
            show_services(&settings);
            Ok((settings, Some("only that of the image".to_owned())))
        }
    }
}

/// Shows services the settings that they name, above all the console its keys:
/// nobody could log in to repair anything. Only root reads these.
fn show_services(settings: &Settings) {
    // What the image has counts more than one of the same name that was added.
    let folders = [paths::OWN_SERVICES, paths::SERVICES].map(fs::read_dir);
    let bundles = folders.into_iter().flatten().flatten().flatten();
    for bundle in bundles {
        // One that is just being added or removed.
        if bundle.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if let Err(error) = show_service(settings, &bundle) {
            log::error(&format!(
                "{error:#}; {} goes on with the defaults",
                bundle.file_name().display()
            ));
        }
    }
}

fn show_service(settings: &Settings, bundle: &DirEntry) -> Result<()> {
    #[derive(Deserialize)]
    struct Service {
        settings: Vec<String>,
    }
    let definition = bundle.path().join("service.json");
    let service: Service = read_json(&definition.to_string_lossy())?;
    let view = view::of(&serde_json::to_value(settings)?, &service.settings);
    let folder = Path::new(paths::SETTINGS).join(bundle.file_name());
    fs::create_dir_all(&folder)?;
    let view = serde_json::to_vec(&view)?;
    Ok(files::replace_lazily(
        &folder.join(view::FILE),
        &view,
        0o600,
    )?)
}

/// Shows what was left out, and sums it up.
fn tell_report() -> Option<String> {
    let report: Report = read_json(paths::CONFIG_REPORT)
        .inspect_err(|error| log::error(&format!("{error:#}")))
        .ok()?;
    for line in report.problems.iter().chain(&report.unsupported) {
        log::error(line);
    }
    for line in &report.notes {
        log::info(line);
    }
    summary(&report)
}

fn summary(report: &Report) -> Option<String> {
    let parts = [
        (report.problems.len(), "left out or damaged"),
        (report.unsupported.len(), "not supported"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn read_json<T: DeserializeOwned>(path: &str) -> Result<T> {
    let text = fs::read(path).with_context(|| format!("cannot read {path}"))?;
    serde_json::from_slice(&text).with_context(|| format!("{path} is damaged"))
}

/// What the image was built with, or the defaults.
fn of_image() -> Settings {
    layer(paths::IMAGE_CONFIG).unwrap_or_else(|error| {
        log::error(&format!("{error:#}; going on with the defaults"));
        Settings::default()
    })
}

/// The settings of a file, over the defaults; no file is an empty one.
fn layer(path: &str) -> Result<Settings> {
    match fs::read_to_string(path) {
        Ok(text) => parse(&text).with_context(|| format!("{path} is not a configuration")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Settings::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {path}")),
    }
}

fn parse(text: &str) -> Result<Settings> {
    Ok(toml::from_str(text)?)
}

#[cfg(test)]
mod tests {
    use super::{parse, summary};
    use rubus_config::report::Report;
    use rubus_config::settings::Settings;

    #[test]
    fn what_was_left_out_is_summed_up() {
        let lines = |count| vec!["x".to_owned(); count];
        let mut report = Report::default();
        assert_eq!(summary(&report), None);
        report.unsupported = lines(2);
        assert_eq!(summary(&report).unwrap(), "2 not supported");
        report.problems = lines(1);
        assert_eq!(
            summary(&report).unwrap(),
            "1 left out or damaged, 2 not supported"
        );
    }

    #[test]
    fn what_is_not_said_keeps_its_default() {
        let settings = parse("hostname = \"node1\"\n[services]\nntp = false\n").unwrap();
        assert_eq!(settings.hostname.unwrap().as_str(), "node1");
        assert_eq!(settings.services.get("ntp"), Some(&false));
        assert_eq!(settings.ssh, Settings::default().ssh);
        assert_eq!(parse("").unwrap(), Settings::default());
    }

    #[test]
    fn an_error_names_the_line() {
        for text in ["\nhostnam = \"x\"\n", "\nhostname = 5\n", "\nhostname =\n"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{error}");
        }
    }
}
