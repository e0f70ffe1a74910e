//! What the types of a [`Service`] cannot say.

use crate::{
    Kind, Network, Probe, Service, capabilities, signals, suggest,
    syntax::{Device, HttpTarget, Mount, Tmpfs},
    units::{Period, Size},
};

/// A value that makes no sense.
pub(crate) struct Problem {
    pub(crate) key: String,
    pub(crate) message: String,
}

/// Users that every Debian root has.
const BASE_USERS: [&str; 6] = ["root", "daemon", "bin", "sys", "nobody", "www-data"];

/// The shortest time between two health checks, and for one.
const SHORTEST_PERIOD: Period = Period(std::time::Duration::from_millis(100));
/// Below this no program of ours starts.
const SMALLEST_MEMORY: Size = Size(1 << 20);

/// Where a definition is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// For an image of the system, which is the same whenever it is built.
    Builder,
    /// On a node, which keeps what it was given.
    Node,
}

/// Finds the first thing that makes no sense.
pub(crate) fn check(service: &Service, place: Place) -> Result<(), Problem> {
    identity(service)?;
    root_content(service, place)?;
    privileges(service)?;
    each("mounts", &service.mounts, |it| {
        it.parse::<Mount>().map(drop)
    })?;
    each("devices", &service.devices, |it| {
        it.parse::<Device>().map(drop)
    })?;
    each("tmpfs", &service.tmpfs, |it| it.parse::<Tmpfs>().map(drop))?;
    health(service)?;
    limits(service)
}

/// Whether a service or a variant can be called so: both name folders.
pub fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    (1..=63).contains(&name.len()) && !name.starts_with(['-', '.']) && name.chars().all(plain)
}

fn identity(service: &Service) -> Result<(), Problem> {
    let name = &service.name;
    if !is_name(name) {
        return problem(
            "name",
            format!(
                "\"{name}\" cannot name a service; call the folder by lower case letters, digits, `-` and `.`, at most 63"
            ),
        );
    }
    if let Some(variant) = &service.variant
        && !is_name(variant)
    {
        return problem(
            "variant",
            format!(
                "\"{variant}\" cannot name a variant; use lower case letters, digits, `-` and `.`, at most 63"
            ),
        );
    }
    version(service)?;
    for (key, command) in [
        ("switch.drain", &service.switch.drain),
        ("switch.gate", &service.switch.gate),
    ] {
        if command.first().is_some_and(String::is_empty) {
            return problem(key, "is empty; name the program and its arguments");
        }
    }
    let has_program = service.command.first().is_some_and(|it| !it.is_empty());
    if !has_program && (service.image.is_none() || !service.command.is_empty()) {
        return problem("command", "is empty; name the program and its arguments");
    }
    if let Some(folder) = &service.working_dir
        && !folder.starts_with('/')
    {
        return problem("working_dir", format!("\"{folder}\" is not absolute"));
    }
    if service.after.contains(name) {
        return problem("after", format!("{name} waits for itself; remove it here"));
    }
    for (key, signal) in [
        ("stop_signal", Some(&service.stop_signal)),
        ("reload_signal", service.reload_signal.as_ref()),
    ] {
        if let Some(signal) = signal
            && signals::number(signal).is_none()
        {
            let hint = suggest::hint(signal, signals::names());
            return problem(key, format!("\"{signal}\" is not a signal{hint}"));
        }
    }
    if let Some(key) = service
        .environment
        .keys()
        .find(|key| key.is_empty() || key.contains(['=', '\0']))
    {
        return problem("environment", format!("\"{key}\" cannot name a variable"));
    }
    Ok(())
}

fn version(service: &Service) -> Result<(), Problem> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".+~:-".contains(c);
    match (&service.version, &service.version_of) {
        (Some(_), Some(package)) => problem(
            "version",
            format!("the version is that of {package}; remove this, or `version_of`"),
        ),
        (Some(version), None) if version.is_empty() || !version.chars().all(plain) => problem(
            "version",
            format!("\"{version}\" is not a version; use letters, digits and . + ~ : -"),
        ),
        _ => Ok(()),
    }
}

fn root_content(service: &Service, place: Place) -> Result<(), Problem> {
    if let Some(image) = &service.image {
        if image.is_empty() {
            return problem("image", "is empty; write it as \"registry/name:tag\"");
        }
        if place == Place::Builder && !has_digest(image) {
            return problem(
                "image",
                format!("\"{image}\" has no digest; write it as \"registry/name@sha256:...\""),
            );
        }
        for (key, given) in [
            ("packages", !service.packages.is_empty()),
            ("users", !service.users.is_empty()),
            ("groups", !service.groups.is_empty()),
        ] {
            if given {
                let message = format!("an image brings its own {key}; remove this, or `image`");
                return problem(key, message);
            }
        }
    }
    // The users of packages and images are known when the root is composed.
    let from_elsewhere = !service.packages.is_empty() || service.image.is_some();
    let name = service.user().split(':').next().unwrap_or_default();
    let known = BASE_USERS.contains(&name)
        || name.parse::<u32>().is_ok()
        || service.users.iter().any(|user| user.name == name);
    if !known && !from_elsewhere {
        return problem(
            "user",
            format!("nothing makes the user \"{name}\"; add it to `users`"),
        );
    }
    for (key, paths) in [
        ("directories", &service.directories),
        ("remove", &service.remove),
    ] {
        each(key, paths, relative_or_absolute)?;
    }
    let links: Vec<String> = service.links.keys().cloned().collect();
    each("links", &links, relative_or_absolute)
}

fn has_digest(image: &str) -> bool {
    let digest = image.rsplit_once("@sha256:").map(|(_, digest)| digest);
    digest.is_some_and(|it| it.len() == 64 && it.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn privileges(service: &Service) -> Result<(), Problem> {
    for name in &service.capabilities {
        if !capabilities::ALL.contains(&name.as_str()) {
            let hint = suggest::hint(name, capabilities::ALL);
            return problem(
                "capabilities",
                format!("\"{name}\" is not a capability{hint}"),
            );
        }
    }
    if service.privileged && !service.capabilities.is_empty() {
        return problem(
            "capabilities",
            "a privileged service has them all; remove `capabilities` or `privileged`",
        );
    }
    // Device nodes of a service are told apart by which are visible.
    if !service.devices.is_empty() && service.capabilities.iter().any(|it| it == "CAP_MKNOD") {
        return problem(
            "devices",
            "with CAP_MKNOD it could make itself any other device; remove that capability",
        );
    }
    Ok(())
}

fn health(service: &Service) -> Result<(), Problem> {
    let Some(health) = &service.health else {
        return Ok(());
    };
    if service.kind == Kind::Oneshot {
        return problem(
            "health",
            "a oneshot is ready when it has ended; remove its health check",
        );
    }
    for (key, period) in [
        ("health.interval", health.interval),
        ("health.timeout", health.timeout),
    ] {
        if period < SHORTEST_PERIOD {
            return problem(
                key,
                format!("\"{period}\" is too short; use {SHORTEST_PERIOD} or more"),
            );
        }
    }
    if health.retries == 0 {
        return problem("health.retries", "has to be 1 or more");
    }
    let own_network =
        "the check runs in the network of the node; set `network = \"host\"` or use `exec`";
    match &health.probe {
        Probe::Exec(_) => Ok(()),
        Probe::Http(url) => match url.parse::<HttpTarget>() {
            Err(message) => problem("health.http", message),
            Ok(HttpTarget {
                address: crate::syntax::Address::Tcp(_),
                ..
            }) if service.network != Network::Host => problem("health.http", own_network),
            Ok(_) => Ok(()),
        },
        Probe::Tcp(0) => problem("health.tcp", "0 is not a port"),
        Probe::Tcp(_) if service.network != Network::Host => problem("health.tcp", own_network),
        Probe::Tcp(_) => Ok(()),
    }
}

fn limits(service: &Service) -> Result<(), Problem> {
    let limits = &service.limits;
    if limits.memory.is_some_and(|it| it < SMALLEST_MEMORY) {
        return problem(
            "limits.memory",
            format!("nothing starts in less than {SMALLEST_MEMORY}"),
        );
    }
    if limits.pids == Some(0) {
        return problem("limits.pids", "has to be 1 or more");
    }
    if limits
        .cpu_weight
        .is_some_and(|it| !(1..=10_000).contains(&it))
    {
        return problem("limits.cpu_weight", "has to be 1 to 10000; 100 is usual");
    }
    if limits
        .open_files
        .is_some_and(|it| !(16..=1 << 20).contains(&it))
    {
        return problem("limits.open_files", "has to be 16 to 1048576");
    }
    Ok(())
}

fn relative_or_absolute(path: &str) -> Result<(), String> {
    let names = path.strip_prefix('/').unwrap_or(path);
    if names.is_empty() || names.split('/').any(|name| matches!(name, "" | "." | "..")) {
        return Err(format!(
            "\"{path}\" is empty, climbs out, or is not written plainly"
        ));
    }
    Ok(())
}

fn each(
    key: &str,
    values: &[String],
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<(), Problem> {
    values
        .iter()
        .try_for_each(|value| check(value))
        .or_else(|message| problem(key, message))
}

fn problem<T>(key: &str, message: impl Into<String>) -> Result<T, Problem> {
    Err(Problem {
        key: key.to_owned(),
        message: message.into(),
    })
}
