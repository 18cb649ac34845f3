//! How many obligations call for somebody, for operators.
//!
//! *Invariant:* labels are bounded: codes beyond the first [`CODES_MAX`] that were seen are counted together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicI64;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;

use super::{Obligation, State};

#[derive(Debug, Default)]
pub(super) struct Metrics {
    standing: Family<Label, Gauge<i64, AtomicI64>>,
    at: Gauge<i64, AtomicI64>,
    /// Codes that have a label, so that one of which nothing is left shows 0. Owned by this lock.
    codes: Mutex<BTreeSet<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    code: String,
    state: &'static str,
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        let standing = "Obligations that call for somebody, by code and state";
        registry.register("haetae_obligations", standing, self.standing.clone());
        let at = "Unix second at which obligations were last counted";
        registry.register("haetae_obligations_counted_at_seconds", at, self.at.clone());
    }

    /// All of this deployment, as they stand at `now` (Unix seconds).
    pub fn count(&self, all: &[Obligation], now: i64) {
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts: BTreeMap<(String, State), i64> = BTreeMap::new();
        for one in all {
            let known = codes.contains(&one.code) || codes.len() < CODES_MAX;
            let code = if known { one.code.clone() } else { OTHER.to_owned() };
            codes.insert(code.clone());
            *counts.entry((code, one.state)).or_default() += 1;
        }
        for code in codes.iter() {
            for state in SHOWN {
                let label = Label { code: code.clone(), state: state.name() };
                let count = counts.get(&(code.clone(), state)).copied().unwrap_or_default();
                self.standing.get_or_create(&label).set(count);
            }
        }
        self.at.set(now);
    }
}

const SHOWN: [State; 3] = [State::Broken, State::Overdue, State::Open];
/// A bundle has ten or so; those that were replaced keep theirs for as long as their obligations stand.
const CODES_MAX: usize = 64;
const OTHER: &str = "other";

#[cfg(test)]
mod tests {
    //! Proves that labels stay few and that what is done is not shown any more.

    use super::*;

    fn one(code: &str, state: State) -> Obligation {
        Obligation {
            id: String::new(),
            state,
            org: "o".into(),
            service: "s".into(),
            site: "x".into(),
            code: code.into(),
            period: "once".into(),
            first: 0,
            last: 0,
            decisions: 1,
            due: None,
            meaning: None,
            closed: None,
            checked: None,
        }
    }

    #[test]
    fn codes_are_bounded_and_what_is_closed_leaves_a_nought() {
        let (metrics, mut registry) = (Metrics::default(), Registry::default());
        metrics.register(&mut registry);
        let shown = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text
        };
        metrics.count(&[one("A", State::Overdue), one("A", State::Open)], 5);
        let text = shown();
        assert!(text.contains("haetae_obligations{code=\"A\",state=\"overdue\"} 1"), "{text}");
        assert!(text.contains("haetae_obligations_counted_at_seconds 5"), "{text}");
        metrics.count(&[one("A", State::Closed), one("A", State::Open)], 6);
        let text = shown();
        assert!(text.contains("haetae_obligations{code=\"A\",state=\"overdue\"} 0"), "{text}");
        assert!(text.contains("haetae_obligations{code=\"A\",state=\"open\"} 1"), "{text}");
        let many: Vec<Obligation> =
            (0..500).map(|number| one(&format!("C{number:03}"), State::Overdue)).collect();
        metrics.count(&many, 7);
        let text = shown();
        let lines = text.lines().filter(|line| line.contains("state=\"overdue\"")).count();
        assert_eq!(lines, CODES_MAX + 1, "and the rest as one");
        assert!(
            text.contains("haetae_obligations{code=\"other\",state=\"overdue\"} 437"),
            "{text}"
        );
    }
}
