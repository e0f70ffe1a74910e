//! From unpacked packages to the system root.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use rubus_config::{image::ImageInfo, paths};
use rubus_service::{Identity, ImageConfig, mounts, oci};

use super::{plan::Plan, requests};
use crate::{
    compose::{
        dpkg::Installed,
        service::{self, Parts, Program},
        system,
    },
    debian::deb::Control,
    functions,
    kernel::{Kernel, firmware::Firmware},
    programs::Programs,
    services::Bundle,
    tree::{Kind, Node, Tree},
};

/// Unpacked packages, by the name of their set.
pub(super) type Sets<'a> = BTreeMap<String, Vec<&'a Tree>>;

/// What packages say of themselves, in the order of their trees, by the name of
/// their set: only of those that have a dpkg to know it.
pub(super) type Controls = BTreeMap<String, Vec<Control>>;

/// An image of a registry.
pub(super) struct Pulled {
    /// Its layers as one tree.
    pub(super) tree: Tree,
    /// What it says about running it.
    pub(super) config: ImageConfig,
}

/// What the system root is made of.
pub(super) struct Pieces<'a> {
    pub(super) plan: &'a Plan,
    pub(super) sets: &'a Sets<'a>,
    pub(super) controls: &'a Controls,
    /// By the folder of the bundle that each is for.
    pub(super) images: &'a BTreeMap<String, Pulled>,
    pub(super) programs: &'a Programs,
    pub(super) kernel: &'a Kernel,
    pub(super) firmware: &'a Firmware,
    pub(super) info: &'a ImageInfo,
}

impl Pieces<'_> {
    /// Composes the system root with everything in it.
    pub(super) fn system(&self) -> Result<Tree> {
        let programs = system::Programs {
            init: self.programs.content("init")?,
            configure: self.programs.content("configure")?,
            ros: self.programs.content("ros")?,
            runtime: self.programs.content("system-runtime")?,
        };
        let packages = self
            .sets
            .get(requests::SYSTEM)
            .map_or(&[][..], Vec::as_slice);
        let mut tree = system::root(&self.plan.system, packages, &programs)?;
        tree.merge("", &self.kernel.modules)?;
        tree.merge("", &self.firmware.system)?;
        tree.insert(
            inside(paths::EARLY_MODULES),
            Node::file(0o644, self.kernel.early.as_str()),
        )?;
        tree.insert(
            inside(paths::IMAGE_INFO),
            Node::file(0o644, serde_json::to_vec_pretty(self.info)?),
        )?;
        tree.insert(
            inside(paths::OS_RELEASE),
            Node::file(0o644, self.info.os_release()),
        )?;
        tree.insert(
            inside(paths::IMAGE_CONFIG),
            Node::file(0o600, toml::to_string_pretty(&self.plan.settings.layer()?)?),
        )?;
        tree.merge(inside(paths::FUNCTIONS), &self.functions()?)?;
        tree.merge(inside(paths::CATALOGUE), &self.plan.catalogue)?;
        for bundle in &self.plan.bundles {
            let made = self
                .bundle(bundle, &tree)
                .with_context(|| format!("cannot make the bundle of {}", bundle.origin))?;
            let folder = format!("{}/{}", inside(paths::SERVICES), bundle.folder);
            tree.merge(&folder, &made)?;
        }
        Ok(tree)
    }

    fn functions(&self) -> Result<Tree> {
        let mut base = Tree::new();
        for package in self.sets.get(requests::FUNCTIONS).into_iter().flatten() {
            base.merge("", package)?;
        }
        functions::images(
            &self.plan.functions,
            &base,
            self.programs.content("fwatchdog")?,
            self.plan.lock.timestamp,
        )
    }

    /// `service.json`, `config.json` and `rootfs/`.
    fn bundle(&self, bundle: &Bundle, system: &Tree) -> Result<Tree> {
        let image = self.images.get(&bundle.folder);
        let completed = image
            .map(|image| bundle.service.completed(&image.config))
            .transpose()?;
        let service = completed.as_ref().unwrap_or(&bundle.service);
        let program = match &service.krate {
            Some(name) => Some(Program {
                name: name.clone(),
                content: self.programs.content(name)?,
            }),
            None => None,
        };
        let mut base = self.sets.get(&bundle.set).cloned().unwrap_or_default();
        base.extend(image.map(|image| &image.tree));
        let installed = self.controls.get(&bundle.set).into_iter().flatten();
        let installed = installed
            .zip(&base)
            .map(|(control, files)| Installed { control, files })
            .collect();
        let mut root = service::root(
            service,
            &Parts {
                installed,
                base,
                program,
                overlays: self.plan.overlays[&bundle.folder].clone(),
            },
        )?;
        for point in mounts::mount_points(service) {
            let source = point
                .source
                .as_deref()
                .and_then(|source| system.resolve(inside(source)));
            let file = match source {
                Some((_, node)) => !node.is_directory(),
                None => point.is_file(),
            };
            service::mount_point(&mut root, &point.path, file)?;
        }
        let accounts = |path| -> Result<String> {
            match root.resolve(path).map(|(_, node)| &node.kind) {
                Some(Kind::File(content)) => Ok(String::from_utf8(content.read()?)?),
                _ => Ok(String::new()),
            }
        };
        let identity = Identity::lookup(
            service.user(),
            &accounts("etc/passwd")?,
            &accounts("etc/group")?,
        )
        .with_context(|| format!("its root has no user {}", service.user()))?;

        let mut made = Tree::new();
        made.insert(
            "service.json",
            Node::file(0o644, serde_json::to_vec_pretty(service)?),
        )?;
        made.insert(
            "config.json",
            Node::file(0o644, oci::Config::new(service, &identity).to_json()),
        )?;
        made.insert("rootfs", Node::directory(0o755))?;
        made.merge("rootfs", &root)?;
        Ok(made)
    }
}

/// A path of the device as a path of a tree.
fn inside(path: &str) -> &str {
    path.trim_start_matches('/')
}
