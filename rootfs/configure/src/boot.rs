//! `configure boot`

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, Result};
use rubus_config::document::{Document, Problem};
use rubus_config::first_boot::{self, Decision, Files, MOST_BYTES, NAMES, OTHER_NAMES};
use rubus_config::keys::Schema;
use rubus_config::node::{FirstBoot, Node};
use rubus_config::paths;
use rubus_config::report::Report;

/// Renders the settings. Only what cannot be written is an error: a file that
/// is broken is left out and told in the report.
pub(crate) fn run(root: &Path) -> Result<()> {
    let node = Node::new(root);
    let schema = Schema::default();
    let mut report = Report::default();
    let first_boot = first_boot(&node, &schema, &mut report);
    let layer = first_boot.map(|record| {
        let file = format!("{}/{}", paths::USER_CONFIG_FOLDER, paths::FIRST_BOOT_CONFIG);
        report.notes.extend(record.notes);
        report.unsupported = record.unsupported;
        report.instance = Some(record.instance);
        Document::new(&file, record.settings)
    });
    let loaded = node.load_with(&schema, Ok(layer));
    report.files = loaded.files;
    let problems = loaded.merged.problems.iter().map(Problem::to_string);
    report.problems.extend(problems);

    node.render(&loaded.merged.settings)
        .with_context(|| format!("cannot write {}", paths::CONFIG))?;
    if let Err(error) = node.write_firmware(&loaded.merged.settings.firmware) {
        let message = format!("firmware.config: cannot write config.txt of the slot: {error}");
        report.problems.push(message);
    }
    let text = serde_json::to_vec(&report)?;
    node.replace(paths::CONFIG_REPORT, &text)
        .with_context(|| format!("cannot write {}", paths::CONFIG_REPORT))
}

/// What the first boot brought: kept from an earlier boot, or read now.
fn first_boot(node: &Node, schema: &Schema, report: &mut Report) -> Option<FirstBoot> {
    let kept = match node.first_boot() {
        Ok(kept) => kept.map(|(_, record)| record),
        Err(problem) => {
            report.problems.push(problem.to_string());
            None
        }
    };
    let (files, complete) = read_files(node, report);
    if !complete && kept.is_some() {
        // What is left of them would look like other files.
        return kept;
    }
    match first_boot::decide(schema, kept.as_ref(), &files) {
        Decision::Keep => kept,
        Decision::KeepThoughChanged(instance) => {
            report.notes.push(format!(
                "the first-boot files changed, and their instance id is still {instance:?}; \
                 give meta-data another instance-id to use them"
            ));
            kept
        }
        Decision::Process(found) => {
            if let Err(error) = node.keep_first_boot(&found) {
                report.problems.push(format!(
                    "what the first boot brought cannot be kept: {error}; it is read again \
                     at the next boot"
                ));
            }
            Some(found)
        }
    }
}

/// The files, and whether all that are there could be read.
fn read_files(node: &Node, report: &mut Report) -> (Files, bool) {
    let folder = node.inside(paths::FIRST_BOOT);
    let mut files = Files::default();
    let mut complete = true;
    for name in NAMES {
        match read(&folder.join(name)) {
            Ok(Some(content)) => files.contents.push((name.to_owned(), content)),
            Ok(None) => {}
            Err(error) => {
                complete = false;
                report
                    .problems
                    .push(format!("{name}: cannot be read: {error}"));
            }
        }
    }
    let others = OTHER_NAMES
        .into_iter()
        .filter(|name| folder.join(name).is_file());
    files.others = others.map(str::to_owned).collect();
    (files, complete)
}

/// The content of a file, with one byte more than is allowed so that it shows;
/// none when there is no such file.
fn read(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut content = Vec::new();
    file.take(MOST_BYTES as u64 + 1).read_to_end(&mut content)?;
    Ok(Some(content))
}
