//! Commands about all keys: about those, rather, of the ranges that are mastered here. A client that wants all of
//! them asks every node.

use std::sync::Arc;

use bytes::Bytes;

use super::inner::Inner;
use super::options::Transport;
use super::view::Consistency;
use crate::command::{Command, Reply, ScanArgs, pattern, place};
use crate::ring::effect::{Outcome, ReadLevel};
use crate::ring::ids::RangeId;
use crate::ring::node::NodeInput;
use crate::ring::quorum::Quorum;
use crate::slot::{arc_of, position_of, slot_of};
use crate::{Result, Runtime, Storage};

/// The most keys that one SCAN looks at, whatever COUNT says.
const SCAN_COUNT_MOST: usize = 100_000;
/// Keys that are looked at before the others get their turn.
const KEYS_AT_ONCE: usize = 1_000;

impl<S: Storage, R: Runtime, T: Transport> Inner<S, R, T> {
    pub(super) async fn execute_whole(
        self: &Arc<Self>,
        command: &Command,
        how: Consistency,
    ) -> Reply {
        let done = match command {
            Command::Clear => Ok(self.clear(command, how).await),
            Command::DbSize => {
                let keys = self.store.keys_in(&self.mastered());
                Ok(Reply::Int(i64::try_from(keys).unwrap_or(i64::MAX)))
            }
            Command::Scan(scan) => self.scan(scan).await,
            Command::Keys(glob) => self.keys(glob).await,
            Command::Explain(command) => self.explain(command).await,
            _ => Ok(Reply::error("ERR this command is not known to the ring")),
        };
        done.unwrap_or_else(|error| Reply::from(&error))
    }

    async fn clear(self: &Arc<Self>, command: &Command, how: Consistency) -> Reply {
        let ranges = self.mastered();
        let mut replies: Vec<Option<Reply>> = vec![None; ranges.len()];
        let mut ops = Vec::with_capacity(ranges.len());
        for (place, range) in ranges.into_iter().enumerate() {
            match self.operation_on(range, place, command) {
                Ok(op) => ops.push(op),
                Err(reply) => replies[place] = Some(reply),
            }
        }
        self.run_ops(ops, how, &mut replies).await;
        let mut failed = replies.into_iter().flatten().filter(Reply::is_error);
        failed.next().unwrap_or(Reply::OK)
    }

    /// Some keys, and a cursor behind them.
    async fn scan(&self, scan: &ScanArgs) -> Result<Reply> {
        let (arc, mut behind) = match scan.cursor {
            0 => (0, None),
            cursor => self.cursors.lock().recall(cursor),
        };
        let wanted = usize::try_from(scan.count).unwrap_or(usize::MAX);
        let mut wanted = wanted.min(SCAN_COUNT_MOST);
        let of_type = scan.of_type.as_deref();
        let of_strings = of_type.is_none_or(|of_type| *of_type == *b"string");
        let mut found = Vec::new();
        let mut next = 0;
        for range in self.mastered() {
            let Ok(here) = u16::try_from(range) else {
                continue;
            };
            if here < arc {
                continue;
            }
            // If the arc where the scan stopped is mastered elsewhere by now, it goes on with the next.
            let after = behind.take().filter(|_| here == arc);
            let keys = self.keys_behind(range, after.as_deref(), wanted).await?;
            wanted -= keys.len();
            let last = keys.last().cloned();
            let is_wanted = |key: &Bytes| {
                let glob = scan.pattern.as_ref();
                of_strings && glob.is_none_or(|glob| pattern::matches(glob, key))
            };
            found.extend(keys.into_iter().filter(is_wanted).map(Reply::Bulk));
            if wanted == 0 {
                next = self.cursors.lock().remember(here, last);
                break;
            }
        }
        let next = Reply::text(next.to_string());
        Ok(Reply::Array(vec![next, Reply::Array(found)]))
    }

    async fn keys(&self, glob: &[u8]) -> Result<Reply> {
        let mut found = Vec::new();
        for range in self.mastered() {
            let mut behind: Option<Bytes> = None;
            loop {
                let keys = self
                    .keys_behind(range, behind.as_deref(), KEYS_AT_ONCE)
                    .await?;
                let is_last = keys.len() < KEYS_AT_ONCE;
                behind = keys.last().cloned();
                let matching = keys.into_iter().filter(|key| pattern::matches(glob, key));
                found.extend(matching.map(Reply::Bulk));
                if is_last {
                    break;
                }
            }
        }
        Ok(Reply::Array(found))
    }

    async fn keys_behind(
        &self,
        range: RangeId,
        behind: Option<&[u8]>,
        most: usize,
    ) -> Result<Vec<Bytes>> {
        let now_ms = self.runtime.wall_ms();
        self.store.keys(range, behind, most, now_ms).await
    }

    /// The path that a command's keys take. A read takes it indeed, as far as a copy that is here goes.
    async fn explain(self: &Arc<Self>, command: &Command) -> Result<Reply> {
        let mut lines = Vec::new();
        for key in command.keys() {
            let slot = slot_of(key);
            let range = RangeId::from(arc_of(slot));
            lines.push(format!(
                "key {}: slot {slot}, ring position {}, arc {range}",
                String::from_utf8_lossy(key),
                position_of(slot),
            ));
            let Some(quorum) = self.explain_range(range, &mut lines) else {
                continue;
            };
            if command.is_write() {
                lines.push(format!(
                    "logged, stored by {} of them, applied at the master",
                    quorum.acknowledge()
                ));
            } else if !self.explain_read(range, quorum, &mut lines).await {
                continue;
            }
            if self.is_here(range) {
                let explanation = self.store.db().explain(&place(key)).await?;
                lines.extend(explanation.to_string().lines().map(Into::into));
            }
        }
        Ok(Reply::Array(lines.into_iter().map(Reply::text).collect()))
    }

    /// Who holds a range; the quorums that hold for it, if a copy is here.
    fn explain_range(&self, range: RangeId, lines: &mut Vec<String>) -> Option<Quorum> {
        let shard = self.shards[self.shard_of(range)].lock();
        let Some(copy) = shard.node.range(range) else {
            let route = self.view.load().routes.get(range as usize).copied();
            let master = route.map_or("nobody who is known".into(), |node| node.to_string());
            lines.push(format!("no copy is here: sent on to {master}"));
            return None;
        };
        let voters = &copy.configuration().voters;
        let names: Vec<String> = voters
            .members
            .iter()
            .map(|member| member.node.to_string())
            .collect();
        let master = copy
            .master()
            .map_or("nobody".into(), |node| node.to_string());
        lines.push(format!(
            "master {master} in term {}, voters {}, N,W,R {}",
            copy.term(),
            names.join(" "),
            voters.quorum
        ));
        Some(voters.quorum)
    }

    /// Has a read confirmed, as for a client; whether the copy that is here may answer it.
    async fn explain_read(
        self: &Arc<Self>,
        range: RangeId,
        quorum: Quorum,
        lines: &mut Vec<String>,
    ) -> bool {
        let level = ReadLevel::Configured;
        let read = |request| NodeInput::Read {
            request,
            range,
            level,
        };
        let outcome = self.ask_one(range, Outcome::NotMaster(None), read).await;
        let heard = quorum.confirm();
        let line = match outcome {
            Outcome::Read {
                index,
                behind_ms: None,
            } => format!(
                "read here at index {index} or later, which the master named once {heard} of them had confirmed it"
            ),
            Outcome::Read {
                index,
                behind_ms: Some(ms),
            } => {
                format!("read here at index {index}, {ms} ms behind the master")
            }
            outcome => {
                lines.push(format!(
                    "not read here: {outcome:?}; sent on to another copy"
                ));
                return false;
            }
        };
        lines.push(line);
        true
    }
}
