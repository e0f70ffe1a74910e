//! `ros config`: the settings of the node.

mod change;
pub(crate) mod cli;

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use rubus_config::document::Document;
use rubus_config::edit::Editor;
use rubus_config::keys::Schema;
use rubus_config::layers;
use rubus_config::node::Node;
use rubus_config::secrets;
use serde_json::{Map, Value, json};

use crate::api;
use crate::cli::Switch;
use crate::client::Client;
use crate::host;
use crate::output::{self, Output};
use crate::table::{Align, Table};
pub(crate) use change::Changer;
use cli::Config;

/// More than any file of settings has.
const MOST_BYTES: u64 = 4 << 20;

/// `ros config`
pub(crate) fn run(client: &Client, root: &Path, command: &Config, output: Output) -> Result<()> {
    let schema = Schema::default();
    let node = Node::new(root);
    let changer = Changer::new(&schema, &node, client, output);
    match command {
        Config::Get(get) => show(&schema, &node, get, output),
        Config::Set(set) => {
            let edit = |it: &Editor<'_>| it.set(&set.key, &set.values);
            changer.change(set.how, edit)
        }
        Config::Unset(unset) => {
            let edit = |it: &Editor<'_>| it.unset(&unset.key);
            changer.change(unset.how, edit)
        }
        Config::Merge(merge) => {
            let document = read(&merge.file.file)?;
            let edit = |it: &Editor<'_>| it.merge(&document);
            changer.change(merge.how, edit)
        }
        Config::Confirm => changer.confirm(),
        Config::Revert => changer.revert(),
        Config::Export(export) => {
            let loaded = load(&schema, &node);
            let said = if export.private {
                loaded.merged.said
            } else {
                secrets::hide(schema.entry(), &loaded.merged.said)
            };
            if export.json {
                output.json(&said)
            } else {
                Ok(output.text(&toml::to_string_pretty(&said)?)?)
            }
        }
        Config::Validate(file) => validate(&schema, &read(&file.file)?, output),
        Config::Schema(how) if how.list => Ok(output.text(&list(&schema, output))?),
        Config::Schema(_) => output.json(schema.as_value()),
    }
}

/// `ros service enable` and `disable`: `services.NAME` for each of the names.
pub(crate) fn switch(
    client: &Client,
    root: &Path,
    switch: &Switch,
    on: bool,
    output: Output,
) -> Result<()> {
    let (schema, node) = (Schema::default(), Node::new(root));
    let services = node.services();
    let known = |name: &str| services.iter().any(|it| it.name == name);
    let names = &switch.names.names;
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let all = services.iter().map(|it| it.name.as_str());
        bail!("{}", api::unknown_service(unknown, all));
    }
    let chosen = names.iter().map(|name| (name.clone(), Value::Bool(on)));
    let layer = json!({ "services": Map::from_iter(chosen) });
    let edit = |it: &Editor<'_>| it.merge(&Document::new("the command line", layer));
    Changer::new(&schema, &node, client, output).change(switch.how, edit)
}

/// Reads the settings, and tells what is wrong with them.
fn load(schema: &Schema, node: &Node) -> rubus_config::node::Loaded {
    let loaded = node.load(schema);
    for problem in &loaded.merged.problems {
        output::complain(&format!("ros: {problem}; going on without it"));
    }
    if let Some(trial) = &loaded.trial {
        output::complain(&format!(
            "ros: on trial for another {} s: {}; `ros config confirm` keeps it",
            trial.seconds_left(host::now_us()),
            trial.keys.join(", ")
        ));
    }
    loaded
}

fn show(schema: &Schema, node: &Node, get: &cli::Get, output: Output) -> Result<()> {
    let key = get.key.as_deref().unwrap_or_default();
    let (path, entry) = schema.find(key)?;
    let tree = load(schema, node).merged.tree()?;
    let value = match path.value_in(&tree) {
        None | Some(Value::Null) => bail!("`{path}` is not set; `ros config set` sets it"),
        Some(value) if get.private => value.clone(),
        Some(value) => secrets::hide(entry, value),
    };
    if get.json {
        return output.json(&value);
    }
    Ok(match &value {
        Value::String(text) => output.line(text),
        Value::Object(_) => output.text(&toml::to_string_pretty(&value)?),
        // Numbers, truth and lists are the same in TOML.
        other => output.line(&other.to_string()),
    }?)
}

fn validate(schema: &Schema, document: &Document, output: Output) -> Result<()> {
    match layers::merge(schema, [document])
        .problems
        .into_iter()
        .next()
    {
        Some(problem) => Err(problem.into()),
        None => Ok(output.line(&format!("{} is valid", document.file))?),
    }
}

fn read(path: &Path) -> Result<Document> {
    let mut text = String::new();
    let name = if path == Path::new("-") {
        io::stdin()
            .take(MOST_BYTES)
            .read_to_string(&mut text)
            .context("cannot read standard input")?;
        "standard input".to_owned()
    } else {
        fs::File::open(path)
            .and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text))
            .with_context(|| format!("cannot read {}", path.display()))?;
        path.display().to_string()
    };
    if text.len() as u64 >= MOST_BYTES {
        return Err(anyhow!("{name} is larger than {} MiB", MOST_BYTES >> 20));
    }
    Ok(Document::from_toml(&name, &text)?)
}

fn list(schema: &Schema, output: Output) -> String {
    let mut table = Table::new(&[
        ("KEY", Align::Left),
        ("TYPE", Align::Left),
        ("DEFAULT", Align::Left),
        ("MEANING", Align::Left),
    ]);
    for key in schema.keys() {
        table.row(vec![
            key.key.as_str().into(),
            key.kind.as_str().into(),
            key.default.as_deref().unwrap_or_default().into(),
            key.text.as_str().into(),
        ]);
    }
    table.render(output.style())
}
