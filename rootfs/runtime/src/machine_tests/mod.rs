//! A specification of the life of a service, in simulated time.

mod ends;
mod health;
mod starts;
mod stops;
mod takeover;

use rubus_service::status::State;

use super::*;
use crate::rules::{HealthRules, LONGEST_SOCKET_PAUSE};

const MS: Micros = 1_000;
const MAIN: Process = Process { pid: 7, start: 70 };

/// A service under test and the clock it lives by.
struct Life {
    rules: Rules,
    machine: Machine,
    now: Micros,
}

fn life(restart: Restart) -> Life {
    Life {
        rules: Rules {
            oneshot: false,
            restart,
            stop_timeout: 10 * SECOND,
            post_start: false,
            health: None,
            memory: None,
        },
        machine: Machine::new(),
        now: 0,
    }
}

fn oneshot(restart: Restart) -> Life {
    let mut it = life(restart);
    it.rules.oneshot = true;
    it
}

fn checked(restart: Restart) -> Life {
    let mut it = life(restart);
    it.rules.health = Some(HealthRules {
        interval: 10 * SECOND,
        retries: 3,
        longest_pause: LONGEST_SOCKET_PAUSE,
    });
    it
}

impl Life {
    fn on(&mut self, event: Event) -> Vec<Action> {
        self.machine.handle(&self.rules, event, self.now)
    }

    fn after(&mut self, micros: Micros) -> &mut Life {
        self.now += micros;
        self
    }

    fn state(&self) -> State {
        self.machine.state()
    }

    /// From wanted to its container running.
    fn up(&mut self) -> Vec<Action> {
        self.on(Event::Start);
        self.launch()
    }

    fn launch(&mut self) -> Vec<Action> {
        assert_eq!(self.state(), State::Waiting);
        assert_eq!(self.on(Event::Proceed), [Action::Launch]);
        assert_eq!(self.state(), State::Starting);
        self.on(Event::Started(MAIN))
    }

    fn exits(&mut self, exit: Exit) {
        let event = Event::Exited {
            exit,
            out_of_memory: false,
        };
        assert_eq!(self.on(event), [Action::Clean]);
        assert!(self.machine.remains);
        assert_eq!(self.machine.main, None);
    }

    fn fails(&mut self) {
        self.exits(Exit::Code(1));
        self.on(Event::Cleaned);
    }

    /// Lets the pause pass; how long it was, in seconds.
    fn sit_out_backoff(&mut self) -> Micros {
        let Phase::Backoff { until } = self.machine.phase else {
            panic!("{:?}", self.machine);
        };
        let pause = until - self.now;
        self.now = until - 1;
        self.on(Event::Tick);
        assert_eq!(self.state(), State::Backoff);
        self.now = until;
        self.on(Event::Tick);
        pause / SECOND
    }

    fn stop(&mut self) -> Vec<Action> {
        self.on(Event::Stop { kill_by: None })
    }

    fn good_probe(&mut self) {
        assert_eq!(self.on(Event::Probed(Ok(()))), []);
    }

    fn bad_probe(&mut self) -> Vec<Action> {
        self.on(Event::Probed(Err("refuses connections".to_owned())))
    }

    /// Goes to the time of the next probe.
    fn next_probe(&mut self) -> Micros {
        let at = self.machine.deadline().expect("a probe is due");
        let pause = at - self.now;
        self.now = at;
        assert_eq!(self.on(Event::Tick), [Action::Probe]);
        pause
    }
}
