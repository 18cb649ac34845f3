//! What one task does after the reply, one after another, with room for so much.
//!
//! *Invariant:* putting something aside never waits; what finds no room is given up, and its owner is told.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

pub struct Later<T> {
    sender: mpsc::Sender<T>,
    /// Taken by the one task.
    receiver: Mutex<Option<mpsc::Receiver<T>>>,
}

impl<T> Later<T> {
    #[must_use]
    pub fn new(room: usize) -> Self {
        let (sender, receiver) = mpsc::channel(room);
        Self { sender, receiver: Mutex::new(Some(receiver)) }
    }

    /// False when there was no room.
    #[must_use]
    pub fn put(&self, what: T) -> bool {
        self.sender.try_send(what).is_ok()
    }

    /// What is put aside, in order; `None` for everybody after the first.
    pub fn take(&self) -> Option<mpsc::Receiver<T>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<T> std::fmt::Debug for Later<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Later")
    }
}
