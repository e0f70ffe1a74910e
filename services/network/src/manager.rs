//! Keeps all links: hands them what happens, and does what they want done.

use std::{
    collections::BTreeMap,
    fs,
    hash::{BuildHasher, RandomState},
    io,
    net::{Ipv4Addr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use rubus_config::{files, settings};

use crate::{
    config::{Change, Config},
    dhcp::{Request, RequestKind, message},
    interface::{Action, Event, Interface, Kept, release},
    link::Link,
    netlink::{Events, Kernel, LinkEvent},
    resolv,
    setup::{self, Setup},
    socket::{PacketSocket, renewal},
    store::{Leases, State},
    vlan::{Step, Vlans},
};

/// Larger than any DHCP message that we say we take.
const LARGEST_PACKET: usize = 1500;

/// Where things are.
pub(crate) struct Paths {
    /// The resolver's configuration.
    pub(crate) resolv_conf: PathBuf,
    /// The state for others.
    pub(crate) state: PathBuf,
    /// Folder of the leases.
    pub(crate) leases: PathBuf,
    /// The node's name.
    pub(crate) host_name: PathBuf,
    /// The kernel's settings for IPv6, one folder a link.
    pub(crate) ipv6: PathBuf,
}

/// A link and what is open for it.
struct Managed {
    interface: Interface,
    packets: Option<PacketSocket>,
    renewal: Option<UdpSocket>,
}

/// All links that are ours, by their number.
pub(crate) struct Manager {
    paths: Paths,
    leases: Leases,
    kernel: Kernel,
    events: Events,
    links: BTreeMap<u32, Managed>,
    vlans: Vlans,
    /// What the settings say of links, by name.
    named: BTreeMap<String, settings::Interface>,
    /// What they say of the node.
    node: Config,
    /// What an earlier run left on links.
    left: State,
    written: Option<State>,
    start: Instant,
    random: RandomState,
    drawn: u64,
}

impl Manager {
    /// Listens to the kernel, and takes over what an earlier run left.
    ///
    /// # Errors
    /// When the kernel does not let us.
    pub(crate) fn new(paths: Paths, settings: &settings::Network) -> io::Result<Self> {
        let mut left = State::read(&paths.state);
        let named = settings.interfaces.iter();
        Ok(Self {
            leases: Leases::new(&paths.leases),
            kernel: Kernel::open()?,
            events: Events::open()?,
            links: BTreeMap::new(),
            vlans: Vlans::new(settings, std::mem::take(&mut left.vlans)),
            named: named
                .map(|(name, interface)| (name.as_str().to_owned(), interface.clone()))
                .collect(),
            node: setup::of_the_node(settings),
            left,
            written: None,
            start: Instant::now(),
            random: RandomState::new(),
            drawn: 0,
            paths,
        })
    }

    /// Works until `stop` can be read. Addresses stay: another run takes over.
    ///
    /// # Errors
    /// When the kernel does not tell about links any more.
    pub(crate) fn run(&mut self, stop: BorrowedFd) -> io::Result<()> {
        self.look_at_all()?;
        self.vlans.saw_all();
        // What has not appeared by now is gone; a link of the same name that
        // comes later is another.
        self.left.interfaces.clear();
        loop {
            self.keep_vlans();
            self.write_state();
            let ready = self.wait(stop)?;
            if ready.stop {
                return Ok(());
            }
            if ready.events {
                match self.events.read()? {
                    Some(events) => {
                        for event in events {
                            self.link_event(event);
                        }
                    }
                    None => self.look_at_all()?,
                }
            }
            for index in ready.packets {
                self.receive(index);
            }
            let now = self.now();
            let due: Vec<u32> = self
                .links
                .iter()
                .filter(|(_, managed)| managed.interface.deadline().is_some_and(|at| at <= now))
                .map(|(index, _)| *index)
                .collect();
            for index in due {
                self.handle(index, Event::Timer);
            }
        }
    }

    fn wait(&self, stop: BorrowedFd) -> io::Result<Ready> {
        let mut fds = vec![
            PollFd::new(stop, PollFlags::POLLIN),
            PollFd::new(self.events.as_fd(), PollFlags::POLLIN),
        ];
        let mut indexes = Vec::new();
        for (index, managed) in &self.links {
            if let Some(packets) = &managed.packets {
                indexes.push(*index);
                fds.push(PollFd::new(packets.as_fd(), PollFlags::POLLIN));
            }
        }
        match poll(&mut fds, self.timeout()) {
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => return Ok(Ready::default()),
            Err(error) => return Err(error.into()),
        }
        let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(true));
        Ok(Ready {
            stop: ready.next().unwrap_or(false),
            events: ready.next().unwrap_or(false),
            packets: indexes
                .into_iter()
                .zip(ready)
                .filter_map(|(index, ready)| ready.then_some(index))
                .collect(),
        })
    }

    fn timeout(&self) -> PollTimeout {
        let deadlines = self.links.values().map(|link| link.interface.deadline());
        let Some(next) = deadlines.flatten().min() else {
            return PollTimeout::NONE;
        };
        // Rounded up: a timer that comes early does nothing, and again.
        let left = next.saturating_sub(self.now()) + Duration::from_millis(1);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// A number that neighbours cannot foresee: who can guess it can answer in
    /// the place of a server.
    fn draw(&mut self) -> u32 {
        self.drawn += 1;
        self.random.hash_one(self.drawn) as u32
    }

    fn look_at_all(&mut self) -> io::Result<()> {
        let links = self.kernel.links()?;
        let gone: Vec<u32> = self
            .links
            .keys()
            .filter(|index| links.iter().all(|link| link.index != **index))
            .copied()
            .collect();
        for index in gone {
            self.link_event(LinkEvent::Gone(index));
        }
        for link in links {
            self.link_event(LinkEvent::Is(link));
        }
        Ok(())
    }

    fn link_event(&mut self, event: LinkEvent) {
        self.vlans.saw(&event);
        match event {
            LinkEvent::Is(link) if self.is_ours(&link) => {
                if !self.links.contains_key(&link.index) {
                    self.add(&link);
                }
                self.handle(link.index, Event::Link(link));
            }
            LinkEvent::Is(link) => {
                // It may have been ours, and become a part of a bridge, or its
                // supplicant has ended.
                let was_ours = self.drop_link(link.index);
                if let Some(left) = was_ours.or_else(|| self.left.take(&link)) {
                    self.perform(&link, release(&left));
                }
            }
            LinkEvent::Gone(index) => {
                self.drop_link(index);
            }
        }
    }

    fn is_ours(&self, link: &Link) -> bool {
        link.is_ours(self.named.contains_key(&link.name)) && !self.vlans.is_stale(&link.name)
    }

    /// Knows a link no more. Gives what it was configured with.
    fn drop_link(&mut self, index: u32) -> Option<Kept> {
        let managed = self.links.remove(&index)?;
        println!("{}: gone", managed.interface.link().name);
        Some(managed.interface.kept().clone())
    }

    /// Makes and removes VLANs; that they are there or gone comes as an event.
    fn keep_vlans(&mut self) {
        for step in self.vlans.steps() {
            match step {
                Step::Make { name, id, link } => match self.kernel.make_vlan(&name, id, link) {
                    Ok(()) => self.vlans.remember(&name),
                    Err(error) => eprintln!("{name}: cannot make this VLAN: {error}"),
                },
                Step::Remove(index) => {
                    if let Err(error) = self.kernel.remove_link(index) {
                        eprintln!("cannot remove a VLAN: {error}");
                    }
                }
            }
        }
    }

    fn add(&mut self, link: &Link) {
        println!("{}: found", link.name);
        let settings = self.named.get(&link.name).cloned().unwrap_or_default();
        let interface = Interface::new(
            link,
            Setup::new(&settings, link),
            self.leases.read(&link.name),
            self.left.take(link),
        );
        self.links.insert(
            link.index,
            Managed {
                interface,
                packets: None,
                renewal: None,
            },
        );
    }

    fn receive(&mut self, index: u32) {
        let mut buffer = [0; LARGEST_PACKET];
        loop {
            let Some(managed) = self.links.get_mut(&index) else {
                return;
            };
            let Some(packets) = &managed.packets else {
                return;
            };
            let length = match packets.receive(&mut buffer) {
                Ok(Some(length)) => length,
                Ok(None) => return,
                // The link went down or away; netlink tells the rest.
                Err(_) => return,
            };
            let mac = managed.interface.link().mac.unwrap_or_default();
            let packet = buffer.get(..length).unwrap_or_default();
            if let Some(reply) = message::decode(packet, mac) {
                self.handle(index, Event::Reply(reply));
            }
        }
    }

    fn handle(&mut self, index: u32, event: Event) {
        let (now, random) = (self.now(), self.draw());
        let Some(managed) = self.links.get_mut(&index) else {
            return;
        };
        let actions = managed.interface.handle(now, random, event);
        managed.open_or_close();
        let link = managed.interface.link().clone();
        self.perform(&link, actions);
    }

    fn perform(&mut self, link: &Link, actions: Vec<Action>) {
        for action in actions {
            let (what, outcome) = match action {
                Action::Up => ("switch it on", self.kernel.up(link.index)),
                Action::Ipv6(key, value) => ("set its IPv6 up", self.ipv6(link, key, value)),
                Action::Change(change) => ("configure it", self.change(link, change)),
                Action::Send(request) => ("speak to a server", self.send(link.index, &request)),
                Action::Remember(lease) => {
                    ("keep its lease", self.leases.write(&link.name, &lease))
                }
            };
            if let Err(error) = outcome {
                eprintln!("{}: cannot {what}: {error}", link.name);
            }
        }
    }

    fn ipv6(&self, link: &Link, key: &str, value: &str) -> io::Result<()> {
        match fs::write(self.paths.ipv6.join(&link.name).join(key), value) {
            // A kernel without IPv6 has nothing to set up.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn change(&mut self, link: &Link, change: Change) -> io::Result<()> {
        let index = link.index;
        match change {
            Change::RemoveAddress(address) => self.kernel.remove_address(index, address),
            Change::AddAddress(address) => {
                println!(
                    "{}: address {}/{}",
                    link.name, address.address, address.prefix
                );
                self.kernel.add_address(index, address)
            }
            Change::RemoveRoute(route) => self.kernel.remove_route(index, route),
            Change::AddRoute(route) => self.kernel.add_route(index, route),
            Change::SetMtu(mtu) => self.kernel.set_mtu(index, mtu),
        }
    }

    fn send(&mut self, index: u32, request: &Request) -> io::Result<()> {
        let host_name = fs::read_to_string(&self.paths.host_name).unwrap_or_default();
        let now = self.now();
        let Some(managed) = self.links.get_mut(&index) else {
            return Ok(());
        };
        let interface = &managed.interface;
        let seconds = now.saturating_sub(interface.since()).as_secs();
        let mac = interface.link().mac.unwrap_or_default();
        let bytes = message::encode(
            request,
            mac,
            host_name.trim(),
            u16::try_from(seconds).unwrap_or(u16::MAX),
        );
        match request.kind {
            RequestKind::Renew { address, server } => {
                // The old one first: both cannot have the port.
                managed.renewal = None;
                let socket = renewal(address, server)?;
                socket.send(&bytes)?;
                managed.renewal = Some(socket);
                Ok(())
            }
            RequestKind::Rebind { address } => managed.broadcast(&bytes, address),
            RequestKind::Discover | RequestKind::Take { .. } | RequestKind::Reuse { .. } => {
                managed.broadcast(&bytes, Ipv4Addr::UNSPECIFIED)
            }
        }
    }

    /// Writes what others read, when it has changed.
    fn write_state(&mut self) {
        let state = State::of(
            self.links.values().map(|managed| &managed.interface),
            self.vlans.made(),
        );
        if self.written.as_ref() == Some(&state) {
            return;
        }
        let links = self.links.values().map(|managed| {
            let interface = &managed.interface;
            (interface.link().name.as_str(), interface.config())
        });
        let resolv_conf = resolv::render(std::iter::once(("", &self.node)).chain(links));
        for (path, outcome) in [
            (
                &self.paths.resolv_conf,
                files::overwrite(&self.paths.resolv_conf, resolv_conf.as_bytes()),
            ),
            (&self.paths.state, state.write(&self.paths.state)),
        ] {
            if let Err(error) = outcome {
                eprintln!("cannot write {}: {error}", path.display());
            }
        }
        self.written = Some(state);
    }
}

impl Managed {
    /// Opens the socket while replies are expected and closes it afterwards:
    /// a bound link costs nothing.
    fn open_or_close(&mut self) {
        if !self.interface.listens() {
            self.packets = None;
            self.renewal = None;
        } else if self.packets.is_none() {
            match PacketSocket::open(self.interface.link().index) {
                Ok(socket) => self.packets = Some(socket),
                // The next try opens it again.
                Err(error) => eprintln!(
                    "{}: cannot listen for DHCP: {error}",
                    self.interface.link().name
                ),
            }
        }
    }

    fn broadcast(&self, bytes: &[u8], source: Ipv4Addr) -> io::Result<()> {
        match &self.packets {
            Some(packets) => packets.broadcast(&message::broadcast(bytes, source)),
            None => Ok(()),
        }
    }
}

/// What can be read.
#[derive(Default)]
struct Ready {
    stop: bool,
    events: bool,
    packets: Vec<u32>,
}
