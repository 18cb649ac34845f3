//! Recorded decisions judged again under another bundle: what would have been decided, and for which of them otherwise.
//!
//! What was recorded is given as leaves (docs/record.md, `decision`) and the facts that they name; judged with the pure
//! matcher alone, as the offline verifier does. Leaves that name facts judged before cost one lookup.
//!
//! *Invariant:* the report depends on the records and the rulebook alone, not on how many threads made it or in which order.

mod report;
mod tally;

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use verdict::Rulebook;

pub use report::Report;
pub use tally::Ways;

use tally::Tally;

/// Which decisions: those recorded from the first instant on and before the second, in Unix seconds.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub since: i64,
    pub until: i64,
}

/// Where the recorded facts are.
pub trait Recorded: Sync {
    /// The facts text of this SHA-256, or `None` when it is not kept any more.
    ///
    /// # Errors
    /// When it cannot be read, or is not the text of that digest.
    fn facts(&self, digest: &[u8; 32]) -> Result<Option<Vec<u8>>, String>;

    /// Calls back with each leaf of a piece that was fed.
    ///
    /// # Errors
    /// When the piece is not whole.
    fn leaves(&self, piece: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), String>;
}

/// Judges again what `feed` hands over, piece by piece, on this many threads.
///
/// # Errors
/// What `feed`, the reading of a piece or of facts reports first.
pub fn replay(
    rulebook: &Rulebook,
    span: Span,
    recorded: &dyn Recorded,
    threads: usize,
    feed: impl FnOnce(&mut dyn FnMut(Vec<u8>) -> bool) -> Result<(), String>,
) -> Result<Ways, String> {
    let (sender, receiver) = sync_channel(PIECES_MAX);
    let receiver = Mutex::new(receiver);
    thread::scope(|scope| {
        let work = || worker(rulebook, span, recorded, &receiver);
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let handed = hand_over(sender, feed);
        let mut ways = Ways::default();
        for worker in workers {
            let done = worker.join().map_err(|_| "a thread stopped".to_owned())?;
            ways.add(done?);
        }
        handed.map(|()| ways)
    })
}

/// When nobody takes pieces any more, a worker has failed, and says why itself. The last piece was handed over when this ends.
fn hand_over(
    sender: SyncSender<Vec<u8>>,
    feed: impl FnOnce(&mut dyn FnMut(Vec<u8>) -> bool) -> Result<(), String>,
) -> Result<(), String> {
    feed(&mut move |piece| sender.send(piece).is_ok())
}

fn worker(
    rulebook: &Rulebook,
    span: Span,
    recorded: &dyn Recorded,
    receiver: &Mutex<Receiver<Vec<u8>>>,
) -> Result<Ways, String> {
    let mut tally = Tally::new(rulebook, span, recorded)?;
    let next = || receiver.lock().ok().and_then(|receiver| receiver.recv().ok());
    let result = std::iter::from_fn(next).try_for_each(|piece| tally.piece(&piece));
    if result.is_err() {
        // so that the feeder is not left waiting for room
        while next().is_some() {}
    }
    result.map(|()| tally.ways)
}

/// Pieces that wait at once; the readers make them of some megabytes.
const PIECES_MAX: usize = 4;
