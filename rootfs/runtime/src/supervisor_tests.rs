//! How services go together, in simulated time.

use rubus_service::status::Exit;

use super::*;
use crate::machine::Process;

const SECOND: Micros = 1_000_000;

/// Services under test, whose containers do as they are told.
struct World {
    supervisor: Supervisor,
    now: Micros,
    /// What was done, in order: `launch a`.
    done: Vec<String>,
    /// Names of services that ignore signals.
    deaf: Vec<&'static str>,
}

fn service(name: &str, after: &[&str], rest: &str) -> Service {
    let text = format!(
        "description = \"d\"\nkind = \"daemon\"\ncommand = [\"c\"]\nafter = {after:?}\n{rest}"
    );
    Service::parse(name, "f", &text).unwrap()
}

fn world(services: &[(&str, &[&str])]) -> World {
    let services = services
        .iter()
        .map(|(name, after)| (service(name, after, ""), true));
    World {
        supervisor: Supervisor::new(services),
        now: 0,
        done: Vec::new(),
        deaf: Vec::new(),
    }
}

impl World {
    fn index(&self, name: &str) -> usize {
        self.supervisor.index_of(name).unwrap()
    }

    fn state(&self, name: &str) -> State {
        self.supervisor.status(self.index(name)).state
    }

    fn reason(&self, name: &str) -> String {
        self.supervisor.status(self.index(name)).reason
    }

    fn tell(&mut self, name: &str, event: Event) {
        let (index, now) = (self.index(name), self.now);
        self.supervisor.dispatch(index, event, now);
    }

    fn start_all(&mut self) {
        for index in 0..self.supervisor.units.len() {
            self.supervisor.dispatch(index, Event::Start, self.now);
        }
    }

    /// One turn: what is to be done is done, and answered at the next.
    fn turn(&mut self) -> Vec<String> {
        let effects = self.supervisor.settle(self.now);
        let mut words = Vec::new();
        for (index, action) in effects {
            let name = self.supervisor.unit(index).service.name.clone();
            let word = format!("{action:?} {name}").to_lowercase();
            let exited = |exit| Event::Exited {
                exit,
                out_of_memory: false,
            };
            let event = match action {
                Action::Launch => Some(Event::Started(Process {
                    pid: 100 + i32::try_from(index).unwrap(),
                    start: 1,
                })),
                Action::Signal if self.deaf.contains(&name.as_str()) => None,
                Action::Signal => Some(exited(Exit::Signal(15))),
                Action::Kill => Some(exited(Exit::Signal(9))),
                Action::Clean => Some(Event::Cleaned),
                Action::Probe => Some(Event::Probed(Ok(()))),
                Action::PostStart => Some(Event::PostStartEnded(Exit::Code(0))),
            };
            if let Some(event) = event {
                self.supervisor.dispatch(index, event, self.now);
            }
            words.push(word);
        }
        self.done.extend(words.iter().cloned());
        words
    }

    fn run(&mut self) {
        for _ in 0..100 {
            if self.turn().is_empty() {
                return;
            }
        }
        panic!("does not come to rest: {:?}", self.done);
    }
}

#[test]
fn all_that_can_start_starts_at_once_and_the_rest_when_it_can() {
    let mut it = world(&[("a", &[]), ("b", &[]), ("c", &["a", "b"]), ("d", &["c"])]);
    it.start_all();
    assert_eq!(it.turn(), ["launch a", "launch b"]);
    assert_eq!(it.turn(), ["launch c"]);
    assert_eq!(it.turn(), ["launch d"]);
    assert_eq!(it.turn(), [""; 0]);
    assert_eq!(it.state("d"), State::Ready);
}

#[test]
fn what_is_waited_for_is_named_with_what_holds_it_up() {
    let services = [
        (service("a", &["off", "ghost", "slow"], ""), true),
        (service("off", &[], ""), false),
        (service("slow", &["off"], ""), true),
    ];
    let mut it = world(&[]);
    it.supervisor = Supervisor::new(services);
    it.tell("a", Event::Start);
    it.tell("slow", Event::Start);
    it.run();
    assert_eq!(
        it.reason("a"),
        "waits for off, which is not enabled, ghost, which does not exist, slow"
    );
    let index = it.index("slow");
    assert!(it.supervisor.is_stuck(index));
    it.tell("off", Event::Start);
    it.run();
    assert!(!it.supervisor.is_stuck(index));
    assert_eq!(it.state("slow"), State::Ready);
    assert_eq!(it.reason("a"), "waits for ghost, which does not exist");
}

#[test]
fn a_wait_for_what_waits_for_what_is_down_is_stuck_too() {
    let mut it = world(&[("a", &["b"]), ("b", &["c"]), ("c", &[])]);
    it.tell("a", Event::Start);
    it.tell("b", Event::Start);
    it.run();
    let index = it.index("a");
    assert!(it.supervisor.is_stuck(index));
    it.tell("c", Event::Start);
    assert!(!it.supervisor.is_stuck(index));
}

#[test]
fn services_that_wait_in_a_circle_are_stuck_and_do_no_harm() {
    let mut it = world(&[("a", &["b"]), ("b", &["a"]), ("c", &[])]);
    it.start_all();
    it.run();
    assert_eq!(it.state("c"), State::Ready);
    let index = it.index("a");
    assert!(it.supervisor.is_stuck(index));
    it.supervisor.begin_shutdown(PowerAction::Reboot, it.now);
    it.run();
    assert_eq!(
        it.supervisor.shutdown_complete(it.now),
        Some(PowerAction::Reboot)
    );
}

#[test]
fn dependents_go_on_when_what_they_waited_for_restarts() {
    let mut it = world(&[("a", &[]), ("b", &["a"])]);
    it.start_all();
    it.run();
    it.tell(
        "a",
        Event::Exited {
            exit: Exit::Code(1),
            out_of_memory: false,
        },
    );
    it.run();
    assert_eq!(it.state("a"), State::Backoff);
    assert_eq!(it.state("b"), State::Ready);
    it.now = it.supervisor.next_deadline().unwrap();
    it.run();
    assert_eq!(it.state("a"), State::Ready);
}

#[test]
fn a_shutdown_stops_dependents_first_and_others_at_the_same_time() {
    let mut it = world(&[
        ("base", &[]),
        ("left", &["base"]),
        ("right", &["base"]),
        ("top", &["left"]),
    ]);
    it.start_all();
    it.run();
    it.done.clear();
    it.supervisor.begin_shutdown(PowerAction::Poweroff, it.now);
    assert_eq!(it.supervisor.shutdown_complete(it.now), None);
    it.run();
    let signals: Vec<&str> = it
        .done
        .iter()
        .filter_map(|word| word.strip_prefix("signal "))
        .collect();
    assert_eq!(signals, ["right", "top", "left", "base"]);
    assert_eq!(
        it.supervisor.shutdown_complete(it.now),
        Some(PowerAction::Poweroff)
    );
}

#[test]
fn a_shutdown_starts_nothing_and_ends_pauses() {
    let mut it = world(&[("a", &[]), ("b", &["a"])]);
    it.tell("b", Event::Start);
    it.tell("a", Event::Start);
    it.turn();
    it.tell(
        "a",
        Event::Exited {
            exit: Exit::Code(1),
            out_of_memory: false,
        },
    );
    it.supervisor.begin_shutdown(PowerAction::Reboot, it.now);
    it.tell("b", Event::Start);
    it.run();
    assert_eq!(it.state("a"), State::Stopped);
    assert_eq!(it.state("b"), State::Stopped);
    assert_eq!(
        it.supervisor.shutdown_complete(it.now),
        Some(PowerAction::Reboot)
    );
}

#[test]
fn one_that_does_not_stop_is_killed_and_then_left_behind() {
    let mut it = world(&[]);
    let stubborn = service("stubborn", &[], "stop_timeout = \"1h\"\n");
    it.supervisor = Supervisor::new([(stubborn, true)]);
    it.deaf = vec!["stubborn"];
    it.start_all();
    it.run();
    it.supervisor.begin_shutdown(PowerAction::Reboot, it.now);
    it.run();
    assert_eq!(it.state("stubborn"), State::Stopping);
    assert_eq!(it.supervisor.next_deadline(), Some(55 * SECOND));
    it.now = 55 * SECOND;
    it.run();
    assert!(it.done.contains(&"kill stubborn".to_owned()));
    assert_eq!(it.state("stubborn"), State::Stopped);

    // Not even SIGKILL: the machine goes down all the same.
    let mut it = world(&[("stuck", &[])]);
    it.start_all();
    it.run();
    it.supervisor.begin_shutdown(PowerAction::Poweroff, it.now);
    it.supervisor.settle(it.now);
    assert_eq!(it.supervisor.shutdown_complete(60 * SECOND - 1), None);
    assert_eq!(
        it.supervisor.shutdown_complete(60 * SECOND),
        Some(PowerAction::Poweroff)
    );
}

#[test]
fn a_second_request_changes_the_end_but_not_the_time() {
    let mut it = world(&[("a", &[])]);
    it.start_all();
    it.run();
    it.supervisor.begin_shutdown(PowerAction::Reboot, 0);
    it.supervisor
        .begin_shutdown(PowerAction::Poweroff, 30 * SECOND);
    assert_eq!(
        it.supervisor.shutdown_complete(60 * SECOND),
        Some(PowerAction::Poweroff)
    );
}

#[test]
fn the_record_of_the_boot_is_in_the_order_of_the_starts() {
    let mut it = world(&[("a", &["b"]), ("b", &[]), ("c", &["ghost"])]);
    it.start_all();
    it.turn();
    it.now += SECOND;
    it.run();
    let booted = it.supervisor.booted();
    let names: Vec<&str> = booted.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!(booted[1].ready_us, Some(SECOND));
}

#[test]
fn services_come_and_go_and_the_others_keep_their_numbers() {
    let mut it = world(&[("a", &[]), ("b", &[]), ("c", &["b"])]);
    it.start_all();
    it.run();
    let (b, c) = (it.index("b"), it.index("c"));
    assert!(!it.supervisor.is_at_rest(b));
    it.tell("b", Event::Stop { kill_by: None });
    assert!(!it.supervisor.is_at_rest(b), "it is being stopped");
    it.run();
    assert!(it.supervisor.is_at_rest(b));

    it.supervisor.remove(b);
    assert!(it.supervisor.take_changed());
    assert_eq!(it.supervisor.index_of("b"), None);
    assert_eq!(it.index("c"), c);
    let names = |it: &World| -> Vec<String> {
        let units = it.supervisor.units();
        units.map(|(_, unit)| unit.service.name.clone()).collect()
    };
    assert_eq!(names(&it), ["a", "c"]);
    assert!(it.supervisor.booted().iter().all(|it| it.name != "b"));
    // What waits for it hears that it is gone.
    it.tell("c", Event::Stop { kill_by: None });
    it.run();
    it.tell("c", Event::Start);
    it.run();
    assert_eq!(it.reason("c"), "waits for b, which does not exist");

    // One of its name takes its number; another one gets a new one.
    let new = it.supervisor.add(service("b", &[], ""), true);
    assert_eq!(new, b);
    assert_eq!(it.state("b"), State::Stopped);
    let more = it.supervisor.add(service("d", &["c"], ""), false);
    assert_eq!(more, 3);
    assert_eq!(names(&it), ["a", "b", "c", "d"]);
    it.tell("b", Event::Start);
    it.tell("d", Event::Start);
    it.run();
    assert_eq!(it.state("c"), State::Ready);
    assert_eq!(it.state("d"), State::Ready);

    // A removed one does not hold up the end.
    it.tell("d", Event::Stop { kill_by: None });
    it.run();
    it.supervisor.remove(more);
    it.supervisor.begin_shutdown(PowerAction::Reboot, it.now);
    it.run();
    let done = it.supervisor.shutdown_complete(it.now);
    assert_eq!(done, Some(PowerAction::Reboot));
}

#[test]
fn one_that_waits_or_starts_again_is_not_at_rest() {
    let mut it = world(&[("a", &["b"]), ("b", &[])]);
    let (a, b) = (it.index("a"), it.index("b"));
    it.tell("a", Event::Start);
    assert!(!it.supervisor.is_at_rest(a));
    it.tell("b", Event::Start);
    it.run();
    let exit = Exit::Code(1);
    it.tell(
        "b",
        Event::Exited {
            exit,
            out_of_memory: false,
        },
    );
    it.run();
    assert_eq!(it.state("b"), State::Backoff);
    assert!(!it.supervisor.is_at_rest(b));
    it.tell("b", Event::Stop { kill_by: None });
    it.run();
    assert!(it.supervisor.is_at_rest(b));
}
