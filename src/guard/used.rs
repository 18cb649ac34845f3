//! Each receipt once: a bitmap for each lane, because indexes are dense.
//!
//! *Invariant:* an index below a lane's base is refused. So what is forgotten can never be let in again, whatever its
//! record's time says.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::Refused;

/// What was used lately. Of bounded size: 8 MB a lane, and lanes are those of the trust file.
#[derive(Debug)]
pub(super) struct Used {
    /// Nothing older than this is let in, so it need not be remembered longer.
    window_ns: i64,
    lanes: Mutex<HashMap<Box<str>, Lane>>,
}

#[derive(Debug)]
struct Lane {
    /// Index of the first bit; a multiple of 64.
    base: u64,
    words: VecDeque<u64>,
    /// The highest index seen, now and when the window began.
    high: u64,
    high_before: u64,
    since_ns: i64,
}

impl Used {
    pub fn new(window_ns: i64) -> Self {
        Self { window_ns, lanes: Mutex::default() }
    }

    /// Whether [`Used::take`] would refuse the index, as far as is known now: nothing is marked.
    pub fn look(&self, origin: &str, index: u64) -> Result<(), Refused> {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.get(origin).map_or(Ok(()), |lane| lane.look(index))
    }

    /// Marks the index as used, or says that it was.
    pub fn take(&self, origin: &str, index: u64, now_ns: i64) -> Result<(), Refused> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get_mut(origin) {
            lane.turn(now_ns, self.window_ns);
            return lane.take(index);
        }
        let lane = lanes.entry(origin.into());
        lane.or_insert_with(|| Lane::beginning_at(index, now_ns)).take(index)
    }
}

impl Lane {
    fn beginning_at(index: u64, now_ns: i64) -> Self {
        // Others of the last minute may come after it.
        let base = index.saturating_sub(BEFORE_FIRST) / BITS * BITS;
        Self { base, words: VecDeque::new(), high: index, high_before: base, since_ns: now_ns }
    }

    /// A whole window after an index was seen, every lower one is too old: its record was written before.
    fn turn(&mut self, now_ns: i64, window_ns: i64) {
        // A clock that went back, or a request that was overtaken, leaves the window as it began: longer remembered, never
        // shorter, since `since_ns` only rises.
        if now_ns.saturating_sub(self.since_ns) >= window_ns {
            self.forget_below(self.high_before);
            self.high_before = self.high;
            self.since_ns = now_ns;
        }
    }

    fn forget_below(&mut self, index: u64) {
        let words = index.saturating_sub(self.base) / BITS;
        let held = usize::try_from(words).unwrap_or(usize::MAX).min(self.words.len());
        self.words.drain(..held);
        self.base += words * BITS;
    }

    fn look(&self, index: u64) -> Result<(), Refused> {
        let Some(place) = index.checked_sub(self.base) else { return Err(Refused::TooOld) };
        let word = usize::try_from(place / BITS).ok().and_then(|word| self.words.get(word));
        let is_used = word.is_some_and(|word| word & (1 << (place % BITS)) != 0);
        if is_used { Err(Refused::Used) } else { Ok(()) }
    }

    fn take(&mut self, index: u64) -> Result<(), Refused> {
        let Some(place) = index.checked_sub(self.base) else { return Err(Refused::TooOld) };
        self.high = self.high.max(index);
        if place / BITS >= WORDS_MAX {
            // Far more in a window than any gate writes: the oldest are forgotten, and so refused.
            self.forget_below(index - (WORDS_MAX - 1) * BITS);
        }
        let place = index - self.base;
        let word = usize::try_from(place / BITS).map_err(|_| Refused::Used)?;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let bit = 1_u64 << (place % BITS);
        let Some(word) = self.words.get_mut(word) else { return Err(Refused::Used) };
        if *word & bit != 0 {
            return Err(Refused::Used);
        }
        *word |= bit;
        Ok(())
    }
}

const BITS: u64 = 64;
/// 2^20 words are 8 MB and 67 million records: 65 s at a million a second.
const WORDS_MAX: u64 = 1 << 20;
/// Records of one lane in a minute at 17,000 a second.
const BEFORE_FIRST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    //! Against a set that forgets nothing: never the same index twice, and everything of the window is taken once.

    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const WINDOW: i64 = 65;

    proptest! {
        #[test]
        fn nothing_is_taken_twice(
            steps in proptest::collection::vec((0..4_000_u64, -3..40_i64), 1..300),
            start in prop_oneof![Just(0), Just(1 << 21), Just(u64::MAX / 2)],
        ) {
            let (used, origin) = (Used::new(WINDOW), "a/0");
            let (mut now, mut taken) = (1_000_i64, HashSet::new());
            for (offset, later) in steps {
                now += later;
                let index = start + offset;
                if used.take(origin, index, now).is_ok() {
                    prop_assert!(taken.insert(index), "{index} twice");
                }
                prop_assert!(used.look(origin, index).is_err(), "{index} is not free any more");
            }
        }

        /// Whatever the clock does, and however late a request comes: an index is given up only after a whole window in which
        /// a higher one had been seen.
        #[test]
        fn nothing_is_given_up_early(
            steps in proptest::collection::vec((0..4_000_u64, -200..200_i64), 1..300),
        ) {
            let (used, origin) = (Used::new(WINDOW), "a/0");
            let (mut latest, mut seen) = (i64::MIN, Vec::new());
            for (at, (offset, early)) in (0_i64..).step_by(10).zip(steps) {
                let (index, now) = ((1 << 30) + offset, at + early);
                latest = latest.max(now);
                if used.take(origin, index, now) == Err(Refused::TooOld) {
                    let gone = |(high, at): &(u64, i64)| *high > index && at + WINDOW <= latest;
                    prop_assert!(seen.iter().any(gone), "{index} at {now}");
                } else {
                    seen.push((index, now));
                }
            }
        }

        /// Indexes as a lane gives them, each seen within the window of its writing, in any order.
        #[test]
        fn what_is_fresh_is_taken(delays in proptest::collection::vec(0..WINDOW, 1..400)) {
            let (used, origin) = (Used::new(WINDOW), "a/0");
            let each = (0_i64..).zip(0_u64..).zip(&delays);
            let mut arrivals: Vec<_> = each.map(|((at, index), delay)| (at + delay, index)).collect();
            arrivals.sort_unstable();
            for (now, index) in arrivals {
                prop_assert_eq!(used.take(origin, index, now), Ok(()));
                prop_assert_eq!(used.take(origin, index, now), Err(Refused::Used));
            }
        }
    }

    #[test]
    fn lanes_are_told_apart_and_a_leap_forgets_only_what_it_then_refuses() {
        let (used, a, b) = (Used::new(WINDOW), "a/0", "b/0");
        assert_eq!(used.take(a, 5, 0), Ok(()));
        assert_eq!(used.take(b, 5, 0), Ok(()));
        assert_eq!(used.take(a, WORDS_MAX * BITS * 3, 0), Ok(()));
        assert_eq!(used.take(a, 5, 0), Err(Refused::TooOld));
        assert_eq!(used.take(a, WORDS_MAX * BITS * 3, 0), Err(Refused::Used));
        assert_eq!(used.take(a, WORDS_MAX * BITS * 3 - 1, 0), Ok(()));
    }
}
