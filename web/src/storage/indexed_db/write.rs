//! Appending to one object: into memory at once, into the database with the next transaction.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use js_sys::Uint8Array;
use trilith::{Durability, Error, ErrorKind, Object, Result, Writer};

use super::failure::Failure;
use super::name_of;
use super::queue::{Job, Queue, Request};
use super::rows::{File, ROW_BYTES, ROW_CLOSED_BYTES};
use super::transaction::Mode;

/// So much is written without anybody waiting for it, so that one who never settles holds little.
const BUFFER_FULL: usize = 1 << 20;

/// Appends to one object. See [`trilith::Writer`].
pub struct RowWriter(Rc<Appended>);

/// What a writer and those who wait on it share.
pub(super) struct Appended {
    file: Rc<File>,
    queue: Rc<Queue>,
    state: RefCell<State>,
    /// It is in the queue.
    queued: Cell<bool>,
}

struct State {
    /// Where the open row begins.
    row_start: u64,
    /// Everything from there on.
    bytes: Vec<u8>,
    end: u64,
    written: u64,
    synced: u64,
    /// What a transaction that is under way comes to.
    planned: Option<Planned>,
    /// A sync is wanted up to here.
    wanted_synced: u64,
    waiting: Vec<Waker>,
    failed: Option<Error>,
}

struct Planned {
    end: u64,
    row_start: u64,
    rows: Vec<u64>,
    mode: Mode,
}

impl Writer for RowWriter {
    fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let (end, is_full) = {
            let state = &mut *self.0.state.borrow_mut();
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            state.bytes.extend_from_slice(bytes);
            state.end += bytes.len() as u64;
            let planned = state
                .planned
                .as_ref()
                .map_or(state.written, |plan| plan.end);
            (state.end, state.end - planned >= BUFFER_FULL as u64)
        };
        if is_full {
            self.0.enqueue();
        }
        Ok(end)
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

impl RowWriter {
    /// Goes on behind the file's bytes, of which the last `tail` are its open row. Those before `synced` are known
    /// to survive a loss of power.
    pub(super) fn new(
        file: Rc<File>,
        queue: Rc<Queue>,
        row_start: u64,
        tail: Vec<u8>,
        synced: u64,
    ) -> Self {
        let end = row_start + tail.len() as u64;
        Self(Rc::new(Appended {
            file,
            queue,
            state: RefCell::new(State {
                row_start,
                bytes: tail,
                end,
                written: end,
                synced,
                planned: None,
                wanted_synced: 0,
                waiting: Vec::new(),
                failed: None,
            }),
            queued: Cell::new(false),
        }))
    }

    pub(super) fn shared(&self) -> &Rc<Appended> {
        &self.0
    }
}

impl Appended {
    fn enqueue(self: &Rc<Self>) {
        if !self.queued.replace(true) {
            self.queue.add(self.clone());
        }
    }

    /// Takes no more: the object is written to by somebody else, or not at all any more.
    pub(super) fn retire(&self) {
        let error = Error::new(
            ErrorKind::Closed,
            "writing",
            "it was opened again elsewhere",
        );
        self.fail(error);
    }

    fn fail(&self, error: Error) {
        let waiting = {
            let state = &mut *self.state.borrow_mut();
            let object = self.file.object.borrow().clone();
            state
                .failed
                .get_or_insert(error.on(object).at(state.written));
            state.bytes = Vec::new();
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Bytes that are at hand because they belong to the open row.
    pub(super) fn read(&self, offset: u64, len: usize) -> Option<Bytes> {
        let state = self.state.borrow();
        let from = usize::try_from(offset.checked_sub(state.row_start)?).ok()?;
        let bytes = state.bytes.get(from..from.checked_add(len)?)?;
        Some(Bytes::copy_from_slice(bytes))
    }

    fn has_settled(&self, state: &State, upto: u64, to: Durability) -> Option<Result<()>> {
        let settled = match to {
            Durability::Written => state.written,
            Durability::Synced => state.synced,
        };
        if settled >= upto {
            return Some(Ok(()));
        }
        if let Some(error) = &state.failed {
            return Some(Err(error.clone()));
        }
        (upto > state.end).then(|| {
            let detail = format!("only {} bytes were appended, not {upto}", state.end);
            let object = self.file.object.borrow().clone();
            Err(Error::new(ErrorKind::Invalid, "settling", detail).on(object))
        })
    }
}

impl Job for Appended {
    fn plan(&self, requests: &mut Vec<Request>) -> Mode {
        self.queued.set(false);
        let state = &mut *self.state.borrow_mut();
        if state.failed.is_some() || self.file.removed.get() {
            return Mode::Relaxed;
        }
        let mode = match state.wanted_synced > state.synced {
            true => Mode::Strict,
            false => Mode::Relaxed,
        };
        let mut planned = Planned {
            end: state.end,
            row_start: state.row_start,
            rows: Vec::new(),
            mode,
        };
        if state.end > state.written {
            plan_rows(&self.file, state, &mut planned, requests);
            let object = self.file.object.borrow();
            // The length of a segment is that of its rows: one request less for each lone write.
            if !matches!(*object, Object::Segment(_)) {
                requests.push(Request::PutObject {
                    name: name_of(&object),
                    file: self.file.id,
                    len: state.end,
                });
            }
        } else if mode == Mode::Strict {
            requests.push(Request::Sync);
        }
        state.planned = Some(planned);
        mode
    }

    fn done(&self, result: Result<(), Failure>) {
        let result = result.map_err(|failure| failure.into_error("writing"));
        let waiting = {
            let state = &mut *self.state.borrow_mut();
            let Some(planned) = state.planned.take() else {
                return;
            };
            if let Err(error) = result {
                state.failed.get_or_insert_with(|| {
                    error
                        .on(self.file.object.borrow().clone())
                        .at(state.written)
                });
                state.bytes = Vec::new();
            } else {
                // So it is, whether anybody wants to hear of it or not.
                planned
                    .rows
                    .iter()
                    .for_each(|&start| self.file.note_row(start));
                self.file.len.set(planned.end);
                let closed = (planned.row_start - state.row_start) as usize;
                state.bytes.drain(..closed.min(state.bytes.len()));
                state.row_start = planned.row_start;
                state.written = planned.end;
                if planned.mode == Mode::Strict {
                    state.synced = planned.end;
                }
            }
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Cuts what is in memory into rows. The last stays open while it is short.
fn plan_rows(file: &File, state: &State, planned: &mut Planned, requests: &mut Vec<Request>) {
    let is_table = matches!(*file.object.borrow(), Object::Table(_));
    let mut start = state.row_start;
    file.cache.forget_from(file.id, start);
    for row in state.bytes.chunks(ROW_BYTES) {
        planned.rows.push(start);
        requests.push(Request::PutRow {
            file: file.id,
            start,
            bytes: Uint8Array::from(row),
        });
        if is_table {
            file.cache.put(file.id, start, Bytes::copy_from_slice(row));
        }
        planned.row_start = start;
        start += row.len() as u64;
        if row.len() >= ROW_CLOSED_BYTES {
            planned.row_start = start;
        }
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
        let appended = &this.appended;
        {
            let state = &mut *appended.state.borrow_mut();
            if let Some(settled) = appended.has_settled(state, this.upto, this.to) {
                return Poll::Ready(settled);
            }
            if !state
                .waiting
                .iter()
                .any(|waker| waker.will_wake(context.waker()))
            {
                state.waiting.push(context.waker().clone());
            }
            if this.to == Durability::Synced {
                state.wanted_synced = state.wanted_synced.max(this.upto);
            }
            // What is under way may be all that is needed.
            if let Some(planned) = &state.planned
                && planned.end >= this.upto
                && (this.to == Durability::Written || planned.mode == Mode::Strict)
            {
                return Poll::Pending;
            }
        }
        appended.enqueue();
        Poll::Pending
    }
}
