//! The traits that the engine sees: each operation is numbered, asks the plan, waits, takes effect.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::disk::FileId;
use super::plan::{OpKind, Ticket};
use super::settle::{Settling, pause};
use super::{Core, FaultyStorage, State};
use crate::storage::memory::{past_end, slice};
use crate::storage::{Contents, Durability, MaybeSend, Object, Reader, Storage, Writer};
use crate::{Error, ErrorKind, Result};

impl FaultyStorage {
    /// Runs one operation that is atomic, or whose `effect` asks the ticket how far to go.
    async fn run<T>(
        &self,
        kind: OpKind,
        objects: Vec<Object>,
        bytes: u64,
        effect: impl FnOnce(&mut State, &Ticket) -> Result<T>,
    ) -> Result<T> {
        let ticket = self.core.state.lock().begin(kind, objects, bytes)?;
        pause(&self.core, &ticket).await;
        self.core.finish(&ticket, effect)
    }

    fn handle(&self, object: Object, file: FileId) -> Handle {
        // The disk has counted this one already.
        Handle {
            core: self.core.clone(),
            object,
            file,
        }
    }
}

impl Core {
    fn finish<T>(
        &self,
        ticket: &Ticket,
        effect: impl FnOnce(&mut State, &Ticket) -> Result<T>,
    ) -> Result<T> {
        let mut state = self.state.lock();
        state.finish(ticket, |state| match ticket.planned_error() {
            Some(error) => Err(error),
            None => effect(state, ticket),
        })
    }
}

/// Keeps a file as long as somebody has it open.
pub(super) struct Handle {
    pub(super) core: Arc<Core>,
    pub(super) object: Object,
    pub(super) file: FileId,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({})", self.object)
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        self.core.state.lock().disk.file(self.file).handles += 1;
        Self {
            core: self.core.clone(),
            object: self.object.clone(),
            file: self.file,
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.state.lock().disk.close(self.file);
    }
}

impl Storage for FaultyStorage {
    type Writer = FaultyWriter;
    type Reader = FaultyReader;
    type Place = FaultyStorage;

    async fn load(&self) -> Result<Contents> {
        self.run(OpKind::Load, Vec::new(), 0, |state, ticket| {
            self.hold.take(&self.core.lock)?;
            let meta = state.disk.meta.as_ref().map(|meta| {
                let mut bytes = meta.to_vec();
                ticket.spoil(&mut bytes);
                bytes.into()
            });
            Ok(Contents {
                meta,
                objects: state.disk.objects(),
                host_epoch: Some(state.disk.host_epoch),
            })
        })
        .await
    }

    async fn commit(&self, meta: Bytes) -> Result<()> {
        let bytes = meta.len() as u64;
        self.run(OpKind::Commit, Vec::new(), bytes, |state, _| {
            state.disk.commit(meta)
        })
        .await
    }

    async fn create(&self, object: Object) -> Result<FaultyWriter> {
        let objects = vec![object.clone()];
        let create = |state: &mut State, _: &Ticket| state.disk.create(object.clone());
        let (file, writer) = self.run(OpKind::Create, objects, 0, create).await?;
        Ok(FaultyWriter {
            handle: self.handle(object, file),
            writer,
        })
    }

    async fn resume(&self, object: Object, cut_at: u64) -> Result<FaultyWriter> {
        let objects = vec![object.clone()];
        let resume = |state: &mut State, _: &Ticket| state.disk.resume(&object, cut_at);
        let (file, writer) = self.run(OpKind::Resume, objects, 0, resume).await?;
        Ok(FaultyWriter {
            handle: self.handle(object, file),
            writer,
        })
    }

    async fn open(&self, object: Object) -> Result<FaultyReader> {
        let objects = vec![object.clone()];
        let open = |state: &mut State, _: &Ticket| state.disk.open(&object);
        let (file, len) = self.run(OpKind::Open, objects, 0, open).await?;
        Ok(FaultyReader {
            handle: self.handle(object, file),
            len,
        })
    }

    async fn replace(&self, from: Object, to: Object) -> Result<()> {
        let objects = vec![from.clone(), to.clone()];
        self.run(OpKind::Replace, objects, 0, |state, _| {
            state.disk.replace(&from, to)
        })
        .await
    }

    async fn remove(&self, objects: Vec<Object>) -> Result<()> {
        self.run(OpKind::Remove, objects.clone(), 0, |state, ticket| {
            let end = if ticket.crashes_during() {
                objects.len() / 2
            } else {
                objects.len()
            };
            state.disk.remove(&objects[..end]);
            Ok(())
        })
        .await
    }

    async fn checkpoint(
        &self,
        to: FaultyStorage,
        objects: Vec<(Object, u64)>,
        meta: Bytes,
    ) -> Result<()> {
        let names = objects.iter().map(|(object, _)| object.clone()).collect();
        let bytes = objects.iter().map(|(_, len)| len).sum();
        self.run(OpKind::Checkpoint, names, bytes, |state, ticket| {
            if Arc::ptr_eq(&self.core, &to.core) {
                let detail = "a store cannot be its own checkpoint";
                return Err(Error::new(
                    ErrorKind::Invalid,
                    "making a checkpoint",
                    detail,
                ));
            }
            let copies = state.disk.copies(&objects)?;
            let meta = (!ticket.crashes_during()).then_some(meta);
            to.core.state.lock().disk.receive(copies, meta)
        })
        .await
    }

    async fn room(&self) -> Result<Option<u64>> {
        let room = |state: &mut State, _: &Ticket| Ok(state.disk.room());
        self.run(OpKind::Room, Vec::new(), 0, room).await
    }
}

/// Appends to an object of a [`FaultyStorage`].
#[derive(Debug)]
pub struct FaultyWriter {
    handle: Handle,
    writer: u64,
}

impl Writer for FaultyWriter {
    fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let objects = vec![self.handle.object.clone()];
        let core = &self.handle.core;
        let ticket = core
            .state
            .lock()
            .begin(OpKind::Append, objects, bytes.len() as u64)?;
        core.finish(&ticket, |state, ticket| {
            let file = state.disk.file(self.handle.file);
            let refusal = file.refusal(self.writer).or_else(|| file.broken.clone());
            if let Some(error) = refusal {
                return Err(error);
            }
            if ticket.crashes_during() {
                return Ok(file.append(&bytes[..bytes.len() / 2]));
            }
            Ok(file.append(bytes))
        })
    }

    fn settle(
        &self,
        upto: u64,
        to: Durability,
    ) -> impl Future<Output = Result<()>> + MaybeSend + use<> {
        let (handle, writer) = (self.handle.clone(), self.writer);
        async move { Settling::begin(handle, writer, upto, to)?.wait().await }
    }
}

/// Reads an object of a [`FaultyStorage`].
#[derive(Clone, Debug)]
pub struct FaultyReader {
    handle: Handle,
    len: u64,
}

impl FaultyReader {
    fn begin(&self, len: u32) -> Result<Ticket> {
        let objects = vec![self.handle.object.clone()];
        let mut state = self.handle.core.state.lock();
        state.begin(OpKind::Read, objects, u64::from(len))
    }

    fn finish(&self, ticket: &Ticket, offset: u64, len: u32) -> Result<Bytes> {
        self.handle.core.finish(ticket, |state, ticket| {
            let live = &state.disk.file(self.handle.file).live;
            let Some(bytes) = slice(live, offset, len) else {
                return Err(past_end(&self.handle.object, offset, len, live.len()));
            };
            let mut bytes = bytes.to_vec();
            ticket.spoil(&mut bytes);
            Ok(bytes.into())
        })
    }
}

impl Reader for FaultyReader {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_now(&self, offset: u64, len: u32) -> Option<Result<Bytes>> {
        if self.handle.core.state.lock().cold_reads {
            return None;
        }
        let ticket = self.begin(len);
        Some(ticket.and_then(|ticket| self.finish(&ticket, offset, len)))
    }

    async fn read_at(&self, offset: u64, len: u32) -> Result<Bytes> {
        let ticket = self.begin(len)?;
        pause(&self.handle.core, &ticket).await;
        self.finish(&ticket, offset, len)
    }
}
