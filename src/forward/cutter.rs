//! What can cut an answer at any moment, whether or not its caller reads it.
//!
//! An answer that nobody polls (a caller that does not read, a closed HTTP/2 window) still keeps the site at work. So the
//! connection to the site and the end that is told lie here, where whoever takes the authority away can take them too.
//!
//! *Invariant:* an attempt ends once: whoever takes the [`Open`] out is the only one who tells its end.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use super::{Failure, ending::Ending, link::Link};

/// A handle on one attempt. Clones are the same handle.
#[derive(Debug, Clone, Default)]
pub struct Cutter(Arc<Mutex<State>>);

/// Locked for one poll of the answer, or to cut it; never across an await.
#[derive(Default)]
pub(super) struct State {
    /// Set once.
    pub cut: Option<Failure>,
    /// None before the head of the answer came, and after its end.
    pub open: Option<Open>,
    waker: Option<Waker>,
}

/// An answer under way.
pub(super) struct Open {
    pub link: Box<Link>,
    pub ending: Ending,
}

impl Cutter {
    /// Cuts what is under way, now: the connection to the site is closed and the end is told before this returns. An answer
    /// that has ended stays as it was. The first reason counts.
    pub fn cut(&self, why: Failure) {
        let mut state = self.lock();
        if state.cut.is_some() {
            return;
        }
        state.cut = Some(why);
        let (open, waker) = (state.open.take(), state.waker.take());
        drop(state);
        if let Some(Open { link, ending }) = open {
            drop(link);
            ending.fail(why);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Why it was cut, if it was.
    pub(super) fn why(&self) -> Option<Failure> {
        self.lock().cut
    }

    /// Returns when it is cut.
    pub(super) async fn wait(&self) -> Failure {
        poll_fn(|context| {
            let mut state = self.lock();
            if let Some(why) = state.cut {
                return Poll::Ready(why);
            }
            state.wakes(context.waker());
            Poll::Pending
        })
        .await
    }

    /// The head of the answer came: from here on a cut takes this.
    pub(super) fn hand_over(&self, open: Open) {
        let mut state = self.lock();
        let Some(why) = state.cut else {
            state.open = Some(open);
            return;
        };
        drop(state);
        open.ending.fail(why);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Who is to be woken by a cut.
    pub fn wakes(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("State").field("cut", &self.cut).finish_non_exhaustive()
    }
}
