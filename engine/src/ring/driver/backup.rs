//! A range for a backup: pinned here, once it is confirmed that this copy has everything that was acknowledged.

use std::sync::Arc;

use super::inner::Inner;
use super::options::Transport;
use crate::ring::effect::{Outcome, ReadLevel};
use crate::ring::ids::RangeId;
use crate::ring::node::NodeInput;
use crate::ring::store::RangeBackup;
use crate::{Error, ErrorKind, Result, Runtime, Storage};

fn failed(kind: ErrorKind, detail: impl Into<String>) -> Error {
    Error::new(kind, "backing a range up", detail)
}

impl<S: Storage, R: Runtime, T: Transport> Inner<S, R, T> {
    pub(super) async fn backup(self: &Arc<Self>, range: RangeId) -> Result<RangeBackup<S, R>> {
        if let Some(error) = self.failure() {
            return Err(error);
        }
        if !self.is_here(range) {
            return Err(failed(ErrorKind::Invalid, "no copy of it is here"));
        }
        // While a range is lent nobody else has a say in it, and what was acknowledged is applied.
        if let Some(turn) = self.lent.turn(range) {
            let pinned = self.store.backup(range).await?;
            if self.lent.turn(range) == Some(turn) {
                return Ok(pinned);
            }
        }
        let level = ReadLevel::Strong { at_least: 0 };
        let read = |request| NodeInput::Read {
            request,
            range,
            level,
        };
        let outcome = self.ask_one(range, Outcome::NotMaster(None), read).await;
        let Outcome::Read { index, .. } = outcome else {
            let detail = format!("this copy could not be confirmed: {outcome:?}");
            return Err(failed(ErrorKind::Failed, detail));
        };
        let pinned = self.store.backup(range).await?;
        if pinned.position().at.index < index {
            let detail = "the copy here is being replaced";
            return Err(failed(ErrorKind::Failed, detail));
        }
        Ok(pinned)
    }
}
