//! `rubus build`.

use anyhow::Result;

use crate::{
    build::{self, Options, Output},
    cli::Build,
    config::Config,
    project::Project,
    sources::Context,
    ui::{self, Ui},
};

/// Makes an image and says where the time went.
pub(super) fn run(args: &Build) -> Result<()> {
    let project = Project::find()?;
    let mut config = Config::load(args.config.as_deref())?;
    config.add_ssh_keys(&args.ssh_key)?;
    config.choose_variants(&args.variants)?;
    let context = Context::new(&config, &args.mirrors, args.offline)?;
    let options = Options {
        board: args.board.clone(),
        config,
        out: args.out.clone(),
        locked: args.locked,
        output: Output {
            compress: args.compress,
            level: args.level,
        },
    };
    let mut ui = Ui::new();
    let outcome = build::run(&project, &options, &context, &mut ui)?;
    if outcome.files.is_empty() {
        ui.say(&format!("{} is up to date", outcome.image.display()));
        return Ok(());
    }
    if args.timings {
        ui.say(&ui::timings(ui.timings()));
    }
    if options.config.ssh_keys.is_empty() {
        ui.say("no ssh key is in the image: nobody can log in; add one with --ssh-key FILE");
    }
    for file in &outcome.files {
        ui.say(&format!(
            "{:>12}  {}",
            ui::bytes(file.size),
            file.path.display()
        ));
    }
    Ok(())
}
