//! Appending to one file: a buffer, one write for all who wait for it, one sync for all who wait for that.
//!
//! After a failed write nothing more is written, after a failed sync nothing is synced: what the system then holds is
//! not known to be what was written.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use trilith::{Durability, Error, ErrorKind, Result, Writer};

use super::file::HostFile;
use super::host::{failure, settled};

/// A buffer this full is written on append.
const BUFFER_FULL: usize = 1 << 20;

/// Appends to one object. See [`trilith::Writer`].
pub struct HostWriter(Rc<Appended>);

/// What a writer and those who wait on it share.
pub(super) struct Appended {
    file: Rc<HostFile>,
    state: RefCell<State>,
    is_name_synced: Cell<bool>,
}

struct State {
    pending: Vec<u8>,
    end: u64,
    synced: u64,
    wanted_synced: u64,
    is_syncing: bool,
    waiting: Vec<Waker>,
    write_failed: Option<Error>,
    sync_failed: Option<Error>,
}

impl HostWriter {
    /// Goes on behind the first `len` bytes, which are synced.
    pub(super) fn new(file: Rc<HostFile>, len: u64) -> Self {
        file.written.set(len);
        Self(Rc::new(Appended {
            file,
            state: RefCell::new(State {
                pending: Vec::new(),
                end: len,
                synced: len,
                wanted_synced: 0,
                is_syncing: false,
                waiting: Vec::new(),
                write_failed: None,
                sync_failed: None,
            }),
            is_name_synced: Cell::new(len > 0),
        }))
    }

    pub(super) fn shared(&self) -> &Rc<Appended> {
        &self.0
    }
}

impl Writer for HostWriter {
    fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let state = &mut *self.0.state.borrow_mut();
        if let Some(error) = state.write_failed.as_ref().or(state.sync_failed.as_ref()) {
            return Err(error.clone());
        }
        state.pending.extend_from_slice(bytes);
        state.end += bytes.len() as u64;
        if state.pending.len() >= BUFFER_FULL {
            self.0.write_out(state)?;
        }
        Ok(state.end)
    }

    #[allow(
        refining_impl_trait,
        reason = "the enum of all storages names the future"
    )]
    fn settle(&self, upto: u64, to: Durability) -> Settle {
        Settle {
            appended: self.0.clone(),
            upto,
            to,
        }
    }
}

impl Appended {
    /// Takes no more: the object is written to by somebody else, or not at all any more.
    pub(super) fn retire(&self) {
        let error = Error::new(
            ErrorKind::Closed,
            "writing",
            "it was opened again elsewhere",
        );
        let waiting = {
            let state = &mut *self.state.borrow_mut();
            state
                .write_failed
                .get_or_insert(error.on(self.file.object()));
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    fn write_out(&self, state: &mut State) -> Result<()> {
        if let Some(error) = &state.write_failed {
            return Err(error.clone());
        }
        let at = self.file.written.get();
        if let Err(thrown) = self.file.write(at, &state.pending) {
            // A prefix may stay behind; replay recognises it, and resuming cuts it off.
            let _ = self.file.truncate(at);
            let error = failure("writing", &thrown).on(self.file.object()).at(at);
            state.write_failed = Some(error.clone());
            return Err(error);
        }
        self.file.written.set(at + state.pending.len() as u64);
        state.pending.clear();
        Ok(())
    }

    fn begin_sync(self: &Rc<Self>, state: &mut State) {
        if !std::mem::replace(&mut state.is_syncing, true) {
            let this = self.clone();
            wasm_bindgen_futures::spawn_local(async move { this.sync().await });
        }
    }

    /// Syncs until all who want it have it.
    async fn sync(&self) {
        loop {
            let upto = self.file.written.get();
            let synced = self.sync_once().await;
            let (waiting, is_done) = {
                let state = &mut *self.state.borrow_mut();
                match synced {
                    Ok(()) => state.synced = state.synced.max(upto),
                    Err(error) => {
                        // No room for the journal is still a failed sync: freeing some does not mend this file.
                        let error = error.on(self.file.object()).at(state.synced);
                        state.sync_failed = Some(error.into_kind(ErrorKind::Failed));
                    }
                }
                let is_done = state.sync_failed.is_some() || state.wanted_synced <= state.synced;
                state.is_syncing = !is_done;
                (std::mem::take(&mut state.waiting), is_done)
            };
            waiting.into_iter().for_each(Waker::wake);
            if is_done {
                return;
            }
        }
    }

    async fn sync_once(&self) -> Result<()> {
        let fail = |thrown| failure("syncing", &thrown);
        if !self.is_name_synced.get() {
            settled(self.file.host().sync_name(&self.file.name()))
                .await
                .map_err(fail)?;
            self.is_name_synced.set(true);
        }
        self.file.sync().await.map_err(fail)
    }
}

/// The wait for some bytes to reach a durability.
pub struct Settle {
    appended: Rc<Appended>,
    upto: u64,
    to: Durability,
}

impl Future for Settle {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let this = &*self;
        let state = &mut *this.appended.state.borrow_mut();
        let file = &this.appended.file;
        if state.synced >= this.upto {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = &state.sync_failed {
            return Poll::Ready(Err(error.clone()));
        }
        if this.upto > state.end {
            let detail = format!("only {} bytes were appended, not {}", state.end, this.upto);
            let error = Error::new(ErrorKind::Invalid, "settling", detail);
            return Poll::Ready(Err(error.on(file.object())));
        }
        if file.written.get() < this.upto
            && let Err(error) = this.appended.write_out(state)
        {
            return Poll::Ready(Err(error));
        }
        if this.to == Durability::Written {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = &state.write_failed {
            return Poll::Ready(Err(error.clone()));
        }
        state.wanted_synced = state.wanted_synced.max(this.upto);
        if !state
            .waiting
            .iter()
            .any(|waker| waker.will_wake(context.waker()))
        {
            state.waiting.push(context.waker().clone());
        }
        this.appended.begin_sync(state);
        Poll::Pending
    }
}
