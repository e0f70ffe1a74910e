//! What a person sees of long work: progress bars on a terminal, plain lines
//! elsewhere, and at the end where the time went.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use crate::fetch;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Reports the steps of a command and measures them.
#[derive(Debug)]
pub struct Ui {
    terminal: bool,
    steps: Vec<Timing>,
}

/// How long a step took.
#[derive(Clone, Debug)]
pub struct Timing {
    /// What it did.
    pub name: &'static str,
    /// On the clock.
    pub wall: Duration,
    /// On all processors together.
    pub cpu: Duration,
}

impl Default for Ui {
    fn default() -> Self {
        Self::new()
    }
}

impl Ui {
    /// Writes to standard error, whatever that is.
    pub fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            steps: Vec::new(),
        }
    }

    /// Whether a person watches.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Does a step under its name.
    ///
    /// # Errors
    /// As the step.
    pub fn step<T>(
        &mut self,
        name: &'static str,
        work: impl FnOnce(&ProgressBar) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let bar = self.bar(name);
        let (wall, cpu) = (Instant::now(), cpu_time());
        let result = work(&bar);
        bar.finish_and_clear();
        let timing = Timing {
            name,
            wall: wall.elapsed(),
            cpu: cpu_time().saturating_sub(cpu),
        };
        if result.is_ok() {
            let seconds = timing.wall.as_secs_f64();
            eprintln!("{:>24}  {seconds:6.1} s", timing.name);
        }
        self.steps.push(timing);
        result
    }

    /// A line that stays.
    pub fn say(&self, text: &str) {
        eprintln!("{text}");
    }

    /// The steps so far.
    pub fn timings(&self) -> &[Timing] {
        &self.steps
    }

    fn bar(&self, name: &'static str) -> ProgressBar {
        let target = if self.terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("{prefix:>24}  {spinner} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_prefix(name);
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}

/// Turns a spinner into a bar over a number of bytes.
pub fn count_bytes(bar: &ProgressBar, total: u64) {
    let style = ProgressStyle::with_template(
        "{prefix:>24}  {bar:32} {bytes}/{total_bytes}  {bytes_per_sec}  {msg}",
    );
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_length(total);
}

/// Shows downloads on a bar.
#[derive(Debug)]
pub struct Downloads<'a> {
    bar: &'a ProgressBar,
}

impl<'a> Downloads<'a> {
    /// Uses the bar of a step.
    pub fn new(bar: &'a ProgressBar) -> Self {
        Self { bar }
    }
}

impl fetch::Progress for Downloads<'_> {
    fn start(&self, _items: usize, bytes: u64) {
        count_bytes(self.bar, bytes);
    }

    fn begin(&self, name: &str) {
        self.bar.set_message(name.to_owned());
    }

    fn advance(&self, bytes: i64) {
        if bytes < 0 {
            let position = self.bar.position();
            self.bar
                .set_position(position.saturating_sub(bytes.unsigned_abs()));
        } else {
            self.bar.inc(bytes.unsigned_abs());
        }
    }
}

/// A plain line on how far a step is, for where no bar shows it.
pub fn note(step: &str, text: &str) {
    eprintln!("{step:>24}  {text}");
}

/// A number of bytes for people.
pub fn bytes(count: u64) -> String {
    HumanBytes(count).to_string()
}

/// Where the time went, as a table.
pub fn timings(steps: &[Timing]) -> String {
    let mut text = format!("{:>24}  {:>8}  {:>8}\n", "STEP", "WALL s", "CPU s");
    let total = Timing {
        name: "all of it",
        wall: steps.iter().map(|step| step.wall).sum(),
        cpu: steps.iter().map(|step| step.cpu).sum(),
    };
    for step in steps.iter().chain([&total]) {
        text.push_str(&format!(
            "{:>24}  {:8.2}  {:8.2}\n",
            step.name,
            step.wall.as_secs_f64(),
            step.cpu.as_secs_f64()
        ));
    }
    text
}

/// Processor time of this process and of the children that it waited for.
pub fn cpu_time() -> Duration {
    use nix::sys::{
        resource::{UsageWho, getrusage},
        time::TimeVal,
    };
    let duration = |time: TimeVal| {
        Duration::from_secs(time.tv_sec().unsigned_abs())
            + Duration::from_micros(time.tv_usec().unsigned_abs())
    };
    [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN]
        .into_iter()
        .filter_map(|who| getrusage(who).ok())
        .map(|usage| duration(usage.user_time()) + duration(usage.system_time()))
        .sum()
}
