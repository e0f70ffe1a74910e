//! Waiting for many things at once.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    io::Errno,
};

use crate::machine::Micros;

/// What a thing that is waited for stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A signal came.
    Signal,
    /// Somebody connects to the API.
    Listener,
    /// Output of a service: its number and that of the stream.
    Log { unit: u32, stream: u32 },
    /// A connection to the API.
    Client(u32),
    /// The end of a process that is not a child.
    Watch(u32),
    /// The socket of a service's health check.
    Probe(u32),
}

impl Token {
    fn to_u64(self) -> u64 {
        let (kind, high, low) = match self {
            Token::Signal => (0, 0, 0),
            Token::Listener => (1, 0, 0),
            Token::Log { unit, stream } => (2, stream, unit),
            Token::Client(number) => (3, 0, number),
            Token::Watch(number) => (4, 0, number),
            Token::Probe(unit) => (5, 0, unit),
        };
        kind << 56 | u64::from(high) << 32 | u64::from(low)
    }

    fn from_u64(value: u64) -> Option<Token> {
        // The lower half; the cast cuts on purpose.
        let low = (value & 0xffff_ffff) as u32;
        let high = (value >> 32 & 0xff_ffff) as u32;
        Some(match value >> 56 {
            0 => Token::Signal,
            1 => Token::Listener,
            2 => Token::Log {
                unit: low,
                stream: high,
            },
            3 => Token::Client(low),
            4 => Token::Watch(low),
            5 => Token::Probe(low),
            _ => return None,
        })
    }
}

/// An epoll instance.
pub(crate) struct Reactor {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Reactor {
    pub(crate) fn new() -> io::Result<Reactor> {
        Ok(Reactor {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(64),
        })
    }

    /// Listens for as long as there is something to read.
    pub(crate) fn add(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        self.register(fd, token, EventFlags::IN)
    }

    /// Listens for every time that something arrives or can be sent.
    pub(crate) fn add_edge(&self, fd: impl AsFd, token: Token, send: bool) -> io::Result<()> {
        let mut flags = EventFlags::IN | EventFlags::ET;
        if send {
            flags |= EventFlags::OUT;
        }
        self.register(fd, token, flags)
    }

    fn register(&self, fd: impl AsFd, token: Token, flags: EventFlags) -> io::Result<()> {
        let data = EventData::new_u64(token.to_u64());
        Ok(epoll::add(&self.epoll, fd, data, flags)?)
    }

    /// Waits until something happens or time is over; never when `timeout` is
    /// `None`.
    pub(crate) fn wait(&mut self, timeout: Option<Micros>) -> io::Result<Vec<Token>> {
        let timeout = timeout.map(|micros| Timespec {
            tv_sec: i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(micros % 1_000_000 * 1_000).unwrap_or(0),
        });
        self.events.clear();
        let buffer = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, buffer, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let tokens = self.events.iter();
        Ok(tokens
            .filter_map(|it| Token::from_u64(it.data.u64()))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        for token in [
            Token::Signal,
            Token::Listener,
            Token::Log { unit: 7, stream: 1 },
            Token::Client(u32::MAX),
            Token::Watch(3),
            Token::Probe(0),
        ] {
            assert_eq!(Token::from_u64(token.to_u64()), Some(token));
        }
    }
}
