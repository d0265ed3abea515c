//! Proxies before the ports of nodes, which can hold back what one node and the others say to each other.
//!
//! A node sends on connections that it makes itself. So one is cut off by holding back what comes to its bus, and what it
//! sends to others' buses: who connects is known from the address that each announces when it connects.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::{self, sleep};
use std::time::Duration;

use trilith_tests::cluster::Machine;
use trilith_tests::server::{BUS_OFFSET, cluster_port};

/// How often what waits looks whether it still has to.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Who connects has said so within so many bytes.
const HELLO_BYTES: usize = 512;

/// The number of no node.
const NOBODY: usize = usize::MAX;

pub struct Proxies {
    machines: Vec<Machine>,
    state: Arc<State>,
}

struct State {
    announced: Vec<SocketAddr>,
    cut: AtomicUsize,
    ended: AtomicBool,
}

impl Proxies {
    /// Proxies for so many nodes, which are reached by them alone.
    pub fn new(nodes: usize) -> io::Result<Self> {
        let mut machines = Vec::new();
        let mut listeners = Vec::new();
        for _ in 0..nodes {
            let announced = SocketAddr::from((Ipv4Addr::LOCALHOST, cluster_port()?));
            machines.push(Machine {
                host: Ipv4Addr::LOCALHOST.into(),
                port: cluster_port()?,
                announce: Some(announced),
                within: Vec::new(),
            });
            for offset in [0, BUS_OFFSET] {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, announced.port() + offset))?;
                listener.set_nonblocking(true)?;
                listeners.push(listener);
            }
        }
        let announced = machines.iter().filter_map(|machine| machine.announce);
        let state = Arc::new(State {
            announced: announced.collect(),
            cut: AtomicUsize::new(NOBODY),
            ended: AtomicBool::new(false),
        });
        for (place, listener) in listeners.into_iter().enumerate() {
            let (node, is_bus) = (place / 2, place % 2 == 1);
            let port = machines[node].port + if is_bus { BUS_OFFSET } else { 0 };
            let state = Arc::clone(&state);
            thread::spawn(move || accept(&listener, &state, port, is_bus.then_some(node)));
        }
        Ok(Self { machines, state })
    }

    /// Where nodes can run.
    pub fn machines(&self) -> Vec<Machine> {
        self.machines.clone()
    }

    /// Holds back what a node and others say to each other from now on. Clients still reach it.
    pub fn cut(&self, node: usize) {
        self.state.cut.store(node, Relaxed);
    }

    /// Lets it all through again, with what was held back.
    pub fn mend(&self) {
        self.state.cut.store(NOBODY, Relaxed);
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        self.state.ended.store(true, Relaxed);
    }
}

/// Takes connections for a port of a node; for its bus, if there is one that it says.
fn accept(listener: &TcpListener, state: &Arc<State>, port: u16, bus_of: Option<usize>) {
    while !state.ended.load(Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                let state = Arc::clone(state);
                // A connection that cannot be made on is closed.
                thread::spawn(move || forward(stream, &state, port, bus_of));
            }
            Err(_) => sleep(LOOK_EVERY),
        }
    }
}

fn forward(
    mut near: TcpStream,
    state: &Arc<State>,
    port: u16,
    bus_of: Option<usize>,
) -> io::Result<()> {
    near.set_nonblocking(false)?;
    near.set_nodelay(true)?;
    near.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut ends = [NOBODY, NOBODY];
    let mut hello = Vec::new();
    if let Some(node) = bus_of {
        let dialler = state.hear_hello(&mut near, &mut hello)?;
        ends = [node, dialler];
    }
    state.wait(ends);
    let mut far = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    far.set_nodelay(true)?;
    far.set_read_timeout(Some(Duration::from_millis(100)))?;
    far.write_all(&hello)?;
    let (back_from, back_to, of) = (far.try_clone()?, near.try_clone()?, Arc::clone(state));
    thread::spawn(move || pump(back_from, back_to, &of, ends));
    pump(near, far, state, ends);
    Ok(())
}

/// Carries what comes from one side to the other, until either ends.
fn pump(mut from: TcpStream, mut to: TcpStream, state: &State, ends: [usize; 2]) {
    let mut bytes = vec![0; 64 << 10];
    while !state.ended.load(Relaxed) {
        match from.read(&mut bytes) {
            Err(error) if is_late(&error) => {}
            Ok(0) | Err(_) => break,
            Ok(len) => {
                state.wait(ends);
                if to.write_all(&bytes[..len]).is_err() {
                    break;
                }
            }
        }
    }
    // The other direction ends with this one; it may have ended already.
    let _ends = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

impl State {
    /// The node that connects, by the address that it announces.
    fn hear_hello(&self, stream: &mut TcpStream, hello: &mut Vec<u8>) -> io::Result<usize> {
        let mut bytes = [0; HELLO_BYTES];
        while hello.len() < HELLO_BYTES && !self.ended.load(Relaxed) {
            match stream.read(&mut bytes) {
                Err(error) if is_late(&error) => {}
                Err(error) => return Err(error),
                Ok(0) => break,
                Ok(len) => hello.extend_from_slice(&bytes[..len]),
            }
            let says = |address: &SocketAddr| {
                let address = address.to_string().into_bytes();
                hello.windows(address.len()).any(|part| part == address)
            };
            if let Some(node) = self.announced.iter().position(says) {
                return Ok(node);
            }
        }
        Err(io::Error::other("nobody said who connects"))
    }

    /// Waits while one of these is cut off.
    fn wait(&self, ends: [usize; 2]) {
        let is_held = || {
            let cut = self.cut.load(Relaxed);
            cut != NOBODY && ends.contains(&cut) && !self.ended.load(Relaxed)
        };
        while is_held() {
            sleep(LOOK_EVERY);
        }
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
