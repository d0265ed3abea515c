//! Clients: each asks one thing at a time, looks for the master, asks again only what surely was not done,
//! and has everything recorded.

use std::collections::BTreeMap;

use super::checkers::{History, OpId, Outcome as Ended};
use super::host::Host;
use super::keys::Keys;
use super::workload::{Ask, Wish, Workload};
use super::world::{Answer, Event, World};
use crate::command::{Reply, command_payload};
use crate::random::Random;
use crate::ring::effect::{Input, Outcome, ReadLevel};
use crate::ring::node::NodeInput;
use crate::ring::{LogId, RangeId, RequestId};

/// How long a client waits.
const PATIENCE_US: u64 = 1_200_000;
/// How long it waits before it asks elsewhere.
const AGAIN_US: u64 = 30_000;

struct Client {
    random: Random,
    /// Counts what it has asked, so that late answers are known.
    serial: u64,
    asking: Option<Asking>,
}

struct Asking {
    wish: Wish,
    /// None for what is not judged.
    op: Option<OpId>,
    /// The request that is open, and at which machine; none while it looks for another.
    request: Option<RequestId>,
    place: usize,
    /// The log's clock has been moved on for it.
    elapsed: bool,
    /// To be asked next.
    hint: Option<usize>,
    /// What it last heard.
    heard: Option<Answer>,
}

/// See the module.
pub(super) struct Clients {
    clients: Vec<Client>,
    pub(super) workload: Workload,
    pub(super) history: History,
    requests: BTreeMap<RequestId, usize>,
    next_request: RequestId,
    /// Where the master of a range was last found.
    masters: BTreeMap<RangeId, usize>,
    /// The entries of acknowledged writes.
    pub(super) written: BTreeMap<OpId, (RangeId, LogId)>,
    pub(super) operations: u64,
    pub(super) acknowledged: u64,
    /// What was given up on, or has an unknown outcome.
    pub(super) failed: u64,
    /// Those, in words.
    pub(super) failures: Vec<String>,
    /// Answers that sent a client elsewhere, or had it ask again.
    pub(super) redirected: u64,
    ended: bool,
}

impl Clients {
    pub(super) fn new(world: &mut World) -> Self {
        let setup = &world.setup;
        let (keys, quorum, count) = (
            Keys::new(setup.arcs, setup.apart()),
            setup.quorum,
            setup.clients,
        );
        // A range that has fewer replicas than a request asks for refuses it, and rightly.
        let has_all = setup.nodes >= usize::from(quorum.replicas());
        let workload = Workload::new(keys, quorum.replicas(), setup.promises() && has_all);
        let clients = (0..count).map(|_| Client {
            random: world.random.fork(),
            serial: 0,
            asking: None,
        });
        let clients: Vec<Client> = clients.collect();
        for client in 0..clients.len() {
            world.after(200_000, Event::Client { client, serial: 0 });
        }
        Self {
            clients,
            workload,
            history: History::new(),
            requests: BTreeMap::new(),
            next_request: 1,
            masters: BTreeMap::new(),
            written: BTreeMap::new(),
            operations: 0,
            acknowledged: 0,
            failed: 0,
            failures: Vec::new(),
            redirected: 0,
            ended: false,
        }
    }

    /// Nothing new is asked from now on.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Whether anybody still waits.
    pub(super) fn are_idle(&self) -> bool {
        self.clients.iter().all(|client| client.asking.is_none())
    }

    /// A client does what comes next: asks something, or asks again.
    pub(super) fn act(
        &mut self,
        client: usize,
        serial: u64,
        hosts: &mut [Host],
        world: &mut World,
    ) {
        let this = &mut self.clients[client];
        if this.serial != serial {
            return;
        }
        if this.asking.is_none() {
            if self.ended {
                return;
            }
            let wish = self.workload.draw(&mut this.random);
            let is_judged = wish.level != Some(ReadLevel::Weak);
            let op = is_judged.then(|| {
                self.history
                    .invoke(client as u32, wish.slot, wish.op.clone(), world.now_us)
            });
            this.serial += 1;
            self.operations += 1;
            let serial = this.serial;
            this.asking = Some(Asking {
                wish,
                op,
                request: None,
                place: 0,
                elapsed: false,
                hint: None,
                heard: None,
            });
            world.after(PATIENCE_US, Event::TimeOut { client, serial });
        }
        self.ask(client, hosts, world);
    }

    fn ask(&mut self, client: usize, hosts: &mut [Host], world: &mut World) {
        let this = &mut self.clients[client];
        let serial = this.serial;
        let Some(asking) = &mut this.asking else {
            return;
        };
        let range = asking.wish.range;
        let master = self.masters.get(&range).copied();
        let anywhere = this.random.index(hosts.len());
        let by_chance = match asking.wish.level {
            Some(_) => this.random.coin(),
            None => this.random.below(5) == 0,
        };
        let place = match asking.hint.take().or(master.filter(|_| !by_chance)) {
            Some(place) => place,
            None => anywhere,
        };
        asking.place = place;
        let host = &mut hosts[place];
        if host.running.is_none() || host.is_leaving {
            let answer = Box::new(Answer::Refused);
            return world.after(
                500,
                Event::Answer {
                    client,
                    serial,
                    answer,
                },
            );
        }
        let request = self.next_request;
        self.next_request += 1;
        asking.request = Some(request);
        self.requests.insert(request, client);
        world
            .digest
            .add_all([world.now_us, client as u64, request, place as u64]);
        let input = match (asking.wish.level, &asking.wish.ask) {
            (None, Ask::Command(command)) => NodeInput::Write {
                request,
                range,
                payload: command_payload(command),
                at_least: asking.wish.at_least,
            },
            (level, _) => NodeInput::Read {
                request,
                range,
                level: level.unwrap_or(ReadLevel::Configured),
            },
        };
        host.hear(input, world);
    }

    /// Takes what nodes have answered; reads begin where they may.
    pub(super) fn hear(&mut self, hosts: &mut [Host], world: &mut World) -> bool {
        let answers = std::mem::take(&mut world.answers);
        let any = !answers.is_empty();
        for (request, answer) in answers {
            let Some(client) = self.requests.remove(&request) else {
                continue;
            };
            let this = &mut self.clients[client];
            let serial = this.serial;
            let Some(asking) = this
                .asking
                .as_mut()
                .filter(|asking| asking.request == Some(request))
            else {
                continue;
            };
            world
                .digest
                .add_all([world.now_us, request, kind_of(&answer)]);
            let (range, host) = (asking.wish.range, &mut hosts[asking.place]);
            match answer {
                Answer::Outcome(Outcome::Read { .. }) => {
                    self.requests.insert(request, client);
                    host.read(request, range, asking.wish.ask.clone());
                }
                Answer::Read { elapse: true, .. } if !asking.elapsed => {
                    let node = host.running.as_ref().map(|running| &running.node);
                    let leads = node
                        .and_then(|node| node.range(range))
                        .is_some_and(|range| range.is_master());
                    if leads {
                        asking.elapsed = true;
                        self.requests.insert(request, client);
                        host.hear(NodeInput::Range(range, Input::Elapse { request }), world);
                    } else {
                        let answer = Box::new(Answer::Outcome(Outcome::NotMaster(None)));
                        world.after(
                            500,
                            Event::Answer {
                                client,
                                serial,
                                answer,
                            },
                        );
                    }
                }
                answer => {
                    if let Answer::Outcome(Outcome::Done { at, .. }) = answer {
                        world.invariants.acknowledged(range, at);
                    }
                    let takes_us = 100 + this.random.below(600);
                    world.after(
                        takes_us,
                        Event::Answer {
                            client,
                            serial,
                            answer: Box::new(answer),
                        },
                    );
                }
            }
        }
        any
    }

    /// The connections to a machine break.
    pub(super) fn disconnect(&mut self, place: usize, world: &mut World) {
        for (client, this) in self.clients.iter_mut().enumerate() {
            if let Some(asking) = &mut this.asking
                && asking.place == place
                && let Some(request) = asking.request
            {
                self.requests.remove(&request);
                let (serial, answer) = (this.serial, Box::new(Answer::Gone));
                world.after(
                    1_000,
                    Event::Answer {
                        client,
                        serial,
                        answer,
                    },
                );
            }
        }
    }

    /// An answer arrives.
    pub(super) fn take(&mut self, client: usize, serial: u64, answer: Answer, world: &mut World) {
        let this = &mut self.clients[client];
        if this.serial != serial {
            return;
        }
        let Some(asking) = &mut this.asking else {
            return;
        };
        asking.request = None;
        asking.heard = Some(answer.clone());
        let is_write = asking.wish.level.is_none();
        match answer {
            Answer::Outcome(Outcome::Done { reply, at }) => {
                if let Some(op) = asking.op {
                    self.written.insert(op, (asking.wish.range, at));
                }
                self.masters.insert(asking.wish.range, asking.place);
                self.done(client, &reply, world);
            }
            Answer::Read {
                reply: Some(reply), ..
            } => self.done(client, &reply, world),
            Answer::Outcome(Outcome::Unknown) | Answer::Gone if is_write => {
                self.finish(client, Ended::Unknown, world);
            }
            Answer::Outcome(Outcome::NotMaster(Some(master))) => {
                self.redirected += 1;
                asking.hint = world.places.get(&master).copied();
                if let Some(place) = asking.hint {
                    self.masters.insert(asking.wish.range, place);
                }
                world.after(1_000, Event::Client { client, serial });
            }
            _ => {
                self.redirected += 1;
                self.masters.remove(&asking.wish.range);
                let delay_us = 1_000 + this.random.below(AGAIN_US);
                world.after(delay_us, Event::Client { client, serial });
            }
        }
    }

    /// A client has waited long enough.
    pub(super) fn time_out(&mut self, client: usize, serial: u64, world: &mut World) {
        let this = &mut self.clients[client];
        if this.serial != serial {
            return;
        }
        let Some(asking) = &this.asking else {
            return;
        };
        let is_open = asking.request.is_some() && asking.wish.level.is_none();
        if let Some(request) = asking.request {
            self.requests.remove(&request);
        }
        let outcome = if is_open {
            Ended::Unknown
        } else {
            Ended::Failed
        };
        self.finish(client, outcome, world);
    }

    fn done(&mut self, client: usize, reply: &Reply, world: &mut World) {
        let Some(asking) = &self.clients[client].asking else {
            return;
        };
        let op = &asking.wish.op;
        match self.workload.seen(op, reply) {
            Some(seen) => {
                self.acknowledged += 1;
                self.finish(client, Ended::Ok(seen), world);
            }
            None => {
                let what = format!("{op:?} was answered with {reply:?}");
                world.invariants.violate(what);
                self.finish(client, Ended::Unknown, world);
            }
        }
    }

    fn finish(&mut self, client: usize, outcome: Ended, world: &mut World) {
        let this = &mut self.clients[client];
        if let Some(asking) = &this.asking
            && !matches!(outcome, Ended::Ok(_))
        {
            self.failed += 1;
            let (wish, waits) = (&asking.wish, asking.request.is_some());
            self.failures.push(format!(
                "at {} ms: range {} at machine {}, level {:?}, at least {}: {outcome:?}, waiting {waits}, last heard {:?}",
                world.now_ms(),
                wish.range,
                asking.place,
                wish.level,
                wish.at_least,
                asking.heard
            ));
        }
        if let Some(asking) = this.asking.take()
            && let Some(op) = asking.op
        {
            self.history.finish(op, outcome, world.now_us);
        }
        this.serial += 1;
        let think_us = this.random.below(2_000 * world.setup.think_ms.max(1));
        let serial = this.serial;
        world.after(think_us, Event::Client { client, serial });
    }
}

fn kind_of(answer: &Answer) -> u64 {
    match answer {
        Answer::Outcome(Outcome::Done { at, .. }) => at.index << 8 | 1,
        Answer::Outcome(Outcome::Read { index, .. }) => index << 8 | 2,
        Answer::Outcome(Outcome::NotMaster(_)) => 3,
        Answer::Outcome(Outcome::Refused(_)) => 4,
        Answer::Outcome(Outcome::Unknown) => 5,
        Answer::Outcome(Outcome::Changed(_)) => 6,
        Answer::Read { .. } => 7,
        Answer::Refused => 8,
        Answer::Gone => 9,
    }
}
