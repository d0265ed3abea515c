//! A place for one thing that a callback will bring.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Context, Poll};

struct Shared<T> {
    value: Option<T>,
    waker: Option<task::Waker>,
}

/// Ready with what is put in.
pub(crate) struct Slot<T>(Rc<RefCell<Shared<T>>>);

/// Puts something in. Only the first counts.
pub(crate) struct Waker<T>(Rc<RefCell<Shared<T>>>);

impl<T> Clone for Waker<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// An empty slot and who fills it.
pub(crate) fn slot<T>() -> (Slot<T>, Waker<T>) {
    let shared = Rc::new(RefCell::new(Shared {
        value: None,
        waker: None,
    }));
    (Slot(shared.clone()), Waker(shared))
}

impl<T> Waker<T> {
    pub(crate) fn set(&self, value: T) {
        if super::is_poisoned() {
            return;
        }
        let waker = {
            let mut shared = self.0.borrow_mut();
            shared.value.get_or_insert(value);
            shared.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Slot<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut shared = self.0.borrow_mut();
        match shared.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                shared.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
