//! Answering the API.

use std::fs;

use rubus_config::boot::Step;
use rubus_service::status::{Boot, State, Status};

use crate::{
    api::{Call, route},
    cgroup::Cgroup,
    clients::Wish,
    daemon::Daemon,
    http::{self, Failure, Request},
    machine::{Event, Micros},
    own,
};

impl Daemon {
    /// Does what a request asks for, and answers or keeps the client waiting.
    pub(crate) fn serve(&mut self, client: u32, request: &Request, now: Micros) {
        let answer = route(request).and_then(|call| self.call(client, call, now));
        match answer {
            Ok(Some(answer)) => self.clients.answer(client, answer),
            Ok(None) => {}
            Err(failure) => self.clients.answer(client, failure.answer()),
        }
    }

    /// `Ok(None)`: the answer comes later.
    fn call(&mut self, client: u32, call: Call, now: Micros) -> Result<Option<Vec<u8>>, Failure> {
        match call {
            Call::List => {
                let all = self.supervisor.units();
                let mut all: Vec<Status> = all.map(|(index, _)| self.status(index)).collect();
                // Those that were added just now have the last numbers.
                all.sort_by(|a, b| a.name.cmp(&b.name));
                return Ok(Some(http::json(200, &all)));
            }
            Call::Show(name) => {
                let unit = self.find(&name)?;
                return Ok(Some(http::json(200, &self.status(unit))));
            }
            Call::Start(name) => {
                let unit = self.find_for_start(&name)?;
                self.check_not_switching(unit)?;
                self.supervisor.dispatch(unit, Event::Start, now);
                self.clients.wait(client, Wish::Ready(unit));
            }
            Call::Restart(name) => {
                let unit = self.find_for_start(&name)?;
                self.check_not_switching(unit)?;
                self.supervisor.dispatch(unit, Event::Restart, now);
                self.clients.wait(client, Wish::Ready(unit));
            }
            Call::Reload(name) => {
                let unit = self.find_for_start(&name)?;
                self.check_not_switching(unit)?;
                if !self.reload(unit, now) {
                    return Ok(Some(http::json(200, &self.status(unit))));
                }
                self.clients.wait(client, Wish::Ready(unit));
            }
            Call::Stop(name) => {
                let unit = self.find(&name)?;
                self.check_not_switching(unit)?;
                self.supervisor
                    .dispatch(unit, Event::Stop { kill_by: None }, now);
                self.clients.wait(client, Wish::Down(unit));
            }
            Call::Logs {
                service,
                tail,
                follow,
            } => {
                let unit = self.find(&service)?;
                let failed = |why: String| {
                    Failure::new(500, format!("cannot read the log of {service}: {why}"))
                };
                let log = self
                    .log(unit)
                    .ok_or_else(|| failed("it could not be made".into()))?;
                let cursor = match tail {
                    Some(count) => log
                        .ring
                        .tail(count)
                        .map_err(|error| failed(error.to_string()))?,
                    None => log.ring.start(),
                };
                if follow {
                    self.clients.follow_log(client, unit, cursor);
                } else {
                    // All at once: the ring may turn before it is sent.
                    let lines = log.ring.read_all(cursor);
                    let mut answer = http::stream_head();
                    answer.extend(lines.map_err(|error| failed(error.to_string()))?);
                    return Ok(Some(answer));
                }
            }
            Call::Definition(name) => {
                let unit = self.find(&name)?;
                let service = &self.supervisor.unit(unit).service;
                return Ok(Some(http::json(200, service)));
            }
            Call::Add(name) => {
                let unit = self.add_service(&name, now)?;
                return Ok(Some(http::json(200, &self.status(unit))));
            }
            Call::Remove(name) => {
                let aside = self.remove_service(&name)?;
                return Ok(Some(http::json(
                    200,
                    &serde_json::json!({ "aside": aside }),
                )));
            }
            Call::ReadSettings => {
                self.read_settings(now);
                let answer = serde_json::json!({ "trial_ends_us": self.trial.ends() });
                return Ok(Some(http::json(200, &answer)));
            }
            Call::Variants(name) => {
                let unit = self.find(&name)?;
                return Ok(Some(http::json(200, &self.variants(unit))));
            }
            Call::Switch { service, variant } => {
                let unit = self.find_for_start(&service)?;
                self.begin_switch(unit, &variant)?;
                return Ok(Some(http::json(202, &self.variants(unit))));
            }
            Call::Enable { service, variant } => {
                let unit = self.find(&service)?;
                self.enable_variant(unit, &variant)?;
                return Ok(Some(http::json(200, &self.variants(unit))));
            }
            Call::RemoveVariant { service, variant } => {
                let unit = self.find(&service)?;
                let aside = self.remove_variant(unit, &variant)?;
                return Ok(Some(http::json(
                    200,
                    &serde_json::json!({ "aside": aside }),
                )));
            }
            Call::Boot => {
                let boot = Boot {
                    steps: self.boot_steps(),
                    runtime_us: self.first_start,
                    services: self.supervisor.booted(),
                };
                return Ok(Some(http::json(200, &boot)));
            }
            Call::Power(action) => {
                self.supervisor.begin_shutdown(action, now);
                return Ok(Some(http::json(
                    202,
                    &serde_json::json!({ "action": action }),
                )));
            }
        }
        Ok(None)
    }

    pub(crate) fn find(&self, name: &str) -> Result<usize, Failure> {
        self.supervisor
            .index_of(name)
            .ok_or_else(|| Failure::new(404, format!("there is no service {name}")))
    }

    fn find_for_start(&self, name: &str) -> Result<usize, Failure> {
        if self.supervisor.shutdown().is_some() {
            return Err(Failure::new(409, "the machine is going down"));
        }
        self.find(name)
    }

    fn status(&self, unit: usize) -> Status {
        let mut status = self.supervisor.status(unit);
        status.added = self.is_added(unit);
        status.notice.clone_from(&self.switches[unit].notice);
        if status.notice.is_empty() && self.is_shadowing(&status.name) {
            status.notice = own::shadowed(&status.name);
        }
        if status.pid.is_some() {
            status.memory = Cgroup::of(&self.options.cgroup, &status.name).memory();
        }
        status
    }

    /// What `init` wrote down; a line that it is just writing is left out.
    fn boot_steps(&self) -> Vec<Step> {
        let text = fs::read_to_string(self.options.boot_record()).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Answers the clients whose service has got where they want it, or will
    /// not get there.
    pub(crate) fn answer_wishes(&mut self) {
        let supervisor = &self.supervisor;
        let going_down = supervisor.shutdown().is_some();
        self.clients.fulfil(|wish| {
            let (Wish::Ready(unit) | Wish::Down(unit)) = wish;
            let status = supervisor.status(unit);
            let refused = || {
                let Status { name, reason, .. } = &status;
                let word = status.state.word();
                let why = if reason.is_empty() { word } else { reason };
                Some(Err(Failure::new(409, format!("{name}: {why}"))))
            };
            match (wish, status.state) {
                (Wish::Ready(_), State::Ready | State::Done) | (Wish::Down(_), State::Stopped) => {
                    Some(Ok(http::json(200, &status)))
                }
                (Wish::Ready(_), State::Backoff | State::Failed | State::Unhealthy) => refused(),
                (Wish::Ready(_), State::Stopped) => refused(),
                (Wish::Ready(_), State::Waiting) if supervisor.is_stuck(unit) => refused(),
                (Wish::Ready(_), _) if going_down => refused(),
                _ => None,
            }
        });
    }
}
