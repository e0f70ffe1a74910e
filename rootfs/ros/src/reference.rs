//! `docs/reference/ros.md`, made from the definition of the command line: a
//! page that says something else fails the test.
//! `UPDATE_REFERENCE=1 cargo test -p ros reference` writes it anew.

use std::{env, fmt::Write, fs, path::Path};

use clap::CommandFactory;

use crate::cli::Cli;

#[test]
fn ros_command() {
    let mut text = String::from("# `ros`\n\nWhat `ros help COMMAND` prints.\n");
    commands(&mut text, &Cli::command(), "ros");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/ros.md");
    if env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "docs/reference/ros.md is not what the code says; \
         run UPDATE_REFERENCE=1 cargo test -p ros reference"
    );
}

/// The help of a command and of those below it.
fn commands(text: &mut String, command: &clap::Command, name: &str) {
    let mut page = command.clone().bin_name(name).term_width(90);
    let help = page.render_long_help().to_string();
    let help: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    write!(text, "\n## {name}\n```\n{}\n```\n", help.join("\n")).unwrap();
    for sub in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        commands(text, sub, &format!("{name} {}", sub.get_name()));
    }
}
