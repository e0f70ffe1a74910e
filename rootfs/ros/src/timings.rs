//! The boot as a chart: one line a step and a service, from the start of the
//! kernel to the last service ready.

use rubus_config::boot::Stage;
use rubus_service::status::BootedService;

use crate::api::Boot;
use crate::table::{Align, Cell, Paint, Style, Table, cut};
use crate::text;

/// The width of a chart that goes elsewhere than to a terminal.
const WIDTH: usize = 80;

/// One line of the chart.
struct Line {
    stage: &'static str,
    what: String,
    start: u64,
    /// None while it goes on.
    end: Option<u64>,
    paint: Paint,
}

/// Draws the boot.
pub(crate) fn render(boot: &Boot, style: Style) -> String {
    let lines = lines(boot);
    let Some(end) = lines
        .iter()
        .map(|line| line.end.unwrap_or(line.start))
        .max()
    else {
        return "Nothing is recorded of this boot.\n".to_owned();
    };
    let width = style.width.unwrap_or(WIDTH);
    let room = table(&lines, width, |_| Cell::default()).room(width);
    let chart = table(&lines, width, |line| {
        Cell::painted(&bar(line.start, line.end, end, room), line.paint)
    });
    let style = Style {
        width: Some(width),
        ..style
    };
    let mut out = chart.render(style);
    out.push('\n');
    for step in &boot.steps {
        if let Some(note) = &step.note {
            let (name, note) = (text::printable(&step.name), text::printable(note));
            out += &format!("{name}: {note}\n");
        }
    }
    out += &summary(boot);
    out
}

fn lines(boot: &Boot) -> Vec<Line> {
    let kernel = boot.steps.first().map(|first| Line {
        stage: "kernel",
        what: String::new(),
        start: 0,
        end: Some(first.start_us),
        paint: Paint::Plain,
    });
    let steps = boot.steps.iter().map(|step| Line {
        stage: stage(step.stage),
        what: format!("{:>2} {}", step.number, step.name),
        start: step.start_us,
        end: Some(step.start_us.saturating_add(step.duration_us)),
        paint: Paint::Plain,
    });
    let services = boot.services.iter().map(|service| Line {
        stage: "service",
        what: service.name.clone(),
        start: service.start_us,
        end: service.ready_us,
        paint: crate::service::paint(service.state),
    });
    kernel.into_iter().chain(steps).chain(services).collect()
}

const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Initramfs => "initramfs",
        Stage::System => "system",
    }
}

fn table(lines: &[Line], width: usize, chart: impl Fn(&Line) -> Cell) -> Table {
    let mut table = Table::new(&[
        ("STAGE", Align::Left),
        ("STEP", Align::Left),
        ("START", Align::Right),
        ("TOOK", Align::Right),
        ("", Align::Left),
    ]);
    for line in lines {
        let took = line.end.map(|end| exact(end.saturating_sub(line.start)));
        table.row(vec![
            line.stage.into(),
            // A long name must not take the room of the chart.
            cut(&line.what, width * 2 / 5).into(),
            exact(line.start).into(),
            took.unwrap_or_else(|| "...".to_owned()).into(),
            chart(line),
        ]);
    }
    table
}

/// Seconds with milliseconds.
fn exact(microseconds: u64) -> String {
    format!("{:.3} s", microseconds as f64 / 1e6)
}

/// A bar from `start` to `end` where `total` is as long as `room` characters.
/// What is too short for a character is a thin line; what goes on is shaded up
/// to the end.
fn bar(start: u64, end: Option<u64>, total: u64, room: usize) -> String {
    let column = |time: u64| {
        let exact = u128::from(time) * room as u128 / u128::from(total.max(1));
        usize::try_from(exact).unwrap_or(room).min(room)
    };
    let from = column(start).min(room.saturating_sub(1));
    let to = column(end.unwrap_or(total));
    let length = to.saturating_sub(from);
    let body = match (end, length) {
        (Some(_), 0) => "▏".to_owned(),
        (Some(_), _) => "█".repeat(length),
        (None, _) => "░".repeat(length.max(1)),
    };
    " ".repeat(from) + &body
}

/// The totals.
fn summary(boot: &Boot) -> String {
    let (ready, missing): (Vec<_>, Vec<_>) = boot
        .services
        .iter()
        .partition(|service| service.ready_us.is_some());
    let mut out = String::new();
    let end = ready.iter().filter_map(|service| service.ready_us).max();
    if let Some(first) = boot.steps.first() {
        let kernel = first.start_us;
        let init = boot.runtime_us.saturating_sub(kernel);
        out += &format!(
            "kernel {}, init {}",
            text::seconds(kernel),
            text::seconds(init)
        );
        if let Some(end) = end {
            let services = end.saturating_sub(boot.runtime_us);
            out += &format!(", services {}", text::seconds(services));
        }
        out.push('\n');
    }
    let slowest = ready.iter().max_by_key(|service| took(service));
    if let (Some(end), Some(slowest)) = (end, slowest) {
        let verb = if missing.is_empty() {
            "ready after"
        } else {
            "so far"
        };
        out += &format!(
            "{verb} {}; the slowest was {}, {}\n",
            text::seconds(end),
            text::printable(&slowest.name),
            text::seconds(took(slowest))
        );
    }
    if !missing.is_empty() {
        let names: Vec<String> = missing
            .iter()
            .map(|service| {
                format!(
                    "{} ({})",
                    text::printable(&service.name),
                    service.state.word()
                )
            })
            .collect();
        out += &format!("not ready: {}\n", names.join(", "));
    }
    out
}

/// From the start of a service until it was ready.
fn took(service: &BootedService) -> u64 {
    service
        .ready_us
        .unwrap_or_default()
        .saturating_sub(service.start_us)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rubus_config::boot::Step;
    use rubus_service::status::State;

    const MS: u64 = 1_000;

    fn step(stage: Stage, number: u32, name: &str, start: u64, took: u64) -> Step {
        Step {
            stage,
            number,
            name: name.into(),
            start_us: start * MS,
            duration_us: took * MS,
            note: None,
        }
    }

    fn service(name: &str, start: u64, ready: Option<u64>, state: State) -> BootedService {
        BootedService {
            name: name.into(),
            start_us: start * MS,
            ready_us: ready.map(|ready| ready * MS),
            state,
        }
    }

    fn boot() -> Boot {
        Boot {
            steps: vec![
                step(Stage::Initramfs, 1, "pseudo filesystems", 1_200, 4),
                step(Stage::Initramfs, 2, "data partition", 1_204, 396),
                step(Stage::System, 1, "early modules", 1_600, 200),
            ],
            runtime_us: 1_900 * MS,
            services: vec![
                service("network", 2_000, Some(2_600), State::Ready),
                service("docker", 2_600, Some(9_800), State::Ready),
            ],
        }
    }

    #[test]
    fn a_boot_is_a_line_for_each_part_a_bar_for_its_time_and_the_totals() {
        assert_eq!(
            render(&boot(), Style::default()),
            "\
STAGE      STEP                     START     TOOK
kernel                            0.000 s  1.200 s  ███
initramfs   1 pseudo filesystems  1.200 s  0.004 s     ▏
initramfs   2 data partition      1.204 s  0.396 s     █
system      1 early modules       1.600 s  0.200 s      █
service    network                2.000 s  0.600 s       ██
service    docker                 2.600 s  7.200 s         █████████████████████

kernel 1.2 s, init 0.7 s, services 7.9 s
ready after 9.8 s; the slowest was docker, 7.2 s
"
        );
    }

    #[test]
    fn a_wide_terminal_is_used_to_its_edge_and_a_narrow_one_not_beyond() {
        for width in [60, 80, 100, 200] {
            let style = Style {
                width: Some(width),
                ..Style::default()
            };
            let text = render(&boot(), style);
            let chart = text.lines().take_while(|line| !line.is_empty());
            let widest = chart.map(|line| line.chars().count()).max();
            assert_eq!(widest, Some(width), "{text}");
        }
    }

    #[test]
    fn bars_begin_and_end_where_their_time_does() {
        assert_eq!(bar(0, Some(50), 100, 10), "█████");
        assert_eq!(bar(50, Some(100), 100, 10), "     █████");
        assert_eq!(bar(50, Some(51), 100, 10), "     ▏");
        assert_eq!(bar(100, Some(100), 100, 10), "         █");
        assert_eq!(bar(70, None, 100, 10), "       ░░░");
    }

    #[test]
    fn absurd_times_do_no_harm() {
        assert_eq!(bar(0, Some(0), 0, 10), "▏");
        assert_eq!(bar(u64::MAX, Some(0), 1, 3), "  ▏");
        assert_eq!(bar(0, Some(u64::MAX), u64::MAX, 3), "███");
        bar(0, Some(5), 9, 0);
        let mut boot = boot();
        boot.steps[0].start_us = u64::MAX;
        boot.services[0].ready_us = Some(0);
        boot.runtime_us = 0;
        for width in [0, 1, 20, 80] {
            let style = Style {
                width: Some(width),
                ..Style::default()
            };
            render(&boot, style);
        }
    }

    #[test]
    fn a_service_that_is_not_ready_is_named() {
        let mut boot = boot();
        boot.services
            .push(service("gateway", 5_000, None, State::Unhealthy));
        let text = render(&boot, Style::default());
        assert!(text.contains("so far 9.8 s; the slowest was docker, 7.2 s\n"));
        assert!(text.ends_with("not ready: gateway (unhealthy)\n"), "{text}");
        let line = text.lines().find(|line| line.contains("gateway")).unwrap();
        assert!(line.contains("5.000 s      ...  "), "{line}");
        assert!(line.contains('░'));
    }

    #[test]
    fn what_was_special_about_a_step_is_told() {
        let mut boot = boot();
        boot.steps[1].note = Some("made the data partition".into());
        let text = render(&boot, Style::default());
        assert!(text.contains("\ndata partition: made the data partition\n"));
    }

    #[test]
    fn without_a_record_of_init_the_services_are_shown() {
        let mut boot = boot();
        boot.steps.clear();
        let text = render(&boot, Style::default());
        assert!(!text.contains("kernel"), "{text}");
        assert!(text.ends_with("ready after 9.8 s; the slowest was docker, 7.2 s\n"));
    }

    #[test]
    fn nothing_recorded_is_said() {
        let boot = Boot {
            steps: Vec::new(),
            runtime_us: 0,
            services: Vec::new(),
        };
        assert_eq!(
            render(&boot, Style::default()),
            "Nothing is recorded of this boot.\n"
        );
    }
}
