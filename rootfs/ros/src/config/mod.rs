//! `ros config`: the settings of the node.

pub(crate) mod cli;

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use rubus_config::changes::Effects;
use rubus_config::document::Document;
use rubus_config::edit::{EditError, Edited, Editor};
use rubus_config::keys::Schema;
use rubus_config::layers;
use rubus_config::node::Node;
use rubus_config::secrets;
use rubus_service::status::State;
use serde_json::Value;

use crate::api::Action;
use crate::client::Client;
use crate::output::{self, Output};
use crate::table::{Align, Table};
use cli::{Config, How};

/// The service in which people log in: what restarts it ends their login.
const CONSOLE: &str = "console";
/// More than any file of settings has.
const MOST_BYTES: u64 = 4 << 20;

/// `ros config`
pub(crate) fn run(client: &Client, root: &Path, command: &Config, output: Output) -> Result<()> {
    let schema = Schema::default();
    let node = Node::new(root);
    match command {
        Config::Get(get) => show(&schema, &node, get, output),
        Config::Set(set) => {
            let edit = |it: &Editor<'_>| it.set(&set.key, &set.values);
            change(&schema, &node, client, set.how, output, edit)
        }
        Config::Unset(unset) => {
            let edit = |it: &Editor<'_>| it.unset(&unset.key);
            change(&schema, &node, client, unset.how, output, edit)
        }
        Config::Merge(merge) => {
            let document = read(&merge.file.file)?;
            let edit = |it: &Editor<'_>| it.merge(&document);
            change(&schema, &node, client, merge.how, output, edit)
        }
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

/// Reads the settings, and tells what is wrong with them.
fn load(schema: &Schema, node: &Node) -> rubus_config::node::Loaded {
    let loaded = node.load(schema);
    for problem in &loaded.merged.problems {
        output::complain(&format!("ros: {problem}; going on without it"));
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

fn change(
    schema: &Schema,
    node: &Node,
    client: &Client,
    how: How,
    output: Output,
    edit: impl FnOnce(&Editor<'_>) -> Result<Edited, EditError>,
) -> Result<()> {
    let effects = node.change(schema, how.dry_run, edit)?;
    if how.json {
        output.json(&effects)?;
    }
    // Who reads JSON gets nothing else.
    let say = |line: String| {
        if how.json { Ok(()) } else { output.line(&line) }
    };
    if effects.changed.is_empty() {
        say("nothing changed".to_owned())?;
    }
    for (action, name) in steps(&effects) {
        if how.dry_run {
            say(format!("would {} {name}", action.word()))?;
            continue;
        }
        if action != Action::Start && !is_up(client, &name)? {
            continue;
        }
        let ends_login = name == CONSOLE && action != Action::Reload;
        if ends_login {
            say(format!("{} {name}; this ends your login", doing(action)))?;
        }
        client.act(&name, action).with_context(|| {
            format!(
                "stored, but cannot {} {name}; `ros service {} {name}` tries again",
                action.word(),
                action.word()
            )
        })?;
        if !ends_login {
            say(format!("{name} {}", done(action)))?;
        }
    }
    for key in &effects.reboot {
        say(format!("{key} counts from the next boot: `ros os reboot`"))?;
    }
    Ok(())
}

/// What to do with which service, in order. The console comes last: `ros` may
/// run in it.
fn steps(effects: &Effects) -> Vec<(Action, String)> {
    let all = [
        (Action::Stop, &effects.stop),
        (Action::Start, &effects.start),
        (Action::Restart, &effects.restart),
        (Action::Reload, &effects.reload),
    ];
    let mut steps: Vec<(Action, String)> = all
        .into_iter()
        .flat_map(|(action, names)| names.iter().map(move |name| (action, name.clone())))
        .collect();
    steps.sort_by_key(|(_, name)| name == CONSOLE);
    steps
}

/// Whether a service runs or should: one that somebody stopped stays so.
fn is_up(client: &Client, name: &str) -> Result<bool> {
    let service = client
        .service(name)
        .with_context(|| format!("stored, but cannot ask for the state of {name}"))?;
    Ok(!matches!(service.state, State::Stopped))
}

const fn doing(action: Action) -> &'static str {
    match action {
        Action::Start => "starting",
        Action::Stop => "stopping",
        Action::Restart => "restarting",
        Action::Reload => "reloading",
    }
}

const fn done(action: Action) -> &'static str {
    match action {
        Action::Start => "started",
        Action::Stop => "stopped",
        Action::Restart => "restarted",
        Action::Reload => "reloaded",
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_comes_last_for_ros_may_run_in_it() {
        let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
        let effects = Effects {
            stop: names(&["nats"]),
            start: names(&["docker"]),
            restart: names(&["network", "console", "mdns"]),
            ..Effects::default()
        };
        let order: Vec<String> = steps(&effects)
            .into_iter()
            .map(|(action, name)| format!("{} {name}", action.word()))
            .collect();
        assert_eq!(
            order,
            [
                "stop nats",
                "start docker",
                "restart network",
                "restart mdns",
                "restart console"
            ]
        );
    }
}
