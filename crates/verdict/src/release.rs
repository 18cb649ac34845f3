//! What a release lifts: the hold of its rules on exactly the facts, under exactly the rules, for which persons gave it.
//!
//! *Invariant:* a release makes a hold an allow and touches nothing else: no refusal, no missing fact, no obligation.

use alloc::{string::String, vec::Vec};

use crate::{
    cell::Truth,
    evaluate::View,
    finding::Finding,
    question::{Question, Release, Site},
    stamp::Stamp,
};

/// The releases of a question that count at one site.
pub(crate) struct Released<'a> {
    live: Vec<&'a Release>,
    turns: Option<i64>,
}

impl<'a> Released<'a> {
    /// The release that lifts the hold of this rule.
    pub(crate) fn by(&self, rule: &str) -> Option<&'a Release> {
        self.live.iter().find(|release| release.rules.iter().any(|own| own == rule)).copied()
    }

    /// When the first of them begins or ends (Unix seconds).
    pub(crate) const fn turns(&self) -> Option<i64> {
        self.turns
    }
}

/// Which releases count: given for these facts and this bundle, begun and not over. One that lacks any of it lifts
/// nothing.
pub(crate) fn released(view: View<'_>) -> Released<'_> {
    let mut released = Released { live: Vec::new(), turns: None };
    if view.question.releases.is_empty() {
        return released;
    }
    let facts = held_digest(view.question, view.site);
    let given = |release: &&Release| {
        release.facts.as_ref() == Some(&facts)
            && release.bundle.as_deref() == Some(view.rulebook.digest())
    };
    for release in view.question.releases.iter().filter(given) {
        let (Some(from), Some(until)) = (&release.valid_from, &release.valid_until) else {
            continue;
        };
        let live = Finding::between(view.at, Some(Stamp::starts(from)), Some(Stamp::ends(until)));
        released.turns = released.turns.into_iter().chain(live.turns).min();
        if live.truth == Truth::True {
            released.live.push(release);
        }
    }
    released
}

/// `sha256:` and hex over the canonical bytes of the question at this site, without what differs from one asking to the
/// next: `id`, `at`, what was counted before, and the releases themselves. What a release must name.
#[must_use]
pub fn held_digest(question: &Question, site: &Site) -> String {
    let question = Question {
        id: None,
        at: None,
        site: site.clone(),
        counters: Vec::new(),
        releases: Vec::new(),
        ..question.clone()
    };
    // every fact is a string, an integer, a flag or a list of them: this cannot fail
    crate::digest(&crate::canonical(&question).unwrap_or_default())
}
