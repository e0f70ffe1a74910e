//! `ros recovery`: what can be done when something is broken, as a menu. Every
//! entry is a command of `ros`, which is shown, so that nobody needs the menu
//! twice.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::Command;

use anyhow::{Context, Result};
use rubus_service::status::{State, Status};
use rubus_service::variants::{Choice, Variants};
use serde::Serialize;

use crate::api;
use crate::cli::Listing;
use crate::client::Client;
use crate::host::Host;
use crate::output::Output;
use crate::text::printable;

/// What the menu depends on.
#[derive(Debug)]
struct Sight {
    /// All services, or why they are not known.
    services: Result<Vec<Status>, String>,
    /// Keys of settings that are on trial.
    trial: Vec<String>,
    /// The engines, and the consoles.
    engines: Option<Variants>,
    consoles: Option<Variants>,
}

/// One thing that can be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Offer {
    /// What it does.
    what: String,
    /// The words of the command after `ros`; none for a shell.
    command: Vec<String>,
}

impl Offer {
    fn new(what: impl Into<String>, command: &[&str]) -> Self {
        Self {
            what: what.into(),
            command: command.iter().map(|&it| it.to_owned()).collect(),
        }
    }

    fn shown(&self) -> String {
        match self.command.as_slice() {
            [] => String::new(),
            words => format!("ros {}", words.join(" ")),
        }
    }
}

/// Shows the menu, and on a terminal does what is chosen until nothing more is.
pub(crate) fn run(client: &Client, host: &Host, listing: Listing, output: Output) -> Result<()> {
    if listing.json {
        return output.json(&offers(&look(client, host)));
    }
    loop {
        let sight = look(client, host);
        let offers = offers(&sight);
        output.text(&menu(&sight, &offers))?;
        if !(output.is_terminal() && io::stdin().is_terminal()) {
            return Ok(());
        }
        match ask("Number, or q to leave: ")?.as_deref() {
            None | Some("q") => return Ok(()),
            Some(answer) => match chosen(answer, &offers) {
                Some(offer) => {
                    carry_out(offer)?;
                    ask("Enter goes back to the list: ")?;
                }
                None => output.line(&format!("there is no {}", printable(answer)))?,
            },
        }
    }
}

fn look(client: &Client, host: &Host) -> Sight {
    Sight {
        services: client.services().map_err(|error| error.to_string()),
        trial: host.trial().map(|trial| trial.keys).unwrap_or_default(),
        engines: client.variants("docker").ok(),
        consoles: client.variants("console").ok(),
    }
}

/// What can be done, the likeliest help first.
fn offers(sight: &Sight) -> Vec<Offer> {
    let mut offers = Vec::new();
    if !sight.trial.is_empty() {
        let what = format!(
            "Take back the settings on trial ({})",
            sight.trial.join(", ")
        );
        offers.push(Offer::new(what, &["config", "revert"]));
    }
    for service in missing(sight) {
        let name = service.name.as_str();
        offers.push(Offer::new(
            format!("Read what {name} says"),
            &["logs", "--tail", "50", name],
        ));
        offers.push(Offer::new(
            format!("Start {name} again"),
            &["service", "restart", name],
        ));
    }
    for (word, variants) in [("engine", &sight.engines), ("console", &sight.consoles)] {
        if let Some(own) = variants.as_ref().and_then(own_that_does_not_run) {
            offers.push(Offer::new(
                format!("Go back to the {word} of the image, {own}"),
                &[word, "switch", own],
            ));
        }
    }
    offers.extend([
        Offer::new("See how the node is", &["os", "status"]),
        Offer::new("See which settings were made", &["config", "export"]),
        Offer::new(
            "Take back all settings of the network: addresses by DHCP",
            &["config", "unset", "network"],
        ),
        Offer::new("Start the node again", &["os", "reboot"]),
        Offer::new("Switch the node off", &["os", "poweroff"]),
        Offer::new("Open a shell", &[]),
    ]);
    offers
}

/// Services that should be ready and are not.
fn missing(sight: &Sight) -> impl Iterator<Item = &Status> {
    let all = sight.services.as_deref().unwrap_or_default();
    // What waits for others is well once they are.
    all.iter()
        .filter(|it| api::is_missing(it) && it.state != State::Waiting)
}

/// The variant that the image starts with, where another one runs.
fn own_that_does_not_run(variants: &Variants) -> Option<&str> {
    let own = variants.variants.first()?;
    (own.state != Choice::Current).then_some(own.name.as_str())
}

fn menu(sight: &Sight, offers: &[Offer]) -> String {
    let mut text = String::new();
    match &sight.services {
        Err(why) => text += &format!("{}\n", printable(why)),
        Ok(_) => {
            for service in missing(sight) {
                let reason = match service.reason.as_str() {
                    "" => String::new(),
                    reason => format!(": {}", printable(reason)),
                };
                text += &format!("{} is {}{reason}\n", service.name, service.state.word());
            }
            if text.is_empty() {
                text += "All services are well.\n";
            }
        }
    }
    text += "\nWhat can be done:\n";
    let width = offers.iter().map(|it| it.what.len()).max().unwrap_or(0);
    for (number, offer) in (1..).zip(offers) {
        let line = format!("{number:>3}  {:width$}  {}", offer.what, offer.shown());
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn chosen<'o>(answer: &str, offers: &'o [Offer]) -> Option<&'o Offer> {
    let number: usize = answer.parse().ok()?;
    offers.get(number.checked_sub(1)?)
}

/// Runs it. That it fails is told by itself.
fn carry_out(offer: &Offer) -> Result<()> {
    let mut command = match offer.command.as_slice() {
        [] => Command::new("/bin/sh"),
        words => {
            let ros = std::env::current_exe().context("cannot find out where `ros` itself is")?;
            let mut command = Command::new(ros);
            command.args(words);
            command
        }
    };
    command
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    Ok(())
}

/// Asks for a line; none is the end of the input.
fn ask(question: &str) -> io::Result<Option<String>> {
    eprint!("{question}");
    io::stderr().flush()?;
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer)?;
    Ok((read > 0).then(|| answer.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use rubus_service::variants::{Source, Variant};

    use super::*;
    use crate::samples::service;

    impl Default for Sight {
        fn default() -> Self {
            Self {
                services: Ok(Vec::new()),
                trial: Vec::new(),
                engines: None,
                consoles: None,
            }
        }
    }

    fn variants(states: [Choice; 2]) -> Option<Variants> {
        let names = ["first", "second"];
        let all = names.into_iter().zip(states).map(|(name, state)| Variant {
            name: name.to_owned(),
            version: None,
            source: Source::Image,
            state,
            trial: false,
            problem: String::new(),
        });
        Some(Variants {
            service: String::new(),
            variants: all.collect(),
            switch: None,
            last: None,
            notice: String::new(),
        })
    }

    fn commands(sight: &Sight) -> Vec<String> {
        offers(sight).iter().map(Offer::shown).collect()
    }

    #[test]
    fn a_node_that_is_well_offers_what_always_helps() {
        let sight = Sight {
            services: Ok(vec![service("ntp", State::Ready)]),
            engines: variants([Choice::Current, Choice::Disabled]),
            ..Sight::default()
        };
        assert_eq!(
            commands(&sight),
            [
                "ros os status",
                "ros config export",
                "ros config unset network",
                "ros os reboot",
                "ros os poweroff",
                ""
            ]
        );
        let text = menu(&sight, &offers(&sight));
        assert!(text.starts_with("All services are well.\n\nWhat can be done:\n  1  See how"));
        assert!(text.ends_with("\n  6  Open a shell\n"), "{text}");
    }

    #[test]
    fn what_is_wrong_comes_first_and_with_its_reason() {
        let mut docker = service("docker", State::Backoff);
        docker.reason = "ended with status 1".to_owned();
        let sight = Sight {
            services: Ok(vec![docker, service("gateway", State::Waiting)]),
            trial: vec!["ntp.servers".to_owned()],
            engines: variants([Choice::Disabled, Choice::Current]),
            consoles: variants([Choice::Enabled, Choice::Current]),
        };
        assert_eq!(
            commands(&sight)[..5],
            [
                "ros config revert",
                "ros logs --tail 50 docker",
                "ros service restart docker",
                "ros engine switch first",
                "ros console switch first"
            ]
        );
        let text = menu(&sight, &offers(&sight));
        assert!(
            text.starts_with("docker is backoff: ended with status 1\n\n"),
            "{text}"
        );
    }

    #[test]
    fn without_the_runtime_the_menu_is_there_all_the_same() {
        let sight = Sight {
            services: Err("the runtime does not answer".to_owned()),
            ..Sight::default()
        };
        assert_eq!(commands(&sight).len(), 6);
        assert!(menu(&sight, &[]).starts_with("the runtime does not answer\n"));
    }

    #[test]
    fn a_number_chooses_and_nothing_else_does() {
        let offers = offers(&Sight::default());
        assert_eq!(chosen("1", &offers), offers.first());
        for answer in ["0", "99", "", "-1", "x"] {
            assert_eq!(chosen(answer, &offers), None, "{answer}");
        }
    }

    /// What is offered has to be understood.
    #[test]
    fn every_command_is_one_of_ros() {
        use clap::Parser;
        let sight = Sight {
            services: Ok(vec![service("docker", State::Failed)]),
            trial: vec!["hostname".to_owned()],
            engines: variants([Choice::Disabled, Choice::Current]),
            consoles: variants([Choice::Disabled, Choice::Current]),
        };
        for offer in offers(&sight).iter().filter(|it| !it.command.is_empty()) {
            let words = [&["ros".to_owned()], offer.command.as_slice()].concat();
            assert!(crate::cli::Cli::try_parse_from(&words).is_ok(), "{words:?}");
        }
    }
}
