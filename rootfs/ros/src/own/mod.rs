//! Services of the user's own that the runtime runs: a `service.toml` whose
//! root is an image.

mod extent;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rubus_config::edit::EditError;
use rubus_config::keys::Schema;
use rubus_config::node::{ChangeError, Node};
use rubus_config::paths;
use rubus_service::oci::Config;
use rubus_service::status::Status;
use rubus_service::{Identity, ImageConfig, Service, graph, own};

use crate::api::{self, Action};
use crate::client::Client;
use crate::compose::Projects;
use crate::engine::Engine;
use crate::given::Given;
use crate::output::Output;
use crate::roots::{self, Begun, Budget, LARGEST, Owners, Source};
use crate::service;
use crate::text::printable;

/// Services that were added on a node.
pub(crate) struct Own<'a> {
    client: &'a Client,
    host: &'a Path,
    folder: PathBuf,
}

impl<'a> Own<'a> {
    /// Those of the node whose filesystem is at `host`.
    pub(crate) fn of(client: &'a Client, host: &'a Path) -> Self {
        Self {
            client,
            host,
            folder: host.join(paths::OWN_SERVICES.trim_start_matches('/')),
        }
    }

    /// `ros service add`
    pub(crate) fn add(&self, given: &Given, projects: &Projects, output: Output) -> Result<()> {
        let (name, shown) = (given.own_name(), given.shown());
        let service = Service::parse_own(name, &shown, &given.text)?;
        let name = &service.name;
        let schema = Schema::default();
        for key in &service.settings {
            let known = schema.find(key).map(drop);
            known.with_context(|| format!("{shown}: `settings`"))?;
        }
        let all = self.client.services()?;
        let former = all.iter().find(|it| it.name == *name);
        self.check_name(name, former, &all, projects)?;
        let others = self.waits(&all)?;
        graph::fits(name, &service.after, &others).with_context(|| shown.clone())?;

        let _lock = roots::lock(&self.folder)?;
        let begun = Begun::new(&self.folder, &own::begun(name))?;
        let (service, user) = self.make(&begun, &service, given, output)?;
        begun.sync()?;
        let more = extent::beyond_defaults(&service);
        if !more.is_empty() {
            output.line(&format!(
                "beyond the defaults, {name} may: {}",
                printable(&more.join("; "))
            ))?;
        }
        // What runs goes on until all is there for its successor.
        let ran = former.filter(|it| api::will_run(it.state)).is_some();
        if former.is_some() {
            self.client.act(name, Action::Stop)?;
        }
        let added = Node::new(self.host)
            .introduce(&schema, &service, user)
            .with_context(|| format!("cannot show {name} its settings"))
            .and_then(|()| Ok(self.client.add_service(name)?));
        let added = match added {
            Ok(added) => added,
            Err(error) => {
                if ran {
                    // Why the new one was refused is what matters.
                    let _ = self.client.act(name, Action::Start);
                }
                return Err(error);
            }
        };
        let done = if former.is_some() {
            "is replaced"
        } else {
            "is added"
        };
        if !added.enabled {
            return Ok(output.line(&format!(
                "{name} {done}; `ros service enable {name}` starts it"
            ))?);
        }
        output.line(&format!("{name} {done}"))?;
        service::act(self.client, name, Action::Start, output)
    }

    /// `ros service remove`
    pub(crate) fn remove(&self, name: &str, output: Output) -> Result<()> {
        let status = self.client.service(name)?;
        let _lock = roots::lock(&self.folder)?;
        if status.added {
            let others = self.waits(&self.client.services()?)?;
            let waits = |it: &&String| others[*it].iter().any(|after| after == name);
            if let Some(other) = others.keys().find(waits) {
                bail!("{other} waits for {name}; remove {other} first");
            }
            self.client.act(name, Action::Stop)?;
        }
        let aside = self.client.remove_service(name)?;
        let path = self.host.join(aside.trim_start_matches('/'));
        fs::remove_dir_all(&path).with_context(|| {
            format!("{name} is removed, but its files are not: cannot delete {aside}")
        })?;
        if status.added {
            let settings = Path::new(paths::SETTINGS).join(name);
            // Most services see none.
            let _ = fs::remove_dir_all(self.host.join(settings.strip_prefix("/")?));
            self.forget_choice(name).with_context(|| {
                format!("{name} is removed, but `services.{name}` is still set")
            })?;
        }
        Ok(output.line(&format!(
            "{name} is removed; what it wrote to its mounts stays"
        ))?)
    }

    /// Forgets whether it was turned on or off: what is added under its name
    /// later is another.
    fn forget_choice(&self, name: &str) -> Result<()> {
        let key = format!("services.{name}");
        let node = Node::new(self.host);
        match node.change(&Schema::default(), false, |it| it.unset(&key)) {
            Ok(_) | Err(ChangeError::Edit(EditError::NotSet(_))) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses a name that something else has.
    fn check_name(
        &self,
        name: &str,
        former: Option<&Status>,
        all: &[Status],
        projects: &Projects,
    ) -> Result<()> {
        if former.is_some_and(|it| !it.added) {
            bail!("{name} is a service of the image; choose another name with `--name`");
        }
        if projects.has(name)? {
            bail!("{name} is a compose file; choose another name with `--name`");
        }
        for service in all.iter().filter(|it| it.variant.is_some()) {
            let variants = self.client.variants(&service.name)?.variants;
            if variants.iter().any(|it| it.name == name) {
                bail!(
                    "{name} is a variant of {}; choose another name with `--name`",
                    service.name
                );
            }
        }
        Ok(())
    }

    /// What each service waits for.
    fn waits(&self, all: &[Status]) -> Result<BTreeMap<String, Vec<String>>> {
        all.iter()
            .map(|it| Ok((it.name.clone(), self.client.definition(&it.name)?.after)))
            .collect()
    }

    /// Makes a bundle. Returns the service as it is run, and the number of the
    /// user that runs it.
    fn make(
        &self,
        begun: &Begun,
        service: &Service,
        given: &Given,
        output: Output,
    ) -> Result<(Service, u32)> {
        let image = service.image.as_deref().unwrap_or_default();
        let root = begun.make_root()?;
        let mut budget = Budget::of(&self.folder, LARGEST, Owners::Kept)?;
        let socket = paths::ENGINE_SOCKET.trim_start_matches('/');
        let engine = Engine::new(&self.host.join(socket));
        let said = Source::of(image, given.folder())
            .unpack(&engine, &root, &mut budget, output)
            .with_context(|| format!("cannot take {} from {image}", service.name))?;
        let (service, config) = bundle(service, &said.unwrap_or_default(), &root)
            .with_context(|| format!("cannot run {image}"))?;
        begun.write("config.json", config.to_json().as_bytes())?;
        begun.write("service.json", &serde_json::to_vec_pretty(&service)?)?;
        Ok((service, config.process.user.uid))
    }
}

/// Completes a definition with what its image says and holds.
fn bundle(service: &Service, said: &ImageConfig, root: &Path) -> Result<(Service, Config)> {
    let service = service.completed(said)?;
    let accounts = |file: &str| roots::read_text(root, file);
    let (passwd, group) = (accounts("etc/passwd"), accounts("etc/group"));
    let identity = Identity::lookup(service.user(), &passwd, &group)
        .with_context(|| format!("it has no user {}", service.user()))?;
    let program = service.command.first().map_or("", String::as_str);
    // Behind a link it may be anything; its start will tell.
    if let Some(path) = roots::program(root, program)
        && let Some(why) = roots::wrong_machine(&path)?
    {
        bail!("its {program} {why}");
    }
    let config = Config::new(&service, &identity);
    Ok((service, config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("etc/passwd", b"web:x:1000:1001:Web:/srv:/bin/sh\n");
        write("etc/group", b"i2c:x:44:web\n");
        write("bin/web", b"#!/bin/sh\n");
        write("bin/broken", b"hello");
        root
    }

    fn service(rest: &str) -> Service {
        let text = format!("description = \"d\"\nkind = \"daemon\"\nimage = \"x\"\n{rest}");
        Service::parse_own("web", "f", &text).unwrap()
    }

    #[test]
    fn a_bundle_has_the_least_privileges_and_the_users_of_its_image() {
        let root = root();
        let said = ImageConfig {
            user: "web".to_owned(),
            cmd: vec!["/bin/web".to_owned()],
            ..ImageConfig::default()
        };
        let (completed, config) = bundle(&service(""), &said, root.path()).unwrap();
        assert_eq!(completed.command, ["/bin/web"]);
        let process = &config.process;
        assert_eq!((process.user.uid, process.user.gid), (1000, 1001));
        assert_eq!(process.user.additional_gids, [44]);
        assert!(process.no_new_privileges && process.capabilities.bounding.is_empty());
        assert!(config.root.readonly && config.linux.seccomp.is_some());
        assert_eq!(config.linux.cgroups_path, "/rubus/web");
    }

    #[test]
    fn what_cannot_run_is_refused_before_it_is_there() {
        let root = root();
        let refused = |rest: &str| {
            let outcome = bundle(&service(rest), &ImageConfig::default(), root.path());
            outcome.expect_err(rest).to_string()
        };
        assert!(refused("").contains("add `command`"));
        let said = refused("command = [\"web\"]\nuser = \"ghost\"");
        assert_eq!(said, "it has no user ghost");
        let said = refused("command = [\"broken\"]");
        assert_eq!(said, "its broken is no program");
    }
}
