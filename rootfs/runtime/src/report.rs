//! Telling whoever reads the runtime's standard error: `init`.

use std::{collections::BTreeSet, io::Write};

use crate::{machine::Micros, supervisor::Supervisor};

/// Writes a line that `init` logs in our name and shows on the console, also
/// when the kernel is told to be quiet: `<3>` is the kernel's priority of
/// errors. Nobody may be there to read it, which is no reason to end.
pub(crate) fn report(message: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "<3>{message}");
}

/// Says of each service once that it is ready: what `init` wrote of the boot
/// goes on. `quiet` hides it, as it hides the steps of `init`.
pub(crate) struct Announcer {
    since: Micros,
    announced: BTreeSet<usize>,
}

impl Announcer {
    /// Leaves out what was ready before: another runtime announced that.
    pub(crate) fn new(since: Micros) -> Announcer {
        Announcer {
            since,
            announced: BTreeSet::new(),
        }
    }

    /// Announces what is new.
    pub(crate) fn announce(&mut self, supervisor: &Supervisor) {
        for line in self.news(supervisor) {
            let _ = writeln!(std::io::stderr(), "<5>{line}");
        }
    }

    fn news(&mut self, supervisor: &Supervisor) -> Vec<String> {
        let mut lines = Vec::new();
        for (index, unit) in supervisor.units() {
            let Some(ready) = unit.machine.first_ready else {
                continue;
            };
            if self.announced.insert(index) && ready >= self.since {
                let started = unit.machine.first_started.unwrap_or(ready);
                let took = ready.saturating_sub(started) / 1000;
                lines.push(format!("{} is ready ({took} ms)", unit.service.name));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use rubus_service::Service;

    use super::*;
    use crate::machine::Machine;

    #[test]
    fn each_service_is_announced_once_and_by_one_runtime() {
        let text = "description = \"d\"\nkind = \"daemon\"\ncommand = [\"c\"]\n";
        let service = |name| (Service::parse(name, "f", text).unwrap(), true);
        let mut supervisor = Supervisor::new(["before", "now", "later"].map(service));
        let ready = |ready| {
            let mut machine = Machine::new();
            machine.first_started = Some(1_000_000);
            machine.first_ready = Some(ready);
            machine
        };
        supervisor.restore(0, ready(4_999_999));
        supervisor.restore(1, ready(5_250_000));
        let mut announcer = Announcer::new(5_000_000);
        assert_eq!(announcer.news(&supervisor), ["now is ready (4250 ms)"]);
        assert!(announcer.news(&supervisor).is_empty());
        supervisor.restore(2, ready(6_000_000));
        assert_eq!(announcer.news(&supervisor), ["later is ready (5000 ms)"]);
        assert!(announcer.news(&supervisor).is_empty());
    }
}
