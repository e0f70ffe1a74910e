//! `ros engine switch` and `ros console switch`: asking for a switch and
//! telling how it goes.

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use rubus_service::status::State;
use rubus_service::variants::{Outcome, Progress, Step, Variants};

use super::{Family, current, find};
use crate::client::{Client, ClientError};
use crate::output::Output;
use crate::text::printable;

/// How often is looked.
const PAUSE: Duration = Duration::from_millis(250);
/// How long the runtime may be away meanwhile: `init` starts it again.
const AWAY: Duration = Duration::from_secs(60);

/// Says that a switch of the console ends this login, and asks whether it may.
pub(super) fn announce_end_of_login(name: &str, yes: bool) -> Result<()> {
    eprintln!(
        "This ends every login, also this one. Log in again in a few seconds: to {name}, or to \
         the present console where {name} does not work."
    );
    if yes || !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Ok(());
    }
    eprint!("Go on? [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if !is_yes(&answer) {
        bail!("nothing was changed");
    }
    Ok(())
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// Switches, and waits until that is over.
pub(super) fn run(client: &Client, family: Family, name: &str, output: Output) -> Result<()> {
    let before = client.variants(family.service)?;
    find(&before, family, name)?;
    let was_current = current(&before) == Some(name);
    let begun = client.switch_variant(family.service, name)?;
    let Some(progress) = begun.switch else {
        return match (was_current, begun.last) {
            (false, Some(last)) => conclude(client, family, &last, output),
            _ => Ok(output.line(&format!("{name} runs already"))?),
        };
    };
    let began = progress.began.clone();
    let mut teller = Teller::new(output);
    teller.tell(&progress)?;
    let after = wait(client, family, &began, &mut teller)?;
    teller.end()?;
    match after.last.filter(|last| last.began == began) {
        Some(last) => conclude(client, family, &last, output),
        None => Err(anyhow!(
            "the switch to {name} was not finished; `ros {} list` shows what runs",
            family.word
        )),
    }
}

/// Waits until the switch that began then is over.
fn wait(client: &Client, family: Family, began: &str, teller: &mut Teller) -> Result<Variants> {
    let mut heard = Instant::now();
    loop {
        thread::sleep(PAUSE);
        match client.variants(family.service) {
            Ok(variants) => {
                heard = Instant::now();
                match variants.switch.as_ref().filter(|it| it.began == began) {
                    Some(progress) => teller.tell(progress)?,
                    None => return Ok(variants),
                }
            }
            Err(ClientError::Unreachable { .. }) if heard.elapsed() < AWAY => {}
            Err(error) => {
                teller.end()?;
                return Err(error.into());
            }
        }
    }
}

/// The end: what runs now, or why not what was asked for.
fn conclude(client: &Client, family: Family, last: &Outcome, output: Output) -> Result<()> {
    if last.done {
        return Ok(output.line(&success(last))?);
    }
    // Where even that cannot be asked, the reason is what counts.
    let state = client.service(family.service).map(|it| it.state).ok();
    let now = client.variants(family.service).ok();
    let now = now.as_ref().and_then(current).unwrap_or(&last.from);
    bail!("{}", failure(last, now, state));
}

fn success(last: &Outcome) -> String {
    let to = printable(&last.to);
    if last.reason.is_empty() {
        return format!("{to} runs");
    }
    format!("{to} runs; {}", printable(&last.reason))
}

fn failure(last: &Outcome, now: &str, state: Option<State>) -> String {
    let goes = match state {
        Some(state) if state.is_ready() => "runs".to_owned(),
        Some(state) => format!("is {}", state.word()),
        None => "is to run".to_owned(),
    };
    format!("{} does not work: {}; {now} {goes}", last.to, last.reason)
}

/// What a step is, in words.
fn describe(progress: &Progress) -> String {
    let (from, to) = match progress.back {
        None => (&progress.from, &progress.to),
        Some(_) => (&progress.to, &progress.from),
    };
    match progress.step {
        Step::Drain => format!("{from} makes ready to stop"),
        Step::Stop => format!("stopping {from}"),
        Step::Start => format!("starting {to}"),
        Step::Gate => format!("looking whether all is well with {to}"),
    }
}

/// Tells each step once: on a terminal on a line that counts the seconds,
/// elsewhere on a line each.
struct Teller {
    output: Output,
    told: String,
    going_back: bool,
    since: Instant,
}

impl Teller {
    fn new(output: Output) -> Self {
        Self {
            output,
            told: String::new(),
            going_back: false,
            since: Instant::now(),
        }
    }

    fn tell(&mut self, progress: &Progress) -> io::Result<()> {
        if let Some(why) = progress.back.as_ref().filter(|_| !self.going_back) {
            self.going_back = true;
            self.end()?;
            let (to, from) = (&progress.to, &progress.from);
            self.output.line(&printable(&format!(
                "{to} does not work: {why}; going back to {from}"
            )))?;
        }
        let step = describe(progress);
        if step != self.told {
            self.end()?;
            self.told.clone_from(&step);
            self.since = Instant::now();
            if !self.output.is_terminal() {
                return self.output.line(&printable(&step));
            }
        }
        if self.output.is_terminal() {
            let seconds = self.since.elapsed().as_secs();
            let line = format!("\r\x1b[K{} {seconds} s", printable(&step));
            return self.output.text(&line);
        }
        Ok(())
    }

    /// Ends the line that counts.
    fn end(&mut self) -> io::Result<()> {
        if self.output.is_terminal() && !self.told.is_empty() {
            self.told.clear();
            return self.output.text("\n");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(done: bool, reason: &str) -> Outcome {
        Outcome {
            began: String::new(),
            ended: String::new(),
            from: "docker-26".into(),
            to: "docker-28".into(),
            done,
            reason: reason.into(),
        }
    }

    #[test]
    fn the_end_says_what_runs() {
        assert_eq!(
            success(&outcome(true, "3 of 3 containers run again")),
            "docker-28 runs; 3 of 3 containers run again"
        );
        assert_eq!(success(&outcome(true, "")), "docker-28 runs");
        let failed = outcome(false, "no such driver");
        for (state, end) in [
            (Some(State::Ready), "docker-26 runs"),
            (Some(State::Backoff), "docker-26 is backoff"),
            (None, "docker-26 is to run"),
        ] {
            assert_eq!(
                failure(&failed, "docker-26", state),
                format!("docker-28 does not work: no such driver; {end}")
            );
        }
    }

    #[test]
    fn steps_are_told_in_both_directions() {
        let mut progress = Progress {
            began: String::new(),
            from: "a".into(),
            to: "b".into(),
            step: Step::Drain,
            back: None,
        };
        assert_eq!(describe(&progress), "a makes ready to stop");
        progress.step = Step::Start;
        assert_eq!(describe(&progress), "starting b");
        progress.back = Some("no".into());
        assert_eq!(describe(&progress), "starting a");
        progress.step = Step::Stop;
        assert_eq!(describe(&progress), "stopping b");
    }

    #[test]
    fn only_yes_is_yes() {
        for (answer, yes) in [("y\n", true), ("YES\n", true), ("\n", false), ("no", false)] {
            assert_eq!(is_yes(answer), yes, "{answer:?}");
        }
    }
}
