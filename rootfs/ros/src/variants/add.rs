//! `ros engine add`: an engine of the user's own becomes a bundle beside those
//! of the image.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use rubus_config::paths;
use rubus_service::{Identity, Service, is_name, oci::Config};

use super::{ENGINES, cli::Add};
use crate::client::Client;
use crate::engine::Engine;
use crate::output::Output;
use crate::roots::{self, Begun, Budget, LARGEST, Owners, Source};

/// Without these nothing is an engine.
const PROGRAMS: [&str; 4] = ["dockerd", "containerd", "containerd-shim-runc-v2", "runc"];
/// How our own first process tells them what to do; the image's own engine has
/// these.
const CONFIGURATION: [&str; 2] = ["etc/docker/daemon.json", "etc/containerd/config.toml"];
/// Whom the engine believes; taken from the image where it brings none.
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

/// `ros engine add`
pub(super) fn run(client: &Client, host: &Path, add: &Add, output: Output) -> Result<()> {
    let name = &add.name;
    if !is_name(name) {
        bail!(
            "{name} cannot name an engine; use lower case letters, digits, `-` and `.`, at most 63"
        );
    }
    let folder = super::added(host, ENGINES);
    let _lock = roots::lock(&folder)?;
    let known = client.variants(ENGINES.service)?;
    if known.variants.iter().any(|it| it.name == *name) {
        bail!("there is an engine {name} already; choose another name, or remove it first");
    }
    let inside = |path: &str| host.join(path.trim_start_matches('/'));
    let own = inside(paths::SERVICES).join(ENGINES.service);
    // Not a name that a variant can have.
    let begun = Begun::new(&folder, &format!(".{name}.new"))?;
    let root = begun.make_root()?;
    let mut budget = Budget::of(&folder, LARGEST, Owners::Root)?;

    let from = &add.source;
    let cannot = || format!("cannot take an engine from {from}");
    let engine = Engine::new(&inside(paths::ENGINE_SOCKET));
    Source::of(from, Path::new(""))
        .unpack(&engine, &root, &mut budget, output)
        .with_context(cannot)?;
    check(&root).with_context(cannot)?;
    complete(&begun, &own, name)?;
    begun.finish(&folder.join(name))?;
    Ok(output.line(&format!(
        "{name} is added; `ros engine switch {name}` runs it"
    ))?)
}

/// Refuses what is no engine, or none for this board.
fn check(root: &Path) -> Result<()> {
    for program in PROGRAMS {
        let found = roots::program(root, program).ok_or_else(|| {
            anyhow!(
                "it has no {program}; it has to be a root filesystem with the programs of an \
                 engine in /usr/bin or the like"
            )
        })?;
        if let Some(why) = roots::wrong_machine(&found)? {
            bail!("its {program} {why}");
        }
    }
    Ok(())
}

/// Adds to a root filesystem what makes it a bundle that runs as the image's
/// own engine does.
fn complete(begun: &Begun, own: &Path, name: &str) -> Result<()> {
    let root = begun.path().join("rootfs");
    let read = |path: &str| {
        let path = own.join(path);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let service: Service = serde_json::from_slice(&read("service.json")?)
        .context("cannot understand the definition of the image's own engine")?;
    if let Some(program) = &service.krate {
        let path = format!("usr/bin/{program}");
        roots::replace(&root, &path, &read(&format!("rootfs/{path}"))?, 0o755)?;
    }
    for path in CONFIGURATION {
        roots::replace(&root, path, &read(&format!("rootfs/{path}"))?, 0o644)?;
    }
    if fs::symlink_metadata(root.join(CERTIFICATES)).is_err() {
        let own = read(&format!("rootfs/{CERTIFICATES}"))?;
        roots::replace(&root, CERTIFICATES, &own, 0o644)?;
    }
    let groups = with_groups(&roots::read_text(&root, "etc/group"), &service);
    roots::replace(&root, "etc/group", groups.as_bytes(), 0o644)?;
    // Its second socket is there.
    let var = roots::make_folders(&root, Path::new("var"))?;
    if fs::symlink_metadata(var.join("run")).is_err() {
        std::os::unix::fs::symlink("../run", var.join("run"))?;
    }
    let service = definition(service, name);
    let config = Config::new(&service, &Identity::root());
    begun.write("config.json", config.to_json().as_bytes())?;
    begun.write("service.json", &serde_json::to_vec_pretty(&service)?)
}

/// The groups of a root filesystem with those of the service, whose numbers
/// other services know.
fn with_groups(text: &str, service: &Service) -> String {
    let ours = |name: &str| service.groups.iter().any(|it| it.name == name);
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !ours(line.split(':').next().unwrap_or_default()))
        .map(str::to_owned)
        .collect();
    lines.extend(
        service
            .groups
            .iter()
            .map(|it| format!("{}:x:{}:", it.name, it.gid)),
    );
    lines.join("\n") + "\n"
}

/// The definition of an added engine: run as the image's own, made of something
/// else.
fn definition(own: Service, name: &str) -> Service {
    Service {
        description: "Docker engine, added on this node".to_owned(),
        variant: Some(name.to_owned()),
        version: None,
        version_of: None,
        packages: Vec::new(),
        suite: None,
        exclude: Vec::new(),
        image: None,
        remove: Vec::new(),
        links: Default::default(),
        ..own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_group_has_our_number() {
        let text = "description = \"d\"\nkind = \"daemon\"\ncommand = [\"c\"]\n\
                    groups = [{ name = \"docker\", gid = 998 }]\n";
        let service = Service::parse("docker", "f", text).unwrap();
        assert_eq!(
            with_groups("root:x:0:\ndocker:x:2375:dockremap\n", &service),
            "root:x:0:\ndocker:x:998:\n"
        );
        assert_eq!(with_groups("", &service), "docker:x:998:\n");
    }
}
