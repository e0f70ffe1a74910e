//! Sending messages: a datagram each (RFC 5426), or one after the other with
//! their lengths (RFC 6587).

use std::{
    fmt,
    io::{self, Write},
    net::{Ipv6Addr, TcpStream, ToSocketAddrs, UdpSocket},
    time::Duration,
};

/// What every receiver of datagrams should take.
const LONGEST_DATAGRAM: usize = 2048;
/// How long a connection, or a message, may take.
const PATIENCE: Duration = Duration::from_secs(10);
const PORT: u16 = 514;

/// A server, as in `udp://10.0.0.1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    tcp: bool,
    host: String,
    port: u16,
}

impl Server {
    /// Reads what the settings have checked.
    pub(crate) fn parse(text: &str) -> Option<Server> {
        let (protocol, rest) = text.split_once("://")?;
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => match rest.find(':') {
                Some(end) => rest.split_at(end),
                None => (rest, ""),
            },
        };
        Some(Server {
            tcp: protocol == "tcp",
            host: host.to_owned(),
            port: match port.strip_prefix(':') {
                Some(port) => port.parse().ok()?,
                None => PORT,
            },
        })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = if self.tcp { "TCP" } else { "UDP" };
        write!(f, "{} port {} ({protocol})", self.host, self.port)
    }
}

/// Sends messages to a server; connects when that is needed.
pub(crate) struct Sender {
    server: Server,
    connection: Option<Connection>,
}

enum Connection {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Sender {
    /// A sender; nothing is opened yet.
    pub(crate) fn new(server: Server) -> Sender {
        Sender {
            server,
            connection: None,
        }
    }

    /// Where messages go.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Sends a message. After an error the next one connects anew.
    pub(crate) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(connect(&self.server)?),
        };
        let sent = match connection {
            Connection::Udp(socket) => socket.send(cut(message)).map(drop),
            Connection::Tcp(stream) => {
                let mut frame = format!("{} ", message.len()).into_bytes();
                frame.extend(message);
                stream.write_all(&frame)
            }
        };
        if sent.is_err() {
            self.connection = None;
        }
        sent
    }
}

/// The name is looked up each time: it may have moved.
fn connect(server: &Server) -> io::Result<Connection> {
    let mut outcome = Err(io::Error::other("its name has no address"));
    for address in (server.host.as_str(), server.port).to_socket_addrs()? {
        let connection = if server.tcp {
            TcpStream::connect_timeout(&address, PATIENCE).and_then(|stream| {
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Connection::Tcp(stream))
            })
        } else {
            let any = if address.is_ipv4() {
                "0.0.0.0:0".to_owned()
            } else {
                format!("[{}]:0", Ipv6Addr::UNSPECIFIED)
            };
            UdpSocket::bind(any).and_then(|socket| {
                socket.connect(address)?;
                Ok(Connection::Udp(socket))
            })
        };
        match connection {
            Ok(connection) => return Ok(connection),
            Err(error) => outcome = Err(error),
        }
    }
    outcome
}

/// A message that fits into a datagram; no character is cut in two.
fn cut(message: &[u8]) -> &[u8] {
    if message.len() <= LONGEST_DATAGRAM {
        return message;
    }
    let is_inside = |index: usize| message[index] & 0b1100_0000 == 0b1000_0000;
    let end = (LONGEST_DATAGRAM - 3..=LONGEST_DATAGRAM)
        .rev()
        .find(|&index| !is_inside(index));
    &message[..end.unwrap_or(LONGEST_DATAGRAM)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Read, net::TcpListener, thread};

    #[test]
    fn a_server_is_read_with_its_port_or_without() {
        let server = |tcp, host: &str, port| Server {
            tcp,
            host: host.to_owned(),
            port,
        };
        for (text, expected) in [
            ("udp://10.0.0.1", server(false, "10.0.0.1", 514)),
            ("tcp://logs.lan:601", server(true, "logs.lan", 601)),
            ("udp://[fd00::1]", server(false, "fd00::1", 514)),
            ("tcp://[fd00::1]:601", server(true, "fd00::1", 601)),
        ] {
            assert_eq!(Server::parse(text), Some(expected), "{text}");
        }
        assert_eq!(Server::parse("nonsense"), None);
    }

    #[test]
    fn messages_of_a_stream_have_their_length_before_them() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        let received = thread::spawn(move || {
            let mut text = String::new();
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_to_string(&mut text).unwrap();
            text
        });
        let mut sender = Sender::new(Server::parse(&address).unwrap());
        sender.send(b"one\ntwo").unwrap();
        sender.send("ä".as_bytes()).unwrap();
        drop(sender);
        assert_eq!(received.join().unwrap(), "7 one\ntwo2 ä");
    }

    #[test]
    fn a_message_is_a_datagram_and_not_too_long() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = format!("udp://{}", socket.local_addr().unwrap());
        let mut sender = Sender::new(Server::parse(&address).unwrap());
        sender.send(b"one").unwrap();
        sender.send(&[b'x'; 9000]).unwrap();
        let mut buffer = [0; 10_000];
        assert_eq!(socket.recv(&mut buffer).unwrap(), 3);
        assert_eq!(socket.recv(&mut buffer).unwrap(), LONGEST_DATAGRAM);
        let umlauts = "xä".repeat(2000);
        assert!(std::str::from_utf8(cut(umlauts.as_bytes())).is_ok());
    }

    #[test]
    fn a_server_that_is_away_is_tried_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let mut sender = Sender::new(Server::parse(&format!("tcp://{address}")).unwrap());
        assert!(sender.send(b"lost").is_err());
        let listener = TcpListener::bind(address).unwrap();
        sender.send(b"kept").unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 6];
        stream.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"4 kept");
    }
}
