//! What is known about one predicate: its truth, what is missing, and when it may turn.

use alloc::{string::String, vec, vec::Vec};

use crate::{cell::Truth, stamp::Stamp};

/// The truth of a predicate with what compose needs of it; none of this is part of a cell's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub truth: Truth,
    /// Paths of unknown facts; empty unless the truth is unknown.
    pub missing: Vec<String>,
    /// The first instant after now (Unix seconds) at which a date may change the truth.
    pub turns: Option<i64>,
    /// Index of the ground that made it true.
    pub ground: Option<usize>,
}

impl Finding {
    pub(crate) const fn known(holds: bool) -> Self {
        let truth = if holds { Truth::True } else { Truth::False };
        Self { truth, missing: Vec::new(), turns: None, ground: None }
    }

    pub(crate) fn unknown(path: String) -> Self {
        Self { truth: Truth::Unknown, missing: vec![path], turns: None, ground: None }
    }

    /// The comparison with `wanted`, or unknown when there is no value.
    pub(crate) fn compare<T: Copy>(
        value: Option<T>,
        wanted: impl FnOnce(T) -> bool,
        path: impl FnOnce() -> String,
    ) -> Self {
        value.map_or_else(|| Self::unknown(path()), |value| Self::known(wanted(value)))
    }

    /// True from `from` on and before `until`, in Unix seconds.
    pub(crate) fn between(at: i64, from: Option<i64>, until: Option<i64>) -> Self {
        let holds = from.is_none_or(|from| from <= at) && until.is_none_or(|until| at < until);
        let turns = from.into_iter().chain(until).filter(|turn| *turn > at).min();
        // once over it stays over
        let over = until.is_some_and(|until| until <= at);
        Self { turns: turns.filter(|_| !over), ..Self::known(holds) }
    }

    /// Not older than `age_s` seconds, and not of the future.
    pub(crate) fn fresh(
        at: i64,
        stamp: Option<&Stamp>,
        age_s: i64,
        path: impl FnOnce() -> String,
    ) -> Self {
        stamp.map_or_else(
            || Self::unknown(path()),
            |stamp| {
                let last = stamp.starts().saturating_add(age_s);
                Self::between(at, Some(stamp.starts()), Some(last.saturating_add(1)))
            },
        )
    }

    pub(crate) fn not(mut self) -> Self {
        self.truth = match self.truth {
            Truth::False => Truth::True,
            Truth::Unknown => Truth::Unknown,
            Truth::True => Truth::False,
        };
        self
    }

    pub(crate) fn and(self, other: impl FnOnce() -> Self) -> Self {
        // a falsehood without a date settles it: later conjuncts are not even looked at
        if self.truth == Truth::False && self.turns.is_none() {
            return self;
        }
        let other = other();
        if other.truth == Truth::False && other.turns.is_none() {
            return other;
        }
        let truth = self.truth.min(other.truth);
        let ground = other.ground.or(self.ground);
        self.join(other, truth, ground)
    }

    pub(crate) fn or(self, other: Self) -> Self {
        // a truth without a date settles it: nothing that runs out can end it
        let settles = |one: &Self| one.truth == Truth::True && one.turns.is_none();
        if settles(&self) {
            return self;
        }
        if settles(&other) {
            return other;
        }
        let truth = self.truth.max(other.truth);
        let ground = if self.truth == Truth::True { self.ground } else { other.ground };
        self.join(other, truth, ground)
    }

    pub(crate) fn any(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().fold(Self::known(false), Self::or)
    }

    pub(crate) fn all(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().fold(Self::known(true), |found, next| found.and(|| next))
    }

    /// The same truth, found in two ways: what turns either turns both.
    pub(crate) fn joined(self, other: Self) -> Self {
        let (truth, ground) = (self.truth, self.ground.or(other.ground));
        self.join(other, truth, ground)
    }

    /// What is not so is not denied but in doubt, and this is the fact.
    pub(crate) fn doubted(self, path: impl FnOnce() -> String) -> Self {
        match self.truth {
            Truth::False => Self { truth: Truth::Unknown, missing: [path()].into(), ..self },
            Truth::True | Truth::Unknown => self,
        }
    }

    fn join(mut self, other: Self, truth: Truth, ground: Option<usize>) -> Self {
        self.missing.extend(other.missing);
        if truth != Truth::Unknown {
            self.missing.clear();
        }
        let turns = self.turns.into_iter().chain(other.turns).min();
        Self { truth, turns, ground, ..self }
    }
}
