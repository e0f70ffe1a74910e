//! Whether people can log in after a switch to another console.

use std::{
    io::{self, Read},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread::sleep,
    time::{Duration, Instant},
};

/// How long sshd may take: its host keys may have to be made first.
const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(500);
/// How long one answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(20);
/// What every ssh server says first.
const GREETING: &[u8] = b"SSH-";

/// Waits until sshd answers on its port.
pub(crate) fn run(port: u16) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    loop {
        let Err(error) = ask(port) else {
            return Ok(());
        };
        if Instant::now() >= end {
            return Err(format!("nobody can log in: ssh port {port}: {error}"));
        }
        sleep(PAUSE);
    }
}

fn ask(port: u16) -> io::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIME)?;
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    let mut start = [0; GREETING.len()];
    stream.read_exact(&mut start)?;
    if start == *GREETING {
        Ok(())
    } else {
        Err(io::Error::other("this is not sshd"))
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, net::TcpListener, thread};

    use super::*;

    fn answer(text: &'static [u8]) -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || listener.accept().unwrap().0.write_all(text));
        let asked = ask(port);
        server.join().unwrap().unwrap();
        asked
    }

    #[test]
    fn only_sshd_lets_people_in() {
        assert!(answer(b"SSH-2.0-OpenSSH_10.0\r\n").is_ok());
        assert!(answer(b"HTTP/1.1 400 Bad Request\r\n").is_err());
        assert!(answer(b"SS").is_err());
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        assert!(ask(port).is_err());
    }
}
