//! `Ring`: a whole cluster inside one page, for JavaScript. It is [`trilith::sim::live::Ring`]; this gives it the shapes
//! of JavaScript and nothing else.
//!
//! Nothing happens by itself: a worker calls [`advance`](Ring::advance) with the virtual milliseconds that are to pass,
//! then [`frame`](Ring::frame), [`events`](Ring::events) and [`answers`](Ring::answers). Every call is synchronous and
//! returns soon. What fails throws an `Error` whose `code` is `INVALID` and whose message says why; nothing has changed
//! then. Nodes are numbered from 1 in the order in which they came, and keep their numbers.
//!
//! # Opening
//!
//! `Ring.open(options?)`, every option with its default:
//!
//! ```ts
//! interface RingOptions {
//!   nodes?: number        // 5; 1 to 16
//!   n?: number            // 3; copies of each range, not more than nodes
//!   w?: number            // 2; copies that store a write before it is acknowledged, 1 to n
//!   r?: number            // 2; copies that a read hears, 1 to n
//!   seed?: number         // 1; a whole number up to 2^53 - 1
//!   sync?: "always" | "everysec" | "no"   // "always"
//!   memoryBytes?: number  // 4194304 a node
//!   memtableBytes?: number // 65536
//!   archive?: boolean     // false; append-only files and snapshots
//! }
//! ```
//!
//! `Ring.replay(script)` opens a ring and does again what a script tells, up to its end.
//!
//! # Time
//!
//! `advance(ms)`; `step()`, to the next moment at which anything happens; `advanceToEvent()`, until there is a new row in
//! the trace (10,000 ms at most). `nowMs` is virtual milliseconds, to the microsecond. One second costs about 40 ms of a
//! native core with five or nine idle nodes, and about 70 with 500 requests a second.
//!
//! # Doing
//!
//! Each of these is written down in the script. `node` is a number, `undefined` means all of them.
//!
//! | method | |
//! |---|---|
//! | `ask(node, words, how?)` | a client asks a node: `words` are strings or bytes, `["SET", key, value]`; `how` is `{w?, r?, weak?}`. Gives the request's id |
//! | `explain(node, words)` | the same with EXPLAIN before it |
//! | `load({perS, keys, pattern, reads, valueBytes})` | clients ask by themselves; `pattern` is `"uniform"`, `"hot"` (half of all for one key) or `"sequence"` (each key once, then it ends); `reads` in percent. Keys are `user:000`, `user:001` and so on. `load({perS: 0})` ends it |
//! | `kill(node, power?)` | `power` loses what was not synced |
//! | `restart(node)` | starts a dead node; kills and starts one that runs |
//! | `pause(node)`, `resume(node)` | |
//! | `wipe(node)` | the disk is lost, and a new node comes up on the machine |
//! | `partition(groups)` | arrays of nodes; who is not named is in a group with the others that are not |
//! | `heal()` | ends the partition; delays and losses stay |
//! | `delay(ms, node?)` | packets take up to so much longer; 0 ends it |
//! | `drop(share, node?)` | share of packets that are lost, 0 to 1 |
//! | `skew(node, ms)` | how far its wall clock is off |
//! | `addNode()`, `drainNode(node)`, `setQuorum(n, w, r)` | |
//! | `act(text)` | any of these in the script's words: `"kill 2"` |
//!
//! `price(text)` tells, before an action is done, what it may cost beyond what N, W and R promise: a sentence, or
//! `undefined`.
//!
//! # Hearing
//!
//! `answers()`: since the last call, `{id, node, askedMs, answeredMs, error?, value?}` of each request that was asked by
//! `ask` or `explain`. `value` is a string for a status, a `Uint8Array` for a value, a number, `null`, or an array of
//! these; `error` is the reply's text, which begins with a word in capitals: `UNKNOWN` for a write that may or may not take
//! effect, `REFUSED` where nobody takes connections; after anything but `UNKNOWN` nothing was written.
//!
//! # Seeing
//!
//! `frame(withHeartbeats)`: one `Float64Array`, a picture of the moment. A head of 16 numbers: layout (1), now in ms, nodes,
//! arcs (257: the arcs, and the meta range as the last), packets, requests, acknowledged, answered, refused, unknown,
//! open, N, W, R, rows that the trace has had, ranges without a master. Then, one behind the other:
//!
//! | rows | numbers | |
//! |---|---|---|
//! | nodes | 8 | number, state (0 dead, 1 running, 2 paused, 3 starting, 4 draining, 5 gone), ranges led, ranges held, clock's skew in ms, bytes in the memtable, bytes in tables, keys |
//! | arcs | 4 | who leads it (0: nobody), term, holders (node `k` has bit `k - 1`; below 2^32), who should lead it (0 for the meta range) |
//! | packets under way | 8 | id, from, to, message kind, sent at ms, arrives at ms, range, index. Progress is `(now - sent) / (arrives - sent)` |
//! | requests without an answer | 4 | id, node, asked at ms, 1 for a write |
//!
//! `events()`: one `Float64Array`, the trace since the last call, 10 numbers a row: at ms, kind, node, other node (0:
//! none), range (0 to 255, 256 for meta, -1: none), term, index, id, detail, more. `eventsDropped` says how many rows were
//! dropped before these, as nobody took them (100,000 are kept). `Ring.eventKinds()` gives `[code, name]` of each kind:
//!
//! | kinds | node | other | id | detail | more |
//! |---|---|---|---|---|---|
//! | sent | sender | receiver | packet | message kind | arrives at ms; 0 if it never does |
//! | delivered | receiver | sender | packet | message kind of the first | sent at ms |
//! | dropped | sender | receiver | packet | message kind of the first | 0 |
//! | voted | voter | candidate | | | |
//! | elected | master | | | 1 if replicas decided that may have forgotten entries | |
//! | appended | where | | | 1 if a client waits for it | |
//! | acked, snapshot-started, mismatch | master | who | | | |
//! | confirmed | master | | | round of heartbeats | |
//! | diverged | who | | | entries that are lost | |
//! | asked | asked node | | request | 1 for a write | |
//! | answered | asked node | | request | 0 done, 1 refused or failed, 2 unknown | asked at ms |
//! | killed, started, paused, resumed, wiped, gone, failed | which | | | | |
//! | done | 0 | | | a change of the cluster was taken | |
//!
//! The others (pre-vote, campaign, stepped-down, stored, committed, applied, truncated, configured, snapshot-installed,
//! amnesiac, remembered, recovered, destroyed) have node, range, and term or index. Packets that only say that their sender
//! is there, and what they say, are not in the trace. A packet has a `sent` row for each of its messages with news, and one
//! `delivered` or `dropped`. Message kinds are places in `Ring.messageKinds()`.
//!
//! `packet(id)`: `{id, from, to, sentMs, count, messages: [{kind, range, term, fields: [name, text][]}]}` of a packet with
//! news that was among the last 2,000; else `undefined`.
//!
//! `inspect(node)`: see [`NodeView`](trilith::sim::live::NodeView), its fields in camelCase; `setting()`: see
//! [`Setting`](trilith::sim::live::Setting); `check()`: see [`Verdict`](trilith::sim::live::Verdict). What is
//! `Option` there is `null` where there is nothing.
//!
//! `script()` is the text that does everything again up to now (short enough for a link), `traceHash()` the hash by which
//! runs are known to be equal: the same in every browser, in Node, and of `trilith sim --script`.

mod replies;

use bytes::Bytes;
use js_sys::{Array, Float64Array, Reflect, Uint8Array};
use serde::{Deserialize, Serialize};
use trilith::ring::Quorum;
use trilith::sim::live::{
    Action, COLUMNS, Load, Pattern, Ring as Inner, RingOptions, kinds, message_kinds,
};
use trilith::{Error, ErrorKind, Sync};
use wasm_bindgen::prelude::*;

/// A cluster inside a page. See the [module](self).
#[wasm_bindgen]
pub struct Ring {
    inner: Inner,
    dropped: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Options {
    nodes: u32,
    n: u8,
    w: u8,
    r: u8,
    seed: u64,
    sync: String,
    memory_bytes: u32,
    memtable_bytes: u32,
    archive: bool,
}

impl Default for Options {
    fn default() -> Self {
        let usual = RingOptions::default();
        Self {
            nodes: usual.nodes,
            n: usual.quorum.replicas(),
            w: usual.quorum.acknowledge(),
            r: usual.quorum.read(),
            seed: usual.seed,
            sync: "always".to_owned(),
            memory_bytes: usual.memory_bytes,
            memtable_bytes: usual.memtable_bytes,
            archive: usual.archive,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct How {
    w: u8,
    r: u8,
    weak: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Asked {
    per_s: u32,
    keys: u32,
    pattern: String,
    reads: u8,
    value_bytes: u32,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            per_s: 20,
            keys: 200,
            pattern: Pattern::Uniform.name().to_owned(),
            reads: 0,
            value_bytes: 16,
        }
    }
}

/// An error as JavaScript has it.
fn thrown(error: Error) -> JsValue {
    let js = js_sys::Error::new(&error.to_string());
    let code = match error.kind() {
        ErrorKind::Invalid => "INVALID",
        _ => "FAILED",
    };
    // A fresh error takes any property.
    let _ = Reflect::set(&js, &"code".into(), &code.into());
    js.into()
}

fn invalid(detail: impl ToString) -> JsValue {
    thrown(Error::new(
        ErrorKind::Invalid,
        "asking the ring",
        detail.to_string(),
    ))
}

fn given<T: for<'a> Deserialize<'a> + Default>(value: JsValue) -> Result<T, JsValue> {
    match value.is_undefined() || value.is_null() {
        true => Ok(T::default()),
        false => serde_wasm_bindgen::from_value(value).map_err(invalid),
    }
}

fn shown<T: Serialize>(value: &T) -> Result<JsValue, JsValue> {
    let serializer = serde_wasm_bindgen::Serializer::json_compatible();
    value.serialize(&serializer).map_err(invalid)
}

fn words_of(words: &Array) -> Result<Vec<Bytes>, JsValue> {
    let word = |word: JsValue| match (word.as_string(), word.dyn_ref::<Uint8Array>()) {
        (Some(text), _) => Ok(Bytes::from(text)),
        (None, Some(bytes)) => Ok(Bytes::from(bytes.to_vec())),
        (None, None) => Err(invalid("words are strings or bytes")),
    };
    words.iter().map(word).collect()
}

fn micros(ms: f64) -> Result<u64, JsValue> {
    let us = ms * 1_000.0;
    match us.is_finite() && (0.0..9e15).contains(&us) {
        true => Ok(us.round() as u64),
        false => Err(invalid(format!("{ms} ms"))),
    }
}

#[wasm_bindgen]
impl Ring {
    /// Opens a ring.
    pub fn open(options: JsValue) -> Result<Ring, JsValue> {
        let given: Options = given(options)?;
        let sync = match given.sync.as_str() {
            "always" => Sync::Always,
            "everysec" => Sync::EverySecond,
            "no" => Sync::No,
            other => return Err(invalid(format!("sync {other:?}"))),
        };
        let options = RingOptions {
            nodes: given.nodes,
            quorum: Quorum::new(given.n, given.w, given.r).map_err(thrown)?,
            seed: given.seed,
            sync,
            memory_bytes: given.memory_bytes,
            memtable_bytes: given.memtable_bytes,
            archive: given.archive,
        };
        let inner = Inner::open(options).map_err(thrown)?;
        Ok(Self { inner, dropped: 0 })
    }

    /// Does again what a script tells.
    pub fn replay(script: &str) -> Result<Ring, JsValue> {
        let script = script.parse().map_err(thrown)?;
        let inner = Inner::replay(&script).map_err(thrown)?;
        Ok(Self { inner, dropped: 0 })
    }

    /// `[code, name]` of each kind of row in the trace.
    #[wasm_bindgen(js_name = eventKinds)]
    pub fn event_kinds() -> Result<JsValue, JsValue> {
        shown(&kinds().collect::<Vec<_>>())
    }

    /// The names of message kinds, by code.
    #[wasm_bindgen(js_name = messageKinds)]
    pub fn message_kinds() -> Result<JsValue, JsValue> {
        shown(&message_kinds())
    }

    /// Numbers of a row in the trace.
    #[wasm_bindgen(js_name = eventColumns)]
    pub fn event_columns() -> usize {
        COLUMNS
    }

    /// Virtual milliseconds since it was opened.
    #[wasm_bindgen(getter, js_name = nowMs)]
    pub fn now_ms(&self) -> f64 {
        self.inner.now_us() as f64 / 1e3
    }

    /// Lets virtual time pass.
    pub fn advance(&mut self, ms: f64) -> Result<(), JsValue> {
        self.inner.advance(micros(ms)?);
        Ok(())
    }

    /// Lets time pass until the next thing happens.
    pub fn step(&mut self) {
        self.inner.step();
    }

    /// Lets time pass until there is a new row in the trace.
    #[wasm_bindgen(js_name = advanceToEvent)]
    pub fn advance_to_event(&mut self) {
        self.inner.advance_to_event();
    }

    /// A client asks a node.
    pub fn ask(&mut self, node: u32, words: &Array, how: JsValue) -> Result<f64, JsValue> {
        let words = words_of(words)?;
        let How { w, r, weak } = given(how)?;
        let how = trilith::ring::driver::Consistency { w, r, weak };
        self.do_one(Action::Ask { node, how, words })
            .map(|id| id.unwrap_or(0.0))
    }

    /// A client asks a node which way a command takes.
    pub fn explain(&mut self, node: u32, words: &Array) -> Result<f64, JsValue> {
        let explained = Array::of1(&"EXPLAIN".into()).concat(words);
        self.ask(node, &explained, JsValue::UNDEFINED)
    }

    /// Clients ask by themselves.
    pub fn load(&mut self, load: JsValue) -> Result<(), JsValue> {
        let asked: Asked = given(load)?;
        let pattern = Pattern::named(&asked.pattern)
            .ok_or_else(|| invalid(format!("pattern {:?}", asked.pattern)))?;
        let load = match asked.per_s {
            0 => Load::default(),
            per_s => Load {
                per_s,
                keys: asked.keys,
                pattern,
                reads_percent: asked.reads,
                value_bytes: asked.value_bytes,
            },
        };
        self.do_one(Action::Load(load)).map(|_| ())
    }

    /// Ends a node's process.
    pub fn kill(&mut self, node: u32, power: Option<bool>) -> Result<(), JsValue> {
        let power = power.unwrap_or(false);
        self.do_one(Action::Kill { node, power }).map(|_| ())
    }

    /// Starts a node's process, anew if it runs.
    pub fn restart(&mut self, node: u32) -> Result<(), JsValue> {
        self.do_one(Action::Restart(node)).map(|_| ())
    }

    /// A node stands still.
    pub fn pause(&mut self, node: u32) -> Result<(), JsValue> {
        self.do_one(Action::Pause(node)).map(|_| ())
    }

    /// A paused node goes on.
    pub fn resume(&mut self, node: u32) -> Result<(), JsValue> {
        self.do_one(Action::Resume(node)).map(|_| ())
    }

    /// A node's disk is lost.
    pub fn wipe(&mut self, node: u32) -> Result<(), JsValue> {
        self.do_one(Action::Wipe(node)).map(|_| ())
    }

    /// Parts the network.
    pub fn partition(&mut self, groups: JsValue) -> Result<(), JsValue> {
        let groups = serde_wasm_bindgen::from_value(groups).map_err(invalid)?;
        self.do_one(Action::Partition(groups)).map(|_| ())
    }

    /// Ends the partition.
    pub fn heal(&mut self) -> Result<(), JsValue> {
        self.do_one(Action::Heal).map(|_| ())
    }

    /// Lets packets take longer.
    pub fn delay(&mut self, ms: u32, node: Option<u32>) -> Result<(), JsValue> {
        self.do_one(Action::Delay { ms, node }).map(|_| ())
    }

    /// Loses packets.
    pub fn drop(&mut self, share: f64, node: Option<u32>) -> Result<(), JsValue> {
        if !(0.0..=1.0).contains(&share) {
            return Err(invalid(format!("a share of {share}")));
        }
        let permille = (share * 1_000.0).round() as u32;
        self.do_one(Action::Drop { permille, node }).map(|_| ())
    }

    /// Sets how far a node's wall clock is off.
    pub fn skew(&mut self, node: u32, ms: f64) -> Result<(), JsValue> {
        let ms = ms as i64;
        self.do_one(Action::Skew { node, ms }).map(|_| ())
    }

    /// A node joins.
    #[wasm_bindgen(js_name = addNode)]
    pub fn add_node(&mut self) -> Result<(), JsValue> {
        self.do_one(Action::Add).map(|_| ())
    }

    /// A node gives up what it holds, and goes.
    #[wasm_bindgen(js_name = drainNode)]
    pub fn drain_node(&mut self, node: u32) -> Result<(), JsValue> {
        self.do_one(Action::Drain(node)).map(|_| ())
    }

    /// Sets N, W and R.
    #[wasm_bindgen(js_name = setQuorum)]
    pub fn set_quorum(&mut self, n: u8, w: u8, r: u8) -> Result<(), JsValue> {
        let quorum = Quorum::new(n, w, r).map_err(thrown)?;
        self.do_one(Action::Quorum(quorum)).map(|_| ())
    }

    /// Does what a script's words say. The request's id, if it is one.
    pub fn act(&mut self, action: &str) -> Result<Option<f64>, JsValue> {
        self.do_one(action.parse().map_err(thrown)?)
    }

    /// What an action may cost beyond the promise.
    pub fn price(&self, action: &str) -> Result<Option<String>, JsValue> {
        Ok(self.inner.price(&action.parse().map_err(thrown)?))
    }

    fn do_one(&mut self, action: Action) -> Result<Option<f64>, JsValue> {
        let done = self.inner.act(action).map_err(thrown)?;
        Ok(done.map(|id| id as f64))
    }

    /// Answers since the last call.
    pub fn answers(&mut self) -> Array {
        let answers = self.inner.take_answers();
        answers.iter().map(replies::answer).collect()
    }

    /// The trace since the last call.
    pub fn events(&mut self) -> Float64Array {
        let (rows, dropped) = self.inner.take_events();
        self.dropped = dropped;
        Float64Array::from(rows.as_slice())
    }

    /// Rows that were dropped before those of the last call.
    #[wasm_bindgen(getter, js_name = eventsDropped)]
    pub fn events_dropped(&self) -> f64 {
        self.dropped as f64
    }

    /// A picture of this moment.
    pub fn frame(&self, with_heartbeats: Option<bool>) -> Float64Array {
        let frame = self.inner.frame(with_heartbeats.unwrap_or(false));
        Float64Array::from(frame.as_slice())
    }

    /// A packet, decoded.
    pub fn packet(&self, id: f64) -> Result<JsValue, JsValue> {
        match self.inner.packet(id as u64) {
            Some(packet) => shown(&packet),
            None => Ok(JsValue::UNDEFINED),
        }
    }

    /// A node, taken apart.
    pub fn inspect(&self, node: u32) -> Result<JsValue, JsValue> {
        shown(&self.inner.inspect(node).map_err(thrown)?)
    }

    /// How the ring is set.
    pub fn setting(&self) -> Result<JsValue, JsValue> {
        shown(&self.inner.setting())
    }

    /// What the checkers say of everything so far.
    pub fn check(&mut self) -> Result<JsValue, JsValue> {
        shown(&self.inner.check())
    }

    /// What does everything again.
    pub fn script(&self) -> String {
        self.inner.script().to_string()
    }

    /// Equal for equal runs.
    #[wasm_bindgen(js_name = traceHash)]
    pub fn trace_hash(&self) -> String {
        self.inner.trace_hash()
    }
}
