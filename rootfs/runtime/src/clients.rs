//! Connections to the API.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
};

use rustix::fs::Mode;

use crate::{
    http::{self, Failure, Request},
    machine::Micros,
    reactor::{Reactor, Token},
    ring::{Cursor, Ring},
};

/// More connections than this wait until one is closed.
const MOST_CLIENTS: usize = 64;
/// How long a request may take to arrive, and an answer to be taken.
const PATIENCE: Micros = 10_000_000;
/// How much of a log is sent at once.
const BLOCK: usize = 16 * 1024;

/// What a client is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A service to be ready.
    Ready(usize),
    /// A service to be down.
    Down(usize),
}

/// A log that is being followed.
struct Reading {
    unit: usize,
    cursor: Cursor,
}

enum Stage {
    /// The request is arriving.
    Request(Vec<u8>),
    /// The request is being fulfilled.
    Waiting(Wish),
    /// A log is being followed.
    Log(Reading),
    /// The answer is being sent; then the connection is closed.
    Answer,
}

struct Client {
    stream: UnixStream,
    stage: Stage,
    /// What is to be sent, and how much of it was.
    output: Vec<u8>,
    sent: usize,
    /// When its patience, or ours, is over.
    deadline: Option<Micros>,
}

/// All connections.
pub(crate) struct Clients {
    listener: UnixListener,
    clients: BTreeMap<u32, Client>,
    next: u32,
    /// Whether connections were left waiting.
    is_full: bool,
}

impl Clients {
    /// Listens on a socket that only root may use.
    pub(crate) fn listen(path: &Path, reactor: &Reactor) -> io::Result<Clients> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let before = rustix::process::umask(Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = listener?;
        listener.set_nonblocking(true)?;
        reactor.add_edge(&listener, Token::Listener, false)?;
        Ok(Clients {
            listener,
            clients: BTreeMap::new(),
            next: 0,
            is_full: false,
        })
    }

    /// Lets in who is waiting.
    pub(crate) fn accept(&mut self, reactor: &Reactor, now: Micros) {
        loop {
            self.is_full = self.clients.len() >= MOST_CLIENTS;
            if self.is_full {
                return;
            }
            let Ok((stream, _)) = self.listener.accept() else {
                return;
            };
            let number = self.next;
            self.next = self.next.wrapping_add(1);
            let ready = stream
                .set_nonblocking(true)
                .and_then(|()| reactor.add_edge(&stream, Token::Client(number), true));
            if ready.is_ok() {
                let client = Client {
                    stream,
                    stage: Stage::Request(Vec::new()),
                    output: Vec::new(),
                    sent: 0,
                    deadline: Some(now + PATIENCE),
                };
                self.clients.insert(number, client);
            }
        }
    }

    /// Goes on with a connection. Returns its request once that is whole.
    pub(crate) fn advance(&mut self, number: u32) -> Option<Request> {
        let client = self.clients.get_mut(&number)?;
        let received = match &mut client.stage {
            Stage::Request(input) => receive(&mut client.stream, input),
            // Nothing more is expected; the end means that nobody listens.
            _ => receive(&mut client.stream, &mut Vec::new()),
        };
        // One that sends no more may still listen, if it has sent a request.
        let has_asked = matches!(&client.stage, Stage::Request(input) if !input.is_empty());
        if received.is_err() && !has_asked {
            self.clients.remove(&number);
            return None;
        }
        let Stage::Request(input) = &client.stage else {
            return None;
        };
        match http::parse(input) {
            Ok(request) => {
                if request.is_some() {
                    client.stage = Stage::Answer;
                }
                request
            }
            Err(failure) => {
                self.answer(number, failure.answer());
                None
            }
        }
    }

    /// Sends an answer and closes the connection after it.
    pub(crate) fn answer(&mut self, number: u32, answer: Vec<u8>) {
        if let Some(client) = self.clients.get_mut(&number) {
            client.output.extend(answer);
            client.stage = Stage::Answer;
        }
    }

    /// Keeps a connection until its wish is fulfilled.
    pub(crate) fn wait(&mut self, number: u32, wish: Wish) {
        if let Some(client) = self.clients.get_mut(&number) {
            client.stage = Stage::Waiting(wish);
            client.deadline = None;
        }
    }

    /// Begins to send a log, for as long as somebody listens.
    pub(crate) fn follow_log(&mut self, number: u32, unit: usize, cursor: Cursor) {
        if let Some(client) = self.clients.get_mut(&number) {
            client.output = http::stream_head();
            client.stage = Stage::Log(Reading { unit, cursor });
        }
    }

    /// Ends the logs of a service that is no more.
    pub(crate) fn end_logs(&mut self, unit: usize) {
        for client in self.clients.values_mut() {
            if matches!(&client.stage, Stage::Log(reading) if reading.unit == unit) {
                client.stage = Stage::Answer;
            }
        }
    }

    /// Answers the wishes that `judge` has an answer to.
    pub(crate) fn fulfil(&mut self, judge: impl Fn(Wish) -> Option<Result<Vec<u8>, Failure>>) {
        for client in self.clients.values_mut() {
            if let Stage::Waiting(wish) = client.stage
                && let Some(answer) = judge(wish)
            {
                client.output = answer.unwrap_or_else(|failure| failure.answer());
                client.stage = Stage::Answer;
            }
        }
    }

    /// Sends what can be sent, closes what is finished or has taken too long.
    /// Returns whether somebody has more to get at once.
    pub(crate) fn pump<'a>(
        &mut self,
        reactor: &Reactor,
        ring: impl Fn(usize) -> Option<&'a Ring>,
        now: Micros,
    ) -> bool {
        let mut more = false;
        self.clients.retain(|_, client| {
            let Ok(progress) = client.send(&ring, now) else {
                return false;
            };
            more |= progress == Sent::More;
            progress != Sent::Finished && client.deadline.is_none_or(|deadline| now < deadline)
        });
        if self.is_full && self.clients.len() < MOST_CLIENTS {
            self.accept(reactor, now);
        }
        more
    }

    /// When somebody's patience is over.
    pub(crate) fn deadline(&self) -> Option<Micros> {
        self.clients.values().filter_map(|it| it.deadline).min()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// Nothing to do until something happens.
    Nothing,
    /// There is more to send, but others have their turn first.
    More,
    /// All of it.
    Finished,
}

impl Client {
    fn send<'a>(
        &mut self,
        ring: &impl Fn(usize) -> Option<&'a Ring>,
        now: Micros,
    ) -> io::Result<Sent> {
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
            self.refill(ring)?;
        }
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(count) => {
                    self.sent += count;
                    self.deadline = Some(now + PATIENCE);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.deadline.get_or_insert(now + PATIENCE);
                    return Ok(Sent::Nothing);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(match &self.stage {
            Stage::Request(_) => Sent::Nothing,
            Stage::Waiting(_) => {
                self.deadline = None;
                Sent::Nothing
            }
            Stage::Log(_) if !self.output.is_empty() => Sent::More,
            Stage::Log(_) => {
                self.deadline = None;
                Sent::Nothing
            }
            Stage::Answer => Sent::Finished,
        })
    }

    fn refill<'a>(&mut self, ring: &impl Fn(usize) -> Option<&'a Ring>) -> io::Result<()> {
        if let Stage::Log(reading) = &mut self.stage
            && let Some(ring) = ring(reading.unit)
        {
            self.output.resize(BLOCK, 0);
            let count = ring.read(&mut reading.cursor, &mut self.output)?;
            self.output.truncate(count);
        }
        Ok(())
    }
}

/// Reads what has arrived; an error when the other side is gone.
fn receive(stream: &mut UnixStream, input: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    // More than a whole request is not kept: the parser has seen enough by then.
    while input.len() <= 2 * http::LONGEST_HEAD {
        match stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => input.extend(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
