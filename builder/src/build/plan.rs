//! What an image is made from: definitions, the lock, and the programs' sources.

use std::{collections::BTreeMap, env, fs, io};

use anyhow::{Context as _, Result};
use rubus_config::settings::Settings;

use super::{Options, locking, record::Inputs, requests, versions};
use crate::{
    board::{self, Board},
    compose::overlay,
    debian::resolve::Request,
    digest::{Digest, Hasher},
    functions::{self, Definition},
    image::disk,
    lock::{Lock, LockedImage, LockedPackage},
    programs,
    project::{Project, SystemRoot},
    services::{self, Bundle},
    sources::Context,
    tree::{Content, Kind, Tree},
    ui::Ui,
};

/// Everything that decides about an image, read and checked.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) board: Board,
    pub(super) bundles: Vec<Bundle>,
    pub(super) functions: Vec<Definition>,
    /// Compose files of services that are ready to be enabled.
    pub(super) catalogue: Tree,
    pub(super) system: SystemRoot,
    pub(super) settings: Settings,
    pub(super) slot_size: u64,
    pub(super) lock: Lock,
    /// Folders laid over the roots of bundles, in order, by the folder of each.
    pub(super) overlays: BTreeMap<String, Vec<Tree>>,
    requests: BTreeMap<String, Request>,
}

impl Plan {
    /// Reads the definitions, and adds to the lock what they ask for and it lacks.
    pub(super) fn new(
        project: &Project,
        options: &Options,
        context: &Context,
        ui: &mut Ui,
    ) -> Result<Self> {
        let config = &options.config;
        let board = board::load(&project.boards(), &options.board)?;
        let mut bundles = services::select(project, config)?;
        let requests = requests::all(project, std::slice::from_ref(&board), &bundles)?;
        let mut overlays = BTreeMap::new();
        for bundle in &bundles {
            let trees = bundle.files.iter().map(|folder| overlay::read(folder));
            overlays.insert(bundle.folder.clone(), trees.collect::<Result<_>>()?);
        }
        let mut catalogue = overlay::read(&project.catalogue())?;
        // What the image has needs not be fetched.
        catalogue.retain(|path, _| {
            !bundles
                .iter()
                .any(|bundle| path.strip_suffix(".yaml") == Some(&bundle.service.name))
        });
        let lock = locking::lock(project, options, context, &bundles, &requests, ui)?;
        for bundle in &mut bundles {
            versions::put(bundle, &lock, &requests)?;
        }
        Ok(Self {
            board,
            functions: functions::load(&project.functions())?,
            catalogue,
            system: project.system()?,
            settings: config.settings()?,
            slot_size: config
                .slot_size
                .map_or(disk::DEFAULT_SLOT_SIZE, |size| size.0),
            lock,
            bundles,
            overlays,
            requests,
        })
    }

    /// The locked packages of a set; none when nothing asks for the set.
    pub(super) fn set(&self, name: &str) -> Result<Vec<&LockedPackage>> {
        match self.requests.get(name) {
            Some(request) => Ok(self.lock.set(name, request)?),
            None => Ok(Vec::new()),
        }
    }

    /// The locked image of a bundle that is made from one.
    pub(super) fn image(&self, bundle: &Bundle) -> Result<Option<&LockedImage>> {
        let image = bundle.service.image.as_ref();
        Ok(image
            .map(|reference| self.lock.image(reference, &bundle.origin))
            .transpose()?)
    }

    /// The names of all sets that the image needs.
    pub(super) fn sets(&self) -> impl Iterator<Item = &str> {
        self.requests.keys().map(String::as_str)
    }

    /// The crates of services that are our own programs.
    pub(super) fn crates(&self) -> Vec<String> {
        let crates = self
            .bundles
            .iter()
            .filter_map(|bundle| bundle.service.krate.clone());
        let mut crates: Vec<String> = crates.collect();
        crates.sort();
        crates.dedup();
        crates
    }

    /// What the content of the image follows from, but for our own programs.
    pub(super) fn inputs(&self) -> Result<Inputs> {
        let mut inputs = Inputs::default();
        inputs.add("version", env!("CARGO_PKG_VERSION").as_bytes());
        inputs.add("board", format!("{:?}", self.board).as_bytes());
        inputs.add("system", format!("{:?}", self.system).as_bytes());
        inputs.add("slot size", &self.slot_size.to_le_bytes());
        inputs.add("settings", &serde_json::to_vec(&self.settings)?);
        inputs.add("timestamp", &self.lock.timestamp.to_le_bytes());
        for name in self.sets() {
            for package in self.set(name)? {
                inputs.add(name, package.sha256.as_bytes());
            }
        }
        for bundle in &self.bundles {
            inputs.add(&bundle.folder, &serde_json::to_vec(&bundle.service)?);
            if let Some(image) = self.image(bundle)? {
                inputs.add(&bundle.folder, &serde_json::to_vec(image)?);
            }
            for tree in &self.overlays[&bundle.folder] {
                add_tree(&mut inputs, &bundle.folder, tree)?;
            }
        }
        add_tree(&mut inputs, "catalogue", &self.catalogue)?;
        for function in &self.functions {
            inputs.add(&function.name, format!("{function:?}").as_bytes());
        }
        Ok(inputs)
    }

    /// A digest of what the image follows from and of what makes it: while it
    /// stays the same, there is nothing to do.
    pub(super) fn fingerprint(&self, project: &Project, options: &Options) -> Result<String> {
        let mut inputs = self.inputs()?;
        inputs.add("sources", programs::sources_digest(project)?.as_bytes());
        inputs.add("toolchain", programs::toolchain()?.as_bytes());
        inputs.add("output", format!("{:?}", options.output).as_bytes());
        let builder = env::current_exe().context("cannot tell where this program is")?;
        let meta =
            fs::metadata(&builder).with_context(|| format!("cannot read {}", builder.display()))?;
        let modified = meta.modified().ok();
        inputs.add("builder", format!("{} {modified:?}", meta.len()).as_bytes());
        Ok(inputs.finish())
    }
}

fn digest(content: &Content) -> Result<Digest> {
    let mut hasher = Hasher::default();
    io::copy(&mut content.reader(), &mut hasher)?;
    Ok(hasher.finish())
}

fn add_tree(inputs: &mut Inputs, name: &str, tree: &Tree) -> Result<()> {
    for (path, node) in tree.iter() {
        let name = format!("{name}/{path} {:o}", node.mode);
        match &node.kind {
            Kind::Directory => inputs.add(&name, b""),
            Kind::Symlink(target) => inputs.add(&name, target.as_bytes()),
            Kind::File(content) => inputs.add(&name, digest(content)?.as_bytes()),
        }
    }
    Ok(())
}
