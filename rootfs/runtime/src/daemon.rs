//! The runtime at work: one thread and one loop. What happened goes to the
//! [`Supervisor`], what it decides is done here; nothing in the loop waits for
//! anything but all things at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rubus_config::power::PowerAction;
use rubus_service::{Probe, definition::Kill, status::Exit};
use rustix::process::{WaitOptions, wait};

use crate::{
    bundle,
    cgroup::Cgroup,
    clients::Clients,
    clock,
    jobs::{Job, Jobs, Role},
    keep::{self, Keeper},
    logs::{Log, STREAMS, Scratch},
    machine::{Action, Event, Micros, Process},
    options::Options,
    probe::{Progress, SocketProbe},
    process,
    reactor::{Reactor, Token},
    report::{Announcer, report},
    saved::Saved,
    supervisor::Supervisor,
    switch::{self, Switch},
    tidy::tidy,
    trial::TrialClock,
};

/// The runtime.
pub(crate) struct Daemon {
    pub(crate) options: Options,
    pub(crate) reactor: Reactor,
    pub(crate) supervisor: Supervisor,
    /// Which variant each service is, by its number.
    pub(crate) switches: Vec<Switch>,
    /// The bundle of that.
    pub(crate) bundles: Vec<PathBuf>,
    /// What follows from what happened around switches, and is to be done.
    pub(crate) switch_effects: Vec<(usize, switch::Effect)>,
    /// By the number of the service; `None` where it could not be made.
    pub(crate) logs: Vec<Option<Log>>,
    scratch: Scratch,
    pub(crate) keeper: Keeper,
    /// Streams that have more to read at once.
    eager: BTreeSet<(usize, usize)>,
    pub(crate) jobs: Jobs,
    /// First processes of services that are children of ours.
    mains: BTreeMap<i32, usize>,
    /// Children that ended before anybody knew what they were.
    strays: BTreeMap<i32, Exit>,
    probes: BTreeMap<usize, (SocketProbe, Micros)>,
    pub(crate) watches: BTreeMap<u32, Watch>,
    next_watch: u32,
    pub(crate) clients: Clients,
    pub(crate) trial: TrialClock,
    signals: UnixStream,
    terminated: Arc<AtomicBool>,
    /// When the first runtime since the boot started.
    pub(crate) first_start: Micros,
    announcer: Announcer,
}

/// A process that is not a child of ours: it was there before us.
pub(crate) struct Watch {
    pub(crate) unit: usize,
    pub(crate) role: WatchRole,
    pub(crate) pid: i32,
    /// Becomes readable at its end.
    _handle: OwnedFd,
    /// It has ended; how, is asked again until then.
    pub(crate) ended: Option<Micros>,
}

/// What a watched process is to its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchRole {
    Main,
    Launch,
    PostStart,
}

impl Daemon {
    /// Gets everything ready; nothing starts yet.
    pub(crate) fn new(options: Options) -> io::Result<Daemon> {
        let logs = options.logs();
        for folder in [&options.run, &logs, &options.pids(), &options.oci_state()] {
            fs::create_dir_all(folder)?;
        }
        // The FIFOs in there may be written by anybody who gets that far.
        rustix::fs::chmod(&logs, rustix::fs::Mode::from_raw_mode(0o700))?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let reactor = Reactor::new()?;
        let (signals, terminated) = catch_signals()?;
        reactor.add(&signals, Token::Signal)?;
        let found = bundle::load(&options);
        let bundles = found.iter().map(|it| it.bundle.clone()).collect();
        let services = found.into_iter().map(|it| (it.service, it.enabled));
        let supervisor = Supervisor::new(services);
        let keeper = Keeper::new(&options);
        if bundle::settings(&options).is_some_and(|it| it.logging.persist) {
            keeper.restore_all(&options.logs(), &supervisor);
        }
        let logs = supervisor
            .units()
            .map(|(index, unit)| open_log(&options, &reactor, index, &unit.service.name))
            .collect();
        Ok(Daemon {
            clients: Clients::listen(&options.socket(), &reactor)?,
            reactor,
            switches: Vec::new(),
            bundles,
            switch_effects: Vec::new(),
            supervisor,
            logs,
            scratch: Scratch::new()?,
            keeper,
            eager: BTreeSet::new(),
            jobs: Jobs::default(),
            mains: BTreeMap::new(),
            strays: BTreeMap::new(),
            probes: BTreeMap::new(),
            watches: BTreeMap::new(),
            next_watch: 0,
            trial: TrialClock::default(),
            signals,
            terminated,
            first_start: clock::now(),
            announcer: Announcer::new(clock::now()),
            options,
        })
    }

    /// Runs until the machine is to go down (which way), or until it is told
    /// to end (`None`: services go on).
    pub(crate) fn run(&mut self) -> io::Result<Option<PowerAction>> {
        self.take_over(clock::now());
        self.read_settings(clock::now());
        tidy(&self.options);
        loop {
            let more = self.settle(clock::now());
            if self.terminated.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let now = clock::now();
            if let Some(action) = self.supervisor.shutdown_complete(now) {
                self.keeper.keep(keep::rings(&self.supervisor, &self.logs));
                return Ok(Some(action));
            }
            let timeout = if more {
                Some(0)
            } else {
                self.deadline(now).map(|at| at.saturating_sub(now))
            };
            let tokens = self.reactor.wait(timeout)?;
            let now = clock::now();
            for token in tokens {
                self.on_token(token, now);
            }
            self.on_time(now);
        }
    }

    /// Does all that follows from what happened. Returns whether there is more
    /// to do at once.
    fn settle(&mut self, now: Micros) -> bool {
        for (unit, stream) in std::mem::take(&mut self.eager) {
            self.drain(unit, stream, now);
        }
        loop {
            let effects = self.supervisor.settle(now);
            self.look_at_switches(now);
            let switch_effects = std::mem::take(&mut self.switch_effects);
            // Written before it is done: a runtime that is killed in between
            // leaves one that looks for what may have been done.
            if self.supervisor.take_changed() {
                let saved = Saved::of(&self.supervisor, &self.switches, self.first_start);
                let path = self.options.saved_state();
                if let Err(error) = saved.write(&path) {
                    report(format_args!("cannot write {}: {error}", path.display()));
                }
                self.announcer.announce(&self.supervisor);
            }
            self.forget_trial();
            if effects.is_empty() && switch_effects.is_empty() {
                break;
            }
            for (unit, action) in effects {
                self.execute(unit, action, now);
            }
            for (unit, effect) in switch_effects {
                self.carry_out(unit, effect, now);
            }
        }
        self.answer_wishes();
        let logs = &self.logs;
        let ring = |unit: usize| logs.get(unit)?.as_ref().map(|log| &log.ring);
        let more = self.clients.pump(&self.reactor, ring, now);
        more || !self.eager.is_empty()
    }

    fn deadline(&self, now: Micros) -> Option<Micros> {
        let logs = self.logs.iter().flatten().filter_map(Log::deadline);
        let probes = self.probes.values().map(|(_, deadline)| *deadline);
        let watches = self.watches.values().filter_map(|it| it.next_look(now));
        logs.chain(probes)
            .chain(watches)
            .chain(self.supervisor.next_deadline())
            .chain(self.jobs.deadline())
            .chain(self.trial.deadline())
            .chain(self.keeper.deadline())
            .chain(self.clients.deadline())
            .chain(self.switches.iter().filter_map(Switch::deadline))
            .min()
    }

    fn on_token(&mut self, token: Token, now: Micros) {
        match token {
            Token::Signal => self.reap(now),
            Token::Listener => self.clients.accept(&self.reactor, now),
            Token::Log { unit, stream } => {
                self.eager.insert((unit as usize, stream as usize));
            }
            Token::Client(number) => {
                if let Some(request) = self.clients.advance(number) {
                    self.serve(number, &request, now);
                }
            }
            Token::Watch(number) => self.on_watch(number, now),
            Token::Probe(unit) => self.advance_probe(unit as usize, now),
        }
    }

    /// What the clock says is due, besides what the supervisor knows of.
    fn on_time(&mut self, now: Micros) {
        let supervisor = &self.supervisor;
        let name_of = |unit: usize| supervisor.unit(unit).service.name.clone();
        self.jobs.kill_overdue(&self.options, name_of, now);
        let overdue: Vec<usize> = self
            .probes
            .iter()
            .filter(|(_, (_, deadline))| now >= *deadline)
            .map(|(&unit, _)| unit)
            .collect();
        for unit in overdue {
            self.probes.remove(&unit);
            let why = Err(self.no_answer(unit));
            self.supervisor.dispatch(unit, Event::Probed(why), now);
        }
        for unit in 0..self.logs.len() {
            let due = self.logs[unit].as_ref().and_then(Log::deadline);
            if due.is_some_and(|at| now >= at) {
                self.eager
                    .extend((0..STREAMS.len()).map(|stream| (unit, stream)));
            }
        }
        self.look_again(now);
        self.end_trial(now);
        let rings = keep::rings(&self.supervisor, &self.logs);
        self.keeper.keep_when_due(rings, now);
    }

    fn drain(&mut self, unit: usize, stream: usize, now: Micros) {
        let Some(log) = self.logs.get_mut(unit).and_then(Option::as_mut) else {
            return;
        };
        let name = &self.supervisor.unit(unit).service.name;
        let was_well = log.failure().is_none();
        match log.drain(&mut self.scratch, stream, false, now) {
            Ok(true) => {
                self.eager.insert((unit, stream));
            }
            Ok(false) => {}
            Err(error) => report(format_args!("cannot read the log of {name}: {error}")),
        }
        if let (true, Some(why)) = (was_well, log.failure()) {
            report(format_args!("lines of the log of {name} are lost: {why}"));
        }
    }

    fn drain_to_end(&mut self, unit: usize, now: Micros) {
        if let Some(log) = self.logs.get_mut(unit).and_then(Option::as_mut) {
            // Told about when it is drained in its turn.
            let _ = log.drain_to_end(&mut self.scratch, now);
        }
    }

    fn execute(&mut self, unit: usize, action: Action, now: Micros) {
        match action {
            Action::Launch => self.launch(unit, now),
            Action::PostStart => self.post_start(unit, now),
            Action::Probe => self.probe(unit, now),
            Action::Signal => {
                self.cancel_commands(unit);
                let unit = self.supervisor.unit(unit);
                if let Some(main) = unit.machine.main {
                    process::signal(main, unit.service.stop_signal_number());
                }
            }
            Action::Kill => {
                let unit = self.supervisor.unit(unit);
                if let Some(main) = unit.machine.main {
                    process::signal(main, rustix::process::Signal::KILL.as_raw());
                }
                if unit.service.kill == Kill::All {
                    Cgroup::of(&self.options.cgroup, &unit.service.name).kill();
                }
            }
            Action::Clean => self.clean(unit, now),
        }
    }

    fn launch(&mut self, unit: usize, now: Micros) {
        let service = &self.supervisor.unit(unit).service;
        let bundle = &self.bundles[unit];
        let launched = bundle::prepare(&self.options, bundle, service).and_then(|()| {
            self.jobs
                .launch(&self.options, unit, bundle, service, now)
                .map_err(|error| {
                    format!("cannot run {}: {error}", self.options.oci_runtime.display())
                })
        });
        if let Err(why) = launched {
            self.start_failed(unit, why, now);
        }
    }

    pub(crate) fn post_start(&mut self, unit: usize, now: Micros) {
        let service = &self.supervisor.unit(unit).service;
        if let Err(error) = self.jobs.post_start(&self.options, unit, service) {
            let name = &service.name;
            report(format_args!("cannot run post_start of {name}: {error}"));
            self.supervisor
                .dispatch(unit, Event::PostStartEnded(Exit::Unknown), now);
        }
    }

    fn clean(&mut self, unit: usize, now: Micros) {
        self.cancel_commands(unit);
        let service = &self.supervisor.unit(unit).service;
        let cgroup = Cgroup::of(&self.options.cgroup, &service.name);
        match service.kill {
            Kill::All => cgroup.kill(),
            Kill::Main => match cgroup.set_free() {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    report(format_args!(
                        "{}: cannot set its processes free: {error}",
                        service.name
                    ));
                }
                _ => {}
            },
        }
        if let Err(error) = self.jobs.clean(&self.options, unit, service, now) {
            report(format_args!(
                "cannot remove the container of {}: {error}",
                service.name
            ));
            self.supervisor.dispatch(unit, Event::Cleaned, now);
        }
    }

    fn probe(&mut self, unit: usize, now: Micros) {
        let service = &self.supervisor.unit(unit).service;
        let Some(health) = &service.health else {
            return;
        };
        let deadline = now + Micros::try_from(health.timeout.0.as_micros()).unwrap_or(0);
        if let Probe::Exec(_) = health.probe {
            if let Err(error) = self.jobs.probe(&self.options, unit, service, deadline) {
                let why = Err(format!("cannot be run: {error}"));
                self.supervisor.dispatch(unit, Event::Probed(why), now);
            }
            return;
        }
        let started = SocketProbe::start(&health.probe).and_then(|probe| {
            let token = Token::Probe(unit as u32);
            let added = self.reactor.add_edge(probe.socket(), token, true);
            added.map(|()| probe).map_err(|error| error.to_string())
        });
        match started {
            Ok(probe) => {
                self.probes.insert(unit, (probe, deadline));
            }
            Err(why) => self.supervisor.dispatch(unit, Event::Probed(Err(why)), now),
        }
    }

    fn advance_probe(&mut self, unit: usize, now: Micros) {
        let Some((probe, _)) = self.probes.get_mut(&unit) else {
            return;
        };
        if let Progress::Over(result) = probe.advance() {
            self.probes.remove(&unit);
            self.supervisor.dispatch(unit, Event::Probed(result), now);
        }
    }

    fn cancel_commands(&mut self, unit: usize) {
        self.probes.remove(&unit);
        let name = &self.supervisor.unit(unit).service.name;
        self.jobs.cancel_commands(&self.options, unit, name);
    }

    fn no_answer(&self, unit: usize) -> String {
        let health = self.supervisor.unit(unit).service.health.as_ref();
        health.map_or_else(String::new, |it| format!("no answer within {}", it.timeout))
    }

    /// Takes in the ends of all children, ours and those that services left
    /// behind.
    fn reap(&mut self, now: Micros) {
        let mut buffer = [0; 64];
        while matches!(io::Read::read(&mut self.signals, &mut buffer), Ok(count) if count > 0) {}
        let mut finished = Vec::new();
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let (pid, exit) = (pid.as_raw_nonzero().get(), Exit::from_raw(status.as_raw()));
            match (self.jobs.take(pid), self.mains.remove(&pid)) {
                (Some(job), _) => finished.push((job, exit)),
                (None, Some(unit)) => self.main_ended(unit, exit, now),
                (None, None) if self.trial.ended(pid, now) => self.read_settings(now),
                (None, None) => {
                    self.strays.insert(pid, exit);
                }
            }
        }
        for (job, exit) in finished {
            self.job_ended(job, exit, now);
        }
        if !self.jobs.is_launching() {
            self.strays.clear();
        }
    }

    fn job_ended(&mut self, mut job: Job, exit: Exit, now: Micros) {
        let unit = job.unit;
        match job.role {
            Role::Launch if exit.is_success() => self.launched(unit, now),
            Role::Launch => {
                self.drain_to_end(unit, now);
                let last = self.logs[unit].as_ref().map_or("", Log::last_error);
                let why = match (job.overdue, last) {
                    (true, _) => "the OCI runtime took too long".to_owned(),
                    (false, "") => format!("the OCI runtime {exit}"),
                    (false, last) => last.to_owned(),
                };
                self.start_failed(unit, why, now);
            }
            Role::PostStart => {
                self.supervisor
                    .dispatch(unit, Event::PostStartEnded(exit), now);
            }
            Role::Probe => {
                let result = match exit {
                    Exit::Code(0) => Ok(()),
                    _ if job.overdue => Err(self.no_answer(unit)),
                    _ => Err(job.last_words().unwrap_or_else(|| exit.to_string())),
                };
                self.supervisor.dispatch(unit, Event::Probed(result), now);
            }
            Role::Drain | Role::Gate => self.switch_command_ended(&mut job, exit),
            Role::Clean => {
                bundle::clear(&self.options, &self.supervisor.unit(unit).service);
                self.supervisor.dispatch(unit, Event::Cleaned, now);
            }
        }
    }

    /// A container could not be started. This has to be seen where nobody can
    /// log in because of it.
    pub(crate) fn start_failed(&mut self, unit: usize, why: String, now: Micros) {
        let name = &self.supervisor.unit(unit).service.name;
        report(format_args!("{name} cannot be started: {why}"));
        self.supervisor.dispatch(unit, Event::StartFailed(why), now);
    }

    /// The OCI runtime says that a container runs.
    fn launched(&mut self, unit: usize, now: Micros) {
        let pid_file = self
            .options
            .pid_file(&self.supervisor.unit(unit).service.name);
        let Some(pid) = process::read_pid_file(&pid_file) else {
            let why = format!("the OCI runtime wrote no number to {}", pid_file.display());
            self.start_failed(unit, why, now);
            return;
        };
        // One that has ended already is nobody's any more; its number is only
        // used to tell its end.
        let main = process::identify(pid).unwrap_or(Process { pid, start: 0 });
        self.supervisor.dispatch(unit, Event::Started(main), now);
        match self.strays.remove(&pid) {
            Some(exit) => self.main_ended(unit, exit, now),
            None => {
                self.mains.insert(pid, unit);
            }
        }
    }

    pub(crate) fn main_ended(&mut self, unit: usize, exit: Exit, now: Micros) {
        self.drain_to_end(unit, now);
        let name = self.supervisor.unit(unit).service.name.clone();
        let out_of_memory = Cgroup::of(&self.options.cgroup, &name).was_out_of_memory();
        let event = Event::Exited {
            exit,
            out_of_memory,
        };
        self.supervisor.dispatch(unit, event, now);
        let reason = &self.supervisor.unit(unit).machine.reason;
        if !exit.is_success() && !reason.is_empty() {
            report(format_args!("{name}: {reason}"));
            if let Some(log) = self.logs.get_mut(unit).and_then(Option::as_mut) {
                // Memory is full: lines of the service are lost as well, which
                // is told about.
                let _ = log.note(reason);
            }
        }
    }

    /// Watches a process that was there before us. `false`: it has ended.
    pub(crate) fn watch(&mut self, unit: usize, role: WatchRole, pid: i32) -> bool {
        let Some(handle) = process::watch(pid) else {
            return false;
        };
        let number = self.next_watch;
        self.next_watch += 1;
        let token = Token::Watch(number);
        if self.reactor.add_edge(&handle, token, false).is_err() {
            return false;
        }
        let watch = Watch {
            unit,
            role,
            pid,
            _handle: handle,
            ended: None,
        };
        self.watches.insert(number, watch);
        true
    }

    pub(crate) fn log(&self, unit: usize) -> Option<&Log> {
        self.logs.get(unit)?.as_ref()
    }
}

fn catch_signals() -> io::Result<(UnixStream, Arc<AtomicBool>)> {
    use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    writer.set_nonblocking(true)?;
    let terminated = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&terminated))?;
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    signal_hook::low_level::pipe::register(SIGCHLD, writer)?;
    Ok((reader, terminated))
}

/// Opens the log of a service and listens to it.
pub(crate) fn open_log(
    options: &Options,
    reactor: &Reactor,
    unit: usize,
    name: &str,
) -> Option<Log> {
    let open = || -> io::Result<Log> {
        let log = Log::open(&options.logs(), name)?;
        for (stream, reader) in log.readers().into_iter().enumerate() {
            let token = Token::Log {
                unit: unit as u32,
                stream: stream as u32,
            };
            reactor.add_edge(reader, token, false)?;
        }
        Ok(log)
    };
    open()
        .inspect_err(|error| report(format_args!("cannot open the log of {name}: {error}")))
        .ok()
}
