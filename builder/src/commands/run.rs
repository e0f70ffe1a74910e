//! `rubus run`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{
    board, build,
    cli::{self, Run},
    image::reader::DiskImage,
    inspect,
    project::Project,
    qemu::{self, Machine, RunOptions},
};

/// Where `rubus build` puts images unless told otherwise.
const OUT: &str = "out";
/// The partition of slot A, which every image fills.
const SLOT_A: u32 = 2;

/// Boots an image.
pub(super) fn run(args: &Run) -> Result<()> {
    let image = match &args.image {
        Some(image) => image.clone(),
        None => default_image(&args.board)?,
    };
    let options = RunOptions {
        machine: machine(args, &image)?,
        image,
        forward: args.forward.clone(),
        memory: args.memory.map(|size| size.0 >> 20),
        disk: args.disk.map(|size| size.0),
        state: args.state.clone(),
        extra_append: args.append.clone().unwrap_or_default(),
    };
    match qemu::run(&options)? {
        0 => Ok(()),
        status => bail!("QEMU ended with status {status}"),
    }
}

fn default_image(board: &str) -> Result<PathBuf> {
    let image = build::image_path(Path::new(OUT), board);
    if !image.exists() {
        bail!(
            "there is no {}; build it with `rubus build --board {board}`",
            image.display()
        );
    }
    Ok(image)
}

/// The machine that is asked for, else the one that stands for the board.
fn machine(args: &Run, image: &Path) -> Result<Machine> {
    match args.machine {
        Some(cli::Machine::Virt) => return Ok(Machine::Virt),
        Some(cli::Machine::Raspi3b) => return Ok(Machine::Raspi3b),
        Some(cli::Machine::Raspi4b) => return Ok(Machine::Raspi4b),
        None => {}
    }
    let board = if args.image.is_some() {
        let disk = DiskImage::open(image)?;
        let manifest = inspect::read_manifest(&disk.fat(SLOT_A)?)?;
        manifest
            .with_context(|| format!("{} does not say for which board it is", image.display()))?
            .board
    } else {
        args.board.clone()
    };
    let board = board::load(&Project::find()?.boards(), &board)?;
    match &board.qemu {
        Some(machine) => machine.parse(),
        None => bail!(
            "QEMU has no machine like {}; name another with --machine",
            board.name
        ),
    }
}
