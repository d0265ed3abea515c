//! Reading applied state for clients, once the range has said that it may be read.

use super::host::{Done, Host, Store};
use super::workload::Ask;
use super::world::Answer;
use crate::command::Reply;
use crate::ring::{RangeId, RequestId};
use crate::{Result, Runtime};

impl Host {
    /// Reads applied state for a client.
    pub(super) fn read(&self, request: RequestId, range: RangeId, ask: Ask) {
        let Some(running) = &self.running else {
            return;
        };
        let log_ms = running
            .node
            .range(range)
            .map_or(0, |range| range.applied_time_ms());
        let (store, wall_ms) = (running.store.clone(), self.process.wall_ms());
        self.run(async move {
            let read = async {
                let reply = answer(&store, range, &ask, log_ms).await?;
                let later = answer(&store, range, &ask, wall_ms.max(log_ms)).await?;
                // A life that is left differs at any two times; whether there is one does not.
                let elapse = match (&reply, &later) {
                    (Reply::Int(now), Reply::Int(then)) => (*now >= 0) != (*then >= 0),
                    (now, then) => now != then,
                };
                Ok(Answer::Read {
                    reply: Some(reply),
                    elapse,
                })
            };
            Done::Read(request, read.await)
        });
    }
}

/// What applied state answers to a reader to whom it is `now_ms`.
async fn answer(store: &Store, range: RangeId, ask: &Ask, now_ms: u64) -> Result<Reply> {
    match ask {
        Ask::Command(command) => store.read(command, now_ms).await,
        Ask::Scan => {
            let pairs = store.pairs(range, None, usize::MAX, now_ms).await?;
            let words = pairs.into_iter().flat_map(|(key, value)| [key, value]);
            Ok(Reply::Array(words.map(Reply::Bulk).collect()))
        }
    }
}
