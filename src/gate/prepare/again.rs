//! Judged again on what others have used up: what must be locked for it, what is said of it, what an allow uses up itself.

use std::sync::Arc;

use verdict::facts::Facts;
use verdict::question::{Counter, Question, Release, Site};
use verdict::reason::Reason;
use verdict::volume::{self, Slice};

use super::Prepared;
use crate::policy::Bundle;
use crate::registry::SENT;
use crate::reserve::{Once, Sought, Uses};

/// What is known only while it is locked: what others have used up.
#[derive(Debug, Clone, Default)]
pub struct More {
    pub counters: Vec<Counter>,
    /// What persons released of this very request and nobody used.
    pub releases: Vec<Release>,
    /// Grounds that serve once and did.
    pub grounds_used: Vec<String>,
}

impl More {
    /// As facts of a question.
    pub(super) fn say(&self, question: &mut Question) {
        question.counters.clone_from(&self.counters);
        question.releases.clone_from(&self.releases);
        let free = |id: &String| !self.grounds_used.contains(id);
        question.grounds.retain(|ground| ground.id.as_ref().is_none_or(free));
    }
}

/// A judgement on what others have used up, with the facts that say what it would use up itself.
pub struct Again {
    pub prepared: Arc<Prepared>,
    /// `None`: there was none to judge with, so it is a refusal.
    pub(super) bundle: Option<Arc<Bundle>>,
    pub(super) facts: Facts,
}

impl Again {
    /// What an allow of it at this site uses up.
    pub fn uses(&self, site: &str) -> Uses {
        let Some(bundle) = &self.bundle else { return Uses::default() };
        let question = &self.facts.question;
        let at_s = self.prepared.judged_at;
        let chosen = self.facts.sites.iter().find(|one| one.id.as_deref() == Some(site));
        let slices = chosen.map(|site| slices(bundle, &self.facts, site, at_s));
        let told = self.prepared.judgement.candidates.iter().find(|one| one.site == site);
        let reasons = told.into_iter().flat_map(|one| &one.decision.reasons);
        let mut once: Vec<Once> = Vec::new();
        for why in reasons {
            let Some(id) = &why.ground else { continue };
            let by_ground = |one: &verdict::question::Ground| {
                one.details.single_use && one.id.as_ref() == Some(id)
            };
            if why.code == Reason::Released {
                once.push(Once::Release(id.clone()));
            } else if question.grounds.iter().any(by_ground) {
                once.push(Once::Ground(id.clone()));
            }
        }
        once.sort_unstable();
        once.dedup();
        Uses { entity: entity(&self.facts), at_s, slices: slices.unwrap_or_default(), once }
    }
}

/// What any candidate site would use up.
pub(super) fn sought(bundle: &Bundle, facts: &Facts, now: i64) -> Sought {
    if !facts.gaps.is_empty() {
        return Sought::default();
    }
    let slices: Vec<Slice> =
        facts.sites.iter().flat_map(|site| slices(bundle, facts, site, now)).collect();
    let once = facts.question.grounds.iter().filter(|ground| ground.details.single_use);
    Sought {
        entity: entity(facts),
        countings: volume::countings(bundle.rules(), &slices, now),
        once: once.filter_map(|ground| ground.id.clone().map(Once::Ground)).collect(),
    }
}

/// What the request's own content counts: it has the labels of every dataset and the sum of their people, so the others
/// would be counted twice.
fn slices(bundle: &Bundle, facts: &Facts, site: &Site, at: i64) -> Vec<Slice> {
    let components = &facts.question.components;
    let sent = components.iter().position(|one| one.dataset.as_deref() == Some(SENT));
    let mut slices = volume::slices(bundle.rules(), &facts.question, site, at);
    slices.retain(|slice| sent.is_none_or(|sent| slice.component == sent));
    slices
}

/// Whose counters: the legal entity, so that two organisations of one share them.
fn entity(facts: &Facts) -> Arc<str> {
    let subject = &facts.question.subject;
    subject.entity.as_deref().or(subject.org.as_deref()).unwrap_or_default().into()
}
