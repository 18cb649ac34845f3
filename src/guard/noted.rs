//! Receipts' trees of one lane that were let in and are not proven to be parts of its log yet.

use std::collections::BTreeMap;

use tlog::Hash;

/// Receipts' trees that were not proven to be parts of the log yet: by size the root, and since when.
#[derive(Debug)]
pub(super) struct Noted {
    trees: BTreeMap<u64, (Hash, i64)>,
    /// Of the oldest.
    since_ns: Option<i64>,
}

/// Whether a tree is one of the log.
pub(super) enum Fits {
    /// As far as can be told now.
    Yes,
    Fork(String),
    /// It cannot be told, and there is no room to remember it.
    Full,
}

impl Noted {
    /// As they were kept: size, root, and since when.
    pub fn new(kept: Vec<(u64, Hash, i64)>) -> Self {
        let trees = kept.into_iter().map(|(size, root, since_ns)| (size, (root, since_ns)));
        let mut noted = Self { trees: trees.collect(), since_ns: None };
        noted.remove(&[]);
        noted
    }

    /// What outlives the process: the smallest, which are the oldest.
    pub fn kept(&self) -> Vec<(u64, Hash, i64)> {
        let trees = self.trees.iter().take(AT_ONCE);
        trees.map(|(size, (root, since_ns))| (*size, *root, *since_ns)).collect()
    }

    /// Two trees of one size and different roots show a fork by themselves.
    pub fn add(&mut self, (size, root): (u64, Hash), now_ns: i64) -> Fits {
        match self.trees.get(&size) {
            Some((known, _)) if *known == root => Fits::Yes,
            Some(_) => Fits::Fork(format!(
                "two receipts have trees of {size} records with different roots"
            )),
            None if self.trees.len() >= NOTED_MAX => Fits::Full,
            None => {
                self.trees.insert(size, (root, now_ns));
                self.since_ns = Some(self.since_ns.map_or(now_ns, |since_ns| since_ns.min(now_ns)));
                Fits::Yes
            }
        }
    }

    /// Whether there is one of this size.
    pub fn has(&self, size: u64) -> bool {
        self.trees.contains_key(&size)
    }

    /// So many that they should be proven soon.
    pub fn are_many(&self) -> bool {
        self.trees.len() > NOTED_MAX / 2
    }

    /// Some of at most this size.
    pub fn up_to(&self, size: u64) -> Vec<(u64, Hash)> {
        self.trees.range(..=size).take(AT_ONCE).map(|(size, (root, _))| (*size, *root)).collect()
    }

    /// These are proven. One of the same size and another root stays.
    pub fn remove(&mut self, proven: &[(u64, Hash)]) {
        for (size, root) in proven {
            if self.trees.get(size).is_some_and(|(noted, _)| noted == root) {
                self.trees.remove(size);
            }
        }
        self.since_ns = self.trees.values().map(|(_, since_ns)| *since_ns).min();
    }

    /// Since when the oldest waits to be proven.
    pub const fn since_ns(&self) -> Option<i64> {
        self.since_ns
    }
}

/// Trees of a lane that are not proven yet: two hundred commits a second for as long as receipts alone are enough. Some 4 MB.
const NOTED_MAX: usize = 65_536;
/// Trees that are proven together: a tile of 8 kB each when they lie far apart.
pub(super) const AT_ONCE: usize = 1_024;

#[cfg(test)]
mod tests {
    //! What waits to be proven is neither forgotten nor without end.

    use super::*;

    #[test]
    fn what_is_noted_stays_until_it_is_proven() {
        let (mut noted, [one, other]) =
            (Noted::new(Vec::new()), [1, 2].map(|byte| Hash([byte; 32])));
        assert!(matches!(noted.add((7, one), 10), Fits::Yes));
        assert!(matches!(noted.add((7, one), 20), Fits::Yes));
        assert!(matches!(noted.add((9, one), 30), Fits::Yes));
        assert!(matches!(noted.add((7, other), 40), Fits::Fork(_)));
        assert_eq!((noted.up_to(8), noted.since_ns()), (vec![(7, one)], Some(10)));
        noted.remove(&[(7, other), (8, one)]);
        assert_eq!(Noted::new(noted.kept()).since_ns(), Some(10));
        noted.remove(&[(7, one)]);
        assert_eq!((noted.up_to(9), noted.since_ns()), (vec![(9, one)], Some(30)));
        noted.remove(&[(9, one)]);
        assert_eq!(noted.since_ns(), None);
    }

    #[test]
    fn what_finds_no_room_is_refused() {
        let (mut noted, root) = (Noted::new(Vec::new()), Hash([1; 32]));
        for size in 1..=NOTED_MAX as u64 {
            assert!(matches!(noted.add((size, root), 0), Fits::Yes));
        }
        assert!(matches!(noted.add((u64::MAX, root), 0), Fits::Full));
        assert!(matches!(noted.add((1, root), 0), Fits::Yes), "it is noted");
        assert_eq!(noted.up_to(u64::MAX).len(), AT_ONCE);
    }
}
