//! Where the time of the boot went, as a chart.

use rubus_config::boot::{Stage, Step};
use rubus_service::status::Boot;

use crate::terminal::{Style, duration};

/// A bar of the chart.
struct Bar {
    name: String,
    start: u64,
    /// `None`: it has not ended.
    end: Option<u64>,
    note: String,
}

/// The chart: one line for everything that took time, with a bar where on the
/// way from the start of the kernel to the last ready service it was.
pub(crate) fn render(boot: &Boot<Step>, width: usize, colours: bool) -> String {
    let groups = [
        ("Kernel", kernel(boot)),
        ("Initramfs", steps(boot, Stage::Initramfs)),
        ("System", steps(boot, Stage::System)),
        ("Services", services(boot)),
    ];
    let bars = || groups.iter().flat_map(|(_, bars)| bars);
    let end = bars()
        .map(|it| it.end.unwrap_or(it.start))
        .max()
        .unwrap_or(0)
        .max(1);
    let longest = bars().map(|it| it.name.chars().count()).max().unwrap_or(0);
    let names = longest.clamp(8, 36);
    // Two columns of 9 and the spaces between them.
    let chart = width
        .saturating_sub(names + 2 + 9 + 1 + 9 + 2)
        .clamp(10, 80);

    let mut text = String::new();
    let head = format!("{:<names$}  {:>9} {:>9}", "", "at", "took");
    text.push_str(&(Style::Dim.paint(&head, colours) + "\n"));
    for (title, bars) in &groups {
        if bars.is_empty() {
            continue;
        }
        text.push_str(&(Style::Bold.paint(title, colours) + "\n"));
        for bar in bars {
            text.push_str(&line(bar, names, chart, end, colours));
        }
    }
    text.push('\n');
    text.push_str(&summary(boot, end));
    text
}

fn line(bar: &Bar, names: usize, chart: usize, end: u64, colours: bool) -> String {
    let name: String = bar.name.chars().take(names).collect();
    let took = match bar.end {
        Some(end) => duration(end.saturating_sub(bar.start)),
        None => "not yet".to_owned(),
    };
    let at = |micros: u64| {
        let column = u128::from(micros) * chart as u128 / u128::from(end);
        usize::try_from(column).unwrap_or(chart)
    };
    let first = at(bar.start).min(chart - 1);
    let last = at(bar.end.unwrap_or(end)).clamp(first + 1, chart);
    let (sign, style) = match bar.end {
        Some(_) => ("#", Style::Good),
        None => ("?", Style::Bad),
    };
    let shape = style.paint(&sign.repeat(last - first), colours);
    let mut line = format!(
        "{name:<names$}  {:>9} {took:>9}  {}{shape}",
        duration(bar.start),
        " ".repeat(first)
    );
    if !bar.note.is_empty() {
        line.push_str(&Style::Dim.paint(&format!("  {}", bar.note), colours));
    }
    line + "\n"
}

fn kernel(boot: &Boot<Step>) -> Vec<Bar> {
    let first = boot.steps.iter().map(|step| step.start_us).min();
    vec![Bar {
        name: "start".to_owned(),
        start: 0,
        end: Some(first.unwrap_or(boot.runtime_us)),
        note: String::new(),
    }]
}

fn steps(boot: &Boot<Step>, stage: Stage) -> Vec<Bar> {
    let of_stage = boot.steps.iter().filter(|step| step.stage == stage);
    of_stage
        .map(|step| Bar {
            name: format!("{:>2} {}", step.number, step.name),
            start: step.start_us,
            end: Some(step.start_us.saturating_add(step.duration_us)),
            note: step.note.clone().unwrap_or_default(),
        })
        .collect()
}

fn services(boot: &Boot<Step>) -> Vec<Bar> {
    let services = boot.services.iter();
    services
        .map(|service| Bar {
            name: service.name.clone(),
            start: service.start_us,
            end: service.ready_us,
            note: match service.ready_us {
                Some(_) => String::new(),
                None => service.state.word().to_owned(),
            },
        })
        .collect()
}

/// The parts that follow each other, and what they add up to.
fn summary(boot: &Boot<Step>, end: u64) -> String {
    let first = |stage: Stage| {
        let of_stage = boot.steps.iter().filter(move |step| step.stage == stage);
        of_stage.map(|step| step.start_us).min()
    };
    let marks = [
        ("kernel", Some(0)),
        ("initramfs", first(Stage::Initramfs)),
        ("system", first(Stage::System)),
        ("services", Some(boot.runtime_us)),
    ];
    let marks: Vec<(&str, u64)> = marks
        .into_iter()
        .filter_map(|(name, at)| Some((name, at?)))
        .collect();
    let parts: Vec<String> = marks
        .iter()
        .enumerate()
        .map(|(index, &(name, start))| {
            let next = marks.get(index + 1).map_or(end, |&(_, at)| at);
            format!("{name} {}", duration(next.saturating_sub(start)))
        })
        .collect();
    let late: Vec<&str> = boot
        .services
        .iter()
        .filter(|it| it.ready_us.is_none())
        .map(|it| it.name.as_str())
        .collect();
    let verdict = if late.is_empty() {
        format!("Everything was ready after {}", duration(end))
    } else {
        format!(
            "Not ready yet: {}; so far {}",
            late.join(", "),
            duration(end)
        )
    };
    format!("{verdict}: {}.\n", parts.join(" + "))
}

#[cfg(test)]
mod tests {
    use rubus_service::status::{BootedService, State};

    use super::*;

    fn boot() -> Boot<Step> {
        let step = |stage, number, name: &str, start_us, duration_us| Step {
            stage,
            number,
            name: name.to_owned(),
            start_us,
            duration_us,
            note: None,
        };
        let service = |name: &str, start_us, ready_us| BootedService {
            name: name.to_owned(),
            start_us,
            ready_us,
            state: State::Running,
        };
        Boot {
            steps: vec![
                step(Stage::Initramfs, 1, "find the slot", 1_000_000, 500_000),
                step(Stage::System, 1, "mount cgroups", 1_500_000, 100_000),
            ],
            runtime_us: 2_000_000,
            services: vec![
                service("udev", 2_000_000, Some(3_000_000)),
                service("docker", 3_000_000, Some(10_000_000)),
            ],
        }
    }

    #[test]
    fn every_part_has_a_bar_where_it_was() {
        assert_eq!(
            render(&boot(), 60, false),
            "                         at      took\n\
             Kernel\n\
             start                  0 ms    1.00 s  ##\n\
             Initramfs\n\
             \u{20}1 find the slot     1.00 s    500 ms    #\n\
             System\n\
             \u{20}1 mount cgroups     1.50 s    100 ms     #\n\
             Services\n\
             udev                 2.00 s    1.00 s      ##\n\
             docker               3.00 s    7.00 s        ###############\n\
             \n\
             Everything was ready after 10.00 s: kernel 1.00 s + initramfs 500 ms + system 500 ms + services 8.00 s.\n"
        );
    }

    #[test]
    fn what_is_not_ready_is_said() {
        let mut boot = boot();
        boot.services[1].ready_us = None;
        let text = render(&boot, 80, false);
        assert!(text.contains("not yet"), "{text}");
        assert!(text.contains("?  running\n"), "{text}");
        assert!(
            text.contains("Not ready yet: docker; so far 3.00 s"),
            "{text}"
        );
    }

    #[test]
    fn an_empty_or_absurd_record_does_no_harm() {
        let mut boot = boot();
        boot.steps[0].start_us = u64::MAX;
        boot.steps[0].duration_us = u64::MAX;
        render(&boot, 0, true);
        boot.steps.clear();
        boot.services.clear();
        render(&boot, 1000, true);
    }
}
