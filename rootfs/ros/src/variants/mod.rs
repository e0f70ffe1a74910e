//! `ros engine` and `ros console`: which variant of a service runs.

mod add;
pub(crate) mod cli;
mod switch;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use rubus_config::paths;
use rubus_service::suggest::nearest;
use rubus_service::variants::{Choice, Source, Variants};

use crate::client::Client;
use crate::output::Output;
use crate::roots;
use crate::table::{Align, Cell, Paint, Style, Table};
use crate::text::printable;
use cli::{Console, Engine, Named};

/// What people call the variants of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Family {
    /// The service.
    service: &'static str,
    /// One of its variants, and the word of the command.
    word: &'static str,
}

const ENGINES: Family = Family {
    service: "docker",
    word: "engine",
};
const CONSOLES: Family = Family {
    service: "console",
    word: "console",
};

/// `ros engine`
pub(crate) fn engine(client: &Client, host: &Path, command: &Engine, output: Output) -> Result<()> {
    match command {
        Engine::List(listing) => list(client, ENGINES, listing.json, output),
        Engine::Switch(named) => switch::run(client, ENGINES, &named.name, output),
        Engine::Enable(named) => enable(client, ENGINES, named, output),
        Engine::Add(what) => add::run(client, host, what, output),
        Engine::Remove(named) => remove(client, host, ENGINES, &named.name, output),
    }
}

/// `ros console`
pub(crate) fn console(client: &Client, command: &Console, output: Output) -> Result<()> {
    match command {
        Console::List(listing) => list(client, CONSOLES, listing.json, output),
        Console::Switch(confirmed) => {
            let name = &confirmed.named.name;
            find(&client.variants(CONSOLES.service)?, CONSOLES, name)?;
            switch::announce_end_of_login(name, confirmed.yes)?;
            switch::run(client, CONSOLES, name, output)
        }
        Console::Enable(named) => enable(client, CONSOLES, named, output),
    }
}

fn list(client: &Client, family: Family, json: bool, output: Output) -> Result<()> {
    let variants = client.variants(family.service)?;
    if json {
        return output.json(&variants);
    }
    Ok(output.text(&render(&variants, output.style()))?)
}

fn enable(client: &Client, family: Family, named: &Named, output: Output) -> Result<()> {
    let name = &named.name;
    find(&client.variants(family.service)?, family, name)?;
    let variants = client.enable_variant(family.service, name)?;
    let is_current = current(&variants) == Some(name);
    Ok(output.line(&if is_current {
        format!("{name} runs and stays; the next boot tries nothing else")
    } else {
        format!("the next boot tries {name}")
    })?)
}

/// Removes one that was added. The runtime takes it out of the list; its files
/// are deleted here, which takes a while.
fn remove(client: &Client, host: &Path, family: Family, name: &str, output: Output) -> Result<()> {
    find(&client.variants(family.service)?, family, name)?;
    let _lock = roots::lock(&added(host, family))?;
    let aside = client.remove_variant(family.service, name)?;
    let path = host.join(aside.trim_start_matches('/'));
    fs::remove_dir_all(&path).with_context(|| {
        format!("{name} is removed, but its files are not: cannot delete {aside}")
    })?;
    Ok(output.line(&format!("{name} is removed"))?)
}

/// Where variants are that were added.
fn added(host: &Path, family: Family) -> PathBuf {
    let state = host.join(paths::STATE.trim_start_matches('/'));
    state.join("variants").join(family.service)
}

/// The variant that runs.
fn current(variants: &Variants) -> Option<&str> {
    let mut all = variants.variants.iter();
    all.find(|it| it.state == Choice::Current)
        .map(|it| it.name.as_str())
}

/// Refuses a name that no variant has, with the nearest one.
fn find(variants: &Variants, family: Family, name: &str) -> Result<()> {
    if variants.variants.iter().any(|it| it.name == name) {
        return Ok(());
    }
    let word = family.word;
    let names = variants.variants.iter().map(|it| it.name.as_str());
    let hint = nearest(name, names).map_or_else(String::new, |it| format!(" (did you mean {it}?)"));
    Err(anyhow!(
        "no {word} is called {name}{hint}; `ros {word} list` shows all"
    ))
}

/// The list as RancherOS had it, state first, and below what there is to say.
fn render(variants: &Variants, style: Style) -> String {
    let mut table = Table::new(&[
        ("STATE", Align::Left),
        ("NAME", Align::Left),
        ("VERSION", Align::Left),
        ("SOURCE", Align::Left),
        ("TRIAL", Align::Left),
    ]);
    for variant in &variants.variants {
        let paint = match variant.state {
            Choice::Current => Paint::Good,
            Choice::Enabled => Paint::Busy,
            Choice::Disabled => Paint::Plain,
        };
        table.row(vec![
            Cell::painted(variant.state.word(), paint),
            variant.name.as_str().into(),
            variant.version.as_deref().unwrap_or_default().into(),
            match variant.source {
                Source::Image => "image",
                Source::Added => "added",
            }
            .into(),
            if variant.trial { "trial" } else { "" }.into(),
        ]);
    }
    let mut notes: Vec<String> = variants
        .variants
        .iter()
        .filter(|it| !it.problem.is_empty())
        .map(|it| it.problem.clone())
        .collect();
    notes.extend((!variants.notice.is_empty()).then(|| variants.notice.clone()));
    if let Some(last) = variants.last.as_ref().filter(|it| !it.done) {
        notes.push(format!(
            "the last change, from {} to {}, failed: {}",
            last.from, last.to, last.reason
        ));
    }
    let mut out = table.render(style);
    for (number, note) in notes.iter().enumerate() {
        if number == 0 {
            out.push('\n');
        }
        out += &printable(note);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use rubus_service::variants::{Outcome, Variant};

    use super::*;

    fn variant(name: &str, source: Source, state: Choice) -> Variant {
        Variant {
            name: name.into(),
            version: (source == Source::Image).then(|| "26.1.5+dfsg1-9".into()),
            source,
            state,
            trial: false,
            problem: String::new(),
        }
    }

    fn engines() -> Variants {
        Variants {
            service: "docker".into(),
            variants: vec![
                variant("docker-26.1.5", Source::Image, Choice::Current),
                variant("docker-20.10.24", Source::Image, Choice::Disabled),
                variant("mine", Source::Added, Choice::Enabled),
            ],
            switch: None,
            last: None,
            notice: String::new(),
        }
    }

    #[test]
    fn a_list_is_state_and_name() {
        assert_eq!(
            render(&engines(), Style::default()),
            "\
STATE     NAME             VERSION         SOURCE
current   docker-26.1.5    26.1.5+dfsg1-9  image
disabled  docker-20.10.24  26.1.5+dfsg1-9  image
enabled   mine                             added
"
        );
    }

    #[test]
    fn what_is_wrong_is_told_below() {
        let mut all = engines();
        all.variants[2].trial = true;
        all.variants[2].problem = "mine is damaged: cannot read rootfs".into();
        all.notice = "docker-26.1.5 runs instead of docker-28: it is not there".into();
        all.last = Some(Outcome {
            began: String::new(),
            ended: String::new(),
            from: "docker-26.1.5".into(),
            to: "mine".into(),
            done: false,
            reason: "no such driver".into(),
        });
        let text = render(&all, Style::default());
        assert!(
            text.contains("enabled   mine                             added   trial\n"),
            "{text}"
        );
        assert!(
            text.ends_with(
                "\n\nmine is damaged: cannot read rootfs\n\
                 docker-26.1.5 runs instead of docker-28: it is not there\n\
                 the last change, from docker-26.1.5 to mine, failed: no such driver\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_name_that_none_has_is_answered_with_the_nearest() {
        assert!(find(&engines(), ENGINES, "mine").is_ok());
        assert_eq!(
            find(&engines(), ENGINES, "docker-26.1.4")
                .unwrap_err()
                .to_string(),
            "no engine is called docker-26.1.4 (did you mean docker-26.1.5?); \
             `ros engine list` shows all"
        );
        assert_eq!(
            find(&engines(), CONSOLES, "xyz").unwrap_err().to_string(),
            "no console is called xyz; `ros console list` shows all"
        );
    }
}
