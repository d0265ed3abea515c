//! A cluster made up: statuses as values, and nodes on loopback ports that answer from a script.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use parking_lot::Mutex;
use trilith::command::Reply;

use super::args::At;
use super::id::{Id, RangeName};
use super::status::{CopyStatus, Member, Moving, Progress, Status, Triple};
use super::survey::Survey;
use crate::resp::read_reply;

/// The members' ids.
pub const NODES: [Id; 3] = [
    Id(0x1a00_0000_0000_0001),
    Id(0x2b00_0000_0000_0002),
    Id(0x3c00_0000_0000_0003),
];

const QUORUM: Triple = Triple { n: 3, w: 2, r: 2 };

const MOVING: Moving = Moving {
    paused: false,
    bytes_per_second: 64 << 20,
    at_once: 4,
};

/// A member in order that holds nothing.
pub fn member(id: u64, address: &str) -> Member {
    Member {
        id: Id(id),
        address: address.into(),
        zone: String::new(),
        weight: 1,
        state: "active".into(),
        silent: false,
        masters: 0,
        copies: 0,
    }
}

/// Three members that hold 256 arcs, and all is well.
pub fn survey() -> Survey {
    let members: Vec<Member> = (0..3)
        .map(|at| Member {
            zone: ["a", "b", "c"][at].into(),
            masters: [86, 85, 85][at],
            copies: 256,
            ..member(NODES[at].0, &format!("127.0.0.1:{}", 7001 + at))
        })
        .collect();
    let status = |at: usize| {
        let mastered = [87, 85, 85][at];
        Status {
            me: NODES[at],
            version: 7,
            quorum: QUORUM,
            moving: MOVING,
            members: members.clone(),
            progress: Progress {
                mastered,
                in_place: mastered,
                moving: 0,
                sent_bytes: 1024,
            },
            trouble: None,
        }
    };
    Survey {
        status: status(0),
        heard: (0..3).map(|at| (NODES[at], Ok(status(at)))).collect(),
    }
}

/// What a member has said, to be changed.
pub fn told(survey: &mut Survey, at: usize) -> &mut Status {
    survey.heard.get_mut(&NODES[at]).unwrap().as_mut().unwrap()
}

/// A copy of a range whose voters are all three, the first of them its master.
pub fn copy(range: u32, role: &str, applied: u64) -> CopyStatus {
    CopyStatus {
        range: RangeName(range),
        role: role.into(),
        master: Some(NODES[0]),
        term: 3,
        last: applied,
        commit: applied,
        applied,
        voters: NODES.to_vec(),
        learners: Vec::new(),
        quorum: QUORUM,
        writes: 1,
        reads: 2,
    }
}

/// Nodes that share one state: two arcs and meta, of which all have copies.
pub struct FakeCluster {
    state: Arc<Mutex<State>>,
}

struct State {
    addresses: Vec<String>,
    stopped: BTreeSet<usize>,
    version: u64,
    moving: Moving,
    /// The master of each range.
    masters: BTreeMap<u32, Option<usize>>,
    /// How often the first node will still say that something moves.
    unsettled: u32,
    last: [u64; 3],
    commit: [u64; 3],
    orders: Vec<String>,
    refusal: Option<String>,
}

impl FakeCluster {
    /// Starts the nodes.
    pub fn new(nodes: usize) -> Self {
        let listeners: Vec<TcpListener> = (0..nodes)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let address = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State {
            addresses: listeners.iter().map(address).collect(),
            stopped: BTreeSet::new(),
            version: 7,
            moving: MOVING,
            masters: BTreeMap::from([(0, Some(0)), (1, Some(1)), (u32::MAX, Some(0))]),
            unsettled: 0,
            last: [12; 3],
            commit: [12; 3],
            orders: Vec::new(),
            refusal: None,
        }));
        for (node, listener) in listeners.into_iter().enumerate() {
            let state = Arc::clone(&state);
            std::thread::spawn(move || listen(node, &listener, &state));
        }
        Self { state }
    }

    /// The first node, to be asked for a table.
    pub fn at(&self) -> At {
        At {
            at: self.address(0),
            json: false,
        }
    }

    pub fn address(&self, node: usize) -> String {
        self.state.lock().addresses[node].clone()
    }

    /// What was ordered: by whom, and in which words.
    pub fn orders(&self) -> Vec<String> {
        self.state.lock().orders.clone()
    }

    pub fn unsettle(&self, times: u32) {
        self.state.lock().unsettled = times;
    }

    pub fn unsettled(&self) -> u32 {
        self.state.lock().unsettled
    }

    pub fn refuse(&self, text: &str) {
        self.state.lock().refusal = Some(text.into());
    }

    pub fn set_last(&self, node: usize, last: u64) {
        self.state.lock().last[node] = last;
    }

    pub fn set_commit(&self, node: usize, commit: u64) {
        self.state.lock().commit[node] = commit;
    }

    /// No range has a master any more.
    pub fn depose(&self) {
        for master in self.state.lock().masters.values_mut() {
            *master = None;
        }
    }

    pub fn stop(&self, node: usize) {
        let address = self.address(node);
        self.state.lock().stopped.insert(node);
        // Wakes it, so that it sees.
        let _woken = TcpStream::connect(address);
        while TcpStream::connect(self.address(node)).is_ok() {
            std::thread::yield_now();
        }
    }
}

impl Drop for FakeCluster {
    fn drop(&mut self) {
        let nodes = self.state.lock().addresses.len();
        (0..nodes).for_each(|node| self.stop(node));
    }
}

fn listen(node: usize, listener: &TcpListener, state: &Arc<Mutex<State>>) {
    for stream in listener.incoming() {
        if state.lock().stopped.contains(&node) {
            return;
        }
        let (stream, state) = (stream.unwrap(), Arc::clone(state));
        std::thread::spawn(move || serve(node, stream, &state));
    }
}

fn serve(node: usize, mut stream: TcpStream, state: &Mutex<State>) {
    let (mut input, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(len @ 1..) = stream.read(&mut piece) {
        input.extend_from_slice(&piece[..len]);
        // A request looks like a reply that is a list.
        while let Some((request, len)) = read_reply(&input).unwrap() {
            input.drain(..len);
            let mut bytes = Vec::new();
            state
                .lock()
                .answer(node, &words(request))
                .encode(&mut bytes);
            if stream.write_all(&bytes).is_err() {
                return;
            }
        }
    }
}

fn words(request: Reply) -> Vec<String> {
    let Reply::Array(words) = request else {
        panic!("no request: {request:?}");
    };
    let word = |word| match word {
        Reply::Bulk(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("no word: {other:?}"),
    };
    words.into_iter().map(word).collect()
}

impl State {
    fn answer(&mut self, node: usize, words: &[String]) -> Reply {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["RING", "STATUS"] => {
                if node == 0 {
                    self.unsettled = self.unsettled.saturating_sub(1);
                }
                return Reply::text(serde_json::to_string(&self.status(node)).unwrap());
            }
            ["RING", "RANGES"] => {
                return Reply::text(serde_json::to_string(&self.copies(node)).unwrap());
            }
            _ => {}
        }
        if let Some(text) = &self.refusal {
            return Reply::Error(text.clone().into());
        }
        self.orders.push(format!("{node}: {}", words.join(" ")));
        self.version += 1;
        match words[..] {
            ["RING", "MOVING", "PAUSE"] => self.moving.paused = true,
            ["RING", "MOVING", "RESUME"] => self.moving.paused = false,
            ["RING", "TRANSFER", range, to] => {
                let to = NODES.iter().position(|id| id.to_string() == to);
                self.masters.insert(range.parse().unwrap(), to);
            }
            ["RING", "RECOVER", range] => {
                self.masters.insert(range.parse().unwrap(), Some(node));
            }
            _ => {}
        }
        Reply::OK
    }

    fn status(&self, node: usize) -> Status {
        let mastered = self
            .masters
            .values()
            .filter(|master| **master == Some(node));
        let mastered = mastered.count() as u64;
        let moving = u64::from(node == 0 && self.unsettled > 0);
        let members = self
            .addresses
            .iter()
            .enumerate()
            .map(|(at, address)| Member {
                // Clients always have somebody to ask.
                masters: [1, 1, 0][at],
                copies: 2,
                ..member(NODES[at].0, address)
            });
        Status {
            me: NODES[node],
            version: self.version,
            quorum: QUORUM,
            moving: self.moving,
            members: members.collect(),
            progress: Progress {
                mastered,
                in_place: mastered - moving,
                moving,
                sent_bytes: 0,
            },
            trouble: None,
        }
    }

    fn copies(&self, node: usize) -> Vec<CopyStatus> {
        let copies = self.masters.iter().map(|(&range, &master)| CopyStatus {
            role: if master == Some(node) {
                "master"
            } else {
                "voter"
            }
            .into(),
            master: master.map(|master| NODES[master]),
            last: self.last[node],
            commit: self.commit[node],
            ..copy(range, "", 12)
        });
        copies.collect()
    }
}
