//! What a settle does, and when: at the end of its wait, whether anybody still waits or not.

use std::sync::Arc;
use std::task::Poll;

use super::disk::FileId;
use super::host::Handle;
use super::plan::{OpKind, Ticket};
use super::{Core, State};
use crate::storage::Durability;
use crate::{Error, ErrorKind, Result};

/// Pends as long as the plan says, or until a crash.
pub(super) async fn pause(core: &Arc<Core>, ticket: &Ticket) {
    let mut polls = ticket.polls;
    std::future::poll_fn(|context| {
        let mut state = core.state.lock();
        if state.crashed {
            return Poll::Ready(());
        }
        if polls > 0 {
            polls -= 1;
            drop(state);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if state.held.contains(&ticket.index) {
            state.waiting.insert(ticket.index, context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

/// One settle that has begun. Dropped before its end, it takes effect then.
pub(super) struct Settling {
    handle: Handle,
    writer: u64,
    upto: u64,
    to: Durability,
    ticket: Option<Ticket>,
}

impl Settling {
    pub(super) fn begin(handle: Handle, writer: u64, upto: u64, to: Durability) -> Result<Self> {
        let ticket = {
            let mut state = handle.core.state.lock();
            let file = state.disk.file(handle.file);
            let settled = match to {
                Durability::Written => file.live.len(),
                Durability::Synced => file.synced,
            };
            let bytes = upto.saturating_sub(settled as u64);
            let objects = vec![handle.object.clone()];
            let ticket = state.begin(OpKind::settle(to), objects, bytes)?;
            let file = state.disk.file(handle.file);
            if file.refusal(writer).is_none() && upto <= file.appended() as u64 {
                file.want(upto as usize, to);
            }
            ticket
        };
        Ok(Self {
            handle,
            writer,
            upto,
            to,
            ticket: Some(ticket),
        })
    }

    pub(super) async fn wait(mut self) -> Result<()> {
        if let Some(ticket) = &self.ticket {
            pause(&self.handle.core, ticket).await;
        }
        self.finish()
    }

    fn finish(&mut self) -> Result<()> {
        let Some(ticket) = self.ticket.take() else {
            return Ok(());
        };
        let mut state = self.handle.core.state.lock();
        state.finish(&ticket, |state| self.take_effect(state, &ticket))
    }

    fn take_effect(&self, state: &mut State, ticket: &Ticket) -> Result<()> {
        let (id, disk) = (self.handle.file, &mut state.disk);
        let file = disk.file(id);
        let appended = file.appended() as u64;
        if let Some(error) = file.refusal(self.writer) {
            return Err(error);
        }
        if self.upto > appended && file.broken.is_none() {
            let detail = format!("only {appended} bytes were appended");
            return Err(Error::new(ErrorKind::Invalid, "settling", detail).at(self.upto));
        }
        if ticket.crashes_during() {
            disk.settle_half(id, self.to);
            return Ok(());
        }
        match (ticket.planned_error(), self.to) {
            (None, _) => {}
            (Some(error), Durability::Synced) if error.kind() == ErrorKind::Failed => {
                self.write(state)?;
                let file = state.disk.file(id);
                file.unsyncable.get_or_insert_with(|| error.clone());
                return Err(error);
            }
            (Some(error), _) => {
                disk.break_writer(id, &error);
                return Err(error);
            }
        }
        self.write(state)?;
        match self.to {
            Durability::Written => Ok(()),
            Durability::Synced => self.sync(state),
        }
    }

    fn write(&self, state: &mut State) -> Result<()> {
        let written = state.disk.write(self.handle.file);
        // What failed may lie behind the bytes that this one waits for.
        if self.upto <= state.disk.file(self.handle.file).live.len() as u64 {
            return Ok(());
        }
        written
    }

    fn sync(&self, state: &mut State) -> Result<()> {
        let id: FileId = self.handle.file;
        let file = state.disk.file(id);
        match &file.unsyncable {
            Some(_) if self.upto <= file.synced as u64 && file.named => Ok(()),
            Some(error) => Err(error.clone()),
            None => {
                state.disk.sync(id);
                Ok(())
            }
        }
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        // Nobody waits for the outcome any more.
        let _ = self.finish();
    }
}
