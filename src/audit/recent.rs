//! What this process committed a moment ago, while it is the one that makes the rows: they need not be read back.
//!
//! *Invariant:* what is given was committed here, and has the marks that the database has now.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::batch::Committed;

/// Of bounded size; what has no room is read from the database.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Somebody here makes rows of it.
    wanted: bool,
    /// Batches of each lane, in order.
    lanes: HashMap<u16, VecDeque<Arc<Committed>>>,
    bytes: usize,
}

impl Recent {
    /// From here on batches are kept, or none; what was kept before is dropped.
    pub fn keep(&self, wanted: bool) {
        Self::begin_again(self.lock(), wanted);
    }

    /// A batch that is durable.
    pub fn add(&self, lane: u16, batch: &Arc<Committed>) {
        let mut kept = self.lock();
        if !kept.wanted {
            return;
        }
        kept.bytes += cost(batch);
        kept.lanes.entry(lane).or_default().push_back(Arc::clone(batch));
        if kept.bytes > BYTES_MAX {
            Self::begin_again(kept, true);
        }
    }

    /// Frees what was kept when nobody waits for the lock any more: it may be much.
    fn begin_again(mut kept: MutexGuard<'_, Kept>, wanted: bool) {
        let before = std::mem::replace(&mut *kept, Kept { wanted, ..Kept::default() });
        drop(kept);
        drop(before);
    }

    /// The batch of a lane that begins at an index and has these marks, if it is here. What is before it is dropped.
    pub fn take(&self, lane: u16, first: u64, marks: &[u8]) -> Option<Arc<Committed>> {
        let mut kept = self.lock();
        let Kept { lanes, bytes, .. } = &mut *kept;
        let batches = lanes.get_mut(&lane)?;
        while let Some(batch) = batches.pop_front_if(|batch| batch.first_index() <= first) {
            *bytes -= cost(&batch);
            if batch.first_index() == first {
                return (batch.marks() == marks).then_some(batch);
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of memory, about: the leaves, and of the smallest batch its tree and its note.
fn cost(batch: &Committed) -> usize {
    batch.leaves().len() + 4_096
}

/// Half a second of some 30,000 requests a second.
const BYTES_MAX: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::batch::tests::committed;

    #[test]
    fn a_batch_is_given_once_in_order_and_by_its_marks() {
        let recent = Recent::default();
        let batches: Vec<_> = [0, 3, 6, 9].map(|first| committed(first, 3)).into();
        let given = |lane, n: usize, marks: usize| {
            let (first, marks) = (batches[n].first_index(), batches[marks].marks());
            recent.take(lane, first, marks).is_some_and(|one| Arc::ptr_eq(&one, &batches[n]))
        };
        recent.add(0, &batches[0]);
        assert!(!given(0, 0, 0), "nobody wants any");
        recent.keep(true);
        for batch in &batches {
            recent.add(0, batch);
        }
        assert!(!given(1, 0, 0), "of another lane");
        assert!(given(0, 0, 0) && !given(0, 0, 0), "once");
        assert!(given(0, 2, 2) && !given(0, 1, 1), "what lies before is not asked for again");
        assert!(!given(0, 3, 2), "other leaves stand there now");
        assert_eq!(recent.lock().bytes, 0);
    }

    #[test]
    fn it_never_holds_more_than_its_bound_and_forgets_with_whoever_wanted_it() {
        let recent = Recent::default();
        recent.keep(true);
        let batch = committed(0, 1_000);
        for _ in 0..=BYTES_MAX / cost(&batch) {
            recent.add(0, &batch);
            assert!(recent.lock().bytes <= BYTES_MAX);
        }
        assert!(recent.lock().lanes.is_empty(), "it began again");
        recent.keep(false);
        assert!(recent.lock().lanes.is_empty());
    }
}
