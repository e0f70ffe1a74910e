//! `rubus build`: from definitions and the lock to an image.

mod assemble;
mod describe;
mod locking;
mod pack;
mod plan;
pub mod record;
pub mod requests;
pub mod versions;

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Result;
use rubus_config::image::ImageInfo;

pub use self::pack::image_path;
use self::{
    assemble::{Controls, Pieces, Pulled, Sets},
    pack::{Parts, cores},
    plan::Plan,
    record::Record,
};
use crate::{
    cli::Compress,
    config::Config,
    debian::deb::{self, Control, Deb},
    image::output::Finished,
    kernel::{self, Kernel, firmware},
    lock::LockedPackage,
    programs::{self, Programs},
    project::Project,
    sources::Context,
    tree::Tree,
    ui::{Downloads, Ui},
    unpack::Filter,
};

/// What to build.
#[derive(Debug)]
pub struct Options {
    /// The board.
    pub board: String,
    /// What the user changes about the image.
    pub config: Config,
    /// Where the image goes.
    pub out: PathBuf,
    /// Whether a lock that lacks something is an error.
    pub locked: bool,
    /// How it is put out.
    pub output: Output,
}

/// How an image is put out.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// The compressed image.
    pub compress: Compress,
    /// The level of compression, if not the default.
    pub level: Option<u32>,
}

/// What a build did.
#[derive(Debug)]
pub struct Outcome {
    /// The image.
    pub image: PathBuf,
    /// What was written; nothing when everything was there already.
    pub files: Vec<Finished>,
}

/// Makes an image, unless it is there already and nothing changed.
///
/// # Errors
/// When a definition is wrong, a package cannot be had, a program does not
/// compile, or the disk is full; nothing half-written has the final name.
pub fn run(
    project: &Project,
    options: &Options,
    context: &Context,
    ui: &mut Ui,
) -> Result<Outcome> {
    let plan = Plan::new(project, options, context, ui)?;
    let image = image_path(&options.out, &plan.board.name);
    let fingerprint = plan.fingerprint(project, options)?;
    if Record::read(&options.out, &plan.board.name)
        .is_some_and(|record| record.is_current(&fingerprint, &options.out))
    {
        return Ok(Outcome {
            image,
            files: Vec::new(),
        });
    }

    fetch(&plan, context, ui)?;
    let quiet = !ui.is_terminal();
    let programs = ui.step(programs::STEP, |_| {
        Programs::compile(project, &plan.crates(), quiet)
    })?;
    let unpacked = unpack(&plan, context, ui)?;
    let kernel = ui.step("Kernel", |_| prepare_kernel(&plan, context))?;

    let sets = unpacked.sets(&plan)?;
    let controls = controls(&plan, context)?;
    let firmware = firmware::select(&plan.board, &unpacked.firmware(&plan)?)?;
    let build_id = build_id(&plan, &programs)?;
    let info = ImageInfo {
        board: plan.board.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build_id: build_id.clone(),
        timestamp: plan.lock.timestamp.cast_signed(),
        kernel: kernel.release.clone(),
    };
    let pieces = Pieces {
        plan: &plan,
        sets: &sets,
        controls: &controls,
        images: &unpacked.images,
        programs: &programs,
        kernel: &kernel,
        firmware: &firmware,
        info: &info,
    };
    let system = ui.step("Root filesystems", |_| pieces.system())?;

    let parts = Parts {
        plan: &plan,
        info: &info,
        system: &system,
        init: programs.content("init")?,
        kernel: &kernel,
        firmware: &firmware,
    };
    let files = parts.write(&options.out, options.output, ui)?;
    let names: Vec<String> = files
        .iter()
        .filter_map(|file| file.path.file_name()?.to_str())
        .map(str::to_owned)
        .collect();
    Record::of(&fingerprint, &options.out, &names)?.write(&options.out, &plan.board.name)?;
    Ok(Outcome { image, files })
}

/// Makes sure that every package of the image is in the cache.
fn fetch(plan: &Plan, context: &Context, ui: &mut Ui) -> Result<()> {
    let mut items = BTreeMap::new();
    for name in plan.sets() {
        for package in plan.set(name)? {
            items.insert(
                package.id(),
                package.item(&context.mirrors, plan.lock.timestamp),
            );
        }
    }
    let items: Vec<_> = items.into_values().collect();
    ui.step("Packages", |bar| {
        let progress = Downloads::new(bar);
        Ok(context.fetcher.fetch(&context.cache, &items, &progress)?)
    })?;
    Ok(())
}

/// What roots are made of.
struct Unpacked {
    /// Packages, by their id in the lock.
    packages: BTreeMap<String, Tree>,
    /// Images of registries, by the folder of the bundle that they are for.
    images: BTreeMap<String, Pulled>,
}

/// Unpacks all packages but those of the kernel, which has a cache of its own.
fn unpack(plan: &Plan, context: &Context, ui: &mut Ui) -> Result<Unpacked> {
    let kernel = requests::kernel_set(&plan.board);
    let mut wanted: BTreeMap<String, &LockedPackage> = BTreeMap::new();
    for name in plan.sets().filter(|name| *name != kernel) {
        wanted.extend(
            plan.set(name)?
                .into_iter()
                .map(|package| (package.id(), package)),
        );
    }
    let debs = debs(wanted.values().copied(), context)?;
    let trees = ui.step("Unpacking", |bar| {
        let progress = Downloads::new(bar);
        deb::unpack_all(&debs, &context.cache, cores(), &progress)
    })?;
    Ok(Unpacked {
        packages: wanted.into_keys().zip(trees).collect(),
        images: pull_images(plan, context, ui)?,
    })
}

/// Pulls and unpacks the images that services name.
fn pull_images(plan: &Plan, context: &Context, ui: &mut Ui) -> Result<BTreeMap<String, Pulled>> {
    let mut images = BTreeMap::new();
    for bundle in &plan.bundles {
        let Some(locked) = plan.image(bundle)? else {
            continue;
        };
        let image = ui.step("Image", |bar| {
            let image = context.registry()?.pull(locked, &Downloads::new(bar))?;
            Ok(Pulled {
                tree: image.tree(&context.cache)?,
                config: image.config,
            })
        })?;
        images.insert(bundle.folder.clone(), image);
    }
    Ok(images)
}

impl Unpacked {
    fn sets(&self, plan: &Plan) -> Result<Sets<'_>> {
        let mut sets = Sets::new();
        for name in plan.sets() {
            let trees = plan.set(name)?.into_iter();
            let trees = trees.filter_map(|package| self.packages.get(&package.id()));
            sets.insert(name.to_owned(), trees.collect());
        }
        Ok(sets)
    }

    fn firmware(&self, plan: &Plan) -> Result<BTreeMap<String, Tree>> {
        let packages = plan.set(&requests::firmware_set(&plan.board))?.into_iter();
        Ok(packages
            .filter_map(|package| {
                let tree = self.packages.get(&package.id())?;
                Some((package.name.clone(), tree.clone()))
            })
            .collect())
    }
}

/// Reads what the packages of roots with dpkg say of themselves.
fn controls(plan: &Plan, context: &Context) -> Result<Controls> {
    let mut controls = Controls::new();
    for bundle in &plan.bundles {
        let packages = plan.set(&bundle.set)?;
        if packages.iter().any(|package| package.name == "dpkg") {
            let paths = packages.iter().map(|it| context.cache.path(&it.sha256));
            let read = paths.map(|path| Control::read(&path));
            controls.insert(bundle.set.clone(), read.collect::<Result<_>>()?);
        }
    }
    Ok(controls)
}

fn prepare_kernel(plan: &Plan, context: &Context) -> Result<Kernel> {
    let packages = plan.set(&requests::kernel_set(&plan.board))?;
    let key: Vec<String> = packages
        .iter()
        .map(|package| package.sha256.to_string())
        .collect();
    kernel::prepare(&plan.board, &context.cache, &key.join(" "), || {
        let debs = debs(packages.iter().copied(), context)?;
        let mut tree = Tree::new();
        for package in deb::unpack_all(&debs, &context.cache, cores(), &())? {
            tree.merge("", &package)?;
        }
        Ok(tree)
    })
}

fn debs<'a>(
    packages: impl Iterator<Item = &'a LockedPackage>,
    context: &Context,
) -> Result<Vec<Deb>> {
    let filter = Filter::lean()?;
    Ok(packages
        .map(|package| Deb {
            name: package.id(),
            path: context.cache.path(&package.sha256),
            sha256: package.sha256,
            size: package.size,
            filter: filter.clone(),
        })
        .collect())
}

/// Names the content of the image: the same inputs and programs, the same id.
fn build_id(plan: &Plan, programs: &Programs) -> Result<String> {
    let mut inputs = plan.inputs()?;
    for (name, content) in programs.iter() {
        inputs.add(name, &content?.read()?);
    }
    Ok(inputs.finish()[..16].to_owned())
}
