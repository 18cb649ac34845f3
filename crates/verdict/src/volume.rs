//! What one decision uses up of thresholds: how many people's data goes where, under which regime.
//!
//! A cell counts when some row of the bundle asks `volume:` of it and nothing but a ground on file could keep that row from
//! mattering. Grounds do not decide it: what went under one ground is counted all the same when the next transfer rests on
//! another.
//!
//! *Invariant:* pure, and the same for a question that is refused: what is used up is for those to say who allow it.

use alloc::{collections::BTreeSet, string::String, vec::Vec};

use crate::{
    atom::Test,
    cell::{Literal, Truth},
    evaluate::{Scene, View},
    flow::{contradicting, legs},
    question::{Component, Question, Site, Window},
    release::released,
    rule::{Measure, Rulebook, Threshold},
    stamp,
};

/// What one component of a decision counts under one regime's thresholds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slice {
    /// Position in the question.
    pub component: usize,
    pub regime: String,
    /// Where the data is now.
    pub from: Option<String>,
    /// Ascending, as [`Slice::places`].
    pub categories: Vec<String>,
    /// Where it goes: where a flow ends, or where who receives it has its seat or a parent.
    pub places: Vec<String>,
    /// `None` when nobody knows.
    pub subjects: Option<u64>,
    /// Of whom the data is sensitive; all of them where that is not known.
    pub sensitive: Option<u64>,
}

/// The thresholds of one regime over one window.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counting {
    pub regime: String,
    pub window: Window,
    /// The first Unix second that counts.
    pub since: i64,
    pub measures: Vec<Measure>,
}

/// What this question at this site would use up at `at` (Unix seconds).
#[must_use]
pub fn slices(rulebook: &Rulebook, question: &Question, site: &Site, at: i64) -> Vec<Slice> {
    if rulebook.book().limits.thresholds.is_empty() {
        return Vec::new();
    }
    let view = View { rulebook, question, site, at };
    let (legs, subject, released) =
        (legs(question, site), question.subject.party(), released(view));
    let both = contradicting(question);
    let mut slices: Vec<Slice> = Vec::new();
    let components = question.components.iter().enumerate();
    let cells = components.flat_map(|(number, component)| {
        let pairs =
            component.regimes.iter().flat_map(|regime| legs.iter().map(move |leg| (regime, leg)));
        pairs.map(move |(regime, leg)| (number, component, regime, leg))
    });
    for (number, component, regime, leg) in cells {
        let (subject, both, released) = (&subject, both.as_ref(), &released);
        let scene = Scene { view, subject, both, released, number, component, regime, leg };
        for counted in counted(&scene) {
            add(&mut slices, &scene, counted);
        }
    }
    slices.sort();
    slices
}

/// What must be added up before a question with these slices is judged at `at` (Unix seconds).
#[must_use]
pub fn countings(rulebook: &Rulebook, slices: &[Slice], at: i64) -> Vec<Counting> {
    let regimes: BTreeSet<&str> = slices.iter().map(|slice| slice.regime.as_str()).collect();
    let mut countings: Vec<Counting> = Vec::new();
    for threshold in &rulebook.book().limits.thresholds {
        if !regimes.contains(threshold.regime.as_str()) {
            continue;
        }
        let since = begins(threshold, at);
        let same = |known: &&mut Counting| {
            known.regime == threshold.regime
                && (known.window, known.since) == (threshold.window, since)
        };
        match countings.iter_mut().find(same) {
            Some(known) => known.measures.push(threshold.measure),
            None => countings.push(Counting {
                regime: threshold.regime.clone(),
                window: threshold.window,
                since,
                measures: [threshold.measure].into(),
            }),
        }
    }
    for counting in &mut countings {
        counting.measures.sort_unstable();
        counting.measures.dedup();
    }
    countings.sort();
    countings
}

/// The first second of a threshold's window: 365 days ago to the second, or the year's first where the law is.
fn begins(threshold: &Threshold, at: i64) -> i64 {
    match threshold.window {
        Window::Rolling365d => at.saturating_sub(ROLLING_S).saturating_add(1),
        Window::CalendarYear => {
            stamp::year_began(at, threshold.zone.as_deref().and_then(stamp::offset).unwrap_or(0))
        }
    }
}

/// Regimes whose thresholds this cell adds to.
fn counted<'a>(scene: &Scene<'a>) -> BTreeSet<&'a str> {
    let (rulebook, profile) = (scene.view.rulebook, scene.view.question.profile);
    let Some(profile) = profile else { return BTreeSet::new() };
    let rows = rulebook.rows(profile, scene.regime, scene.leg.flow).iter();
    let mut counted = BTreeSet::new();
    for id in rows {
        let literals = rulebook.literals(*id);
        let asked: Vec<&str> =
            literals.iter().filter_map(|literal| volume(rulebook, *literal)).collect();
        if asked.is_empty() || !matters(scene, literals) {
            continue;
        }
        let thresholds = rulebook.book().limits.thresholds.iter();
        let met =
            thresholds.filter(|one| asked.contains(&one.id.as_str()) && scene.is_measured(one));
        counted.extend(met.map(|threshold| threshold.regime.as_str()));
    }
    counted
}

fn volume(rulebook: &Rulebook, literal: Literal) -> Option<&str> {
    match &rulebook.atom(literal.symbol)?.test {
        Test::Volume(id) => Some(id),
        _ => None,
    }
}

/// Nothing but a ground or a volume is false in the row.
fn matters(scene: &Scene<'_>, literals: &[Literal]) -> bool {
    literals.iter().all(|literal| {
        let Some(atom) = scene.view.rulebook.atom(literal.symbol) else { return false };
        if matches!(atom.test, Test::Volume(_) | Test::Ground(..)) {
            return true;
        }
        let found = scene.evaluate(atom);
        let found = if literal.negated { found.not() } else { found };
        found.truth != Truth::False
    })
}

fn add(slices: &mut Vec<Slice>, scene: &Scene<'_>, regime: &str) {
    let recipient = scene.leg.recipient.as_deref();
    let seat = recipient.and_then(|party| party.seat.as_deref());
    let parents = recipient.into_iter().flat_map(|party| &party.parents);
    let parents = parents.filter_map(|parent| parent.place.as_deref());
    let places = scene.leg.to.into_iter().chain(seat).chain(parents).map(String::from);
    let same = |known: &&mut Slice| known.component == scene.number && known.regime == regime;
    if let Some(known) = slices.iter_mut().find(same) {
        known.places.extend(places);
        known.places.sort_unstable();
        known.places.dedup();
        return;
    }
    let Component { from, origins, subjects, sensitive_subjects, .. } = scene.component;
    let mut slice = Slice {
        component: scene.number,
        regime: regime.into(),
        from: from.as_ref().or(origins.first()).cloned(),
        categories: scene.component.categories.clone(),
        places: places.collect(),
        subjects: *subjects,
        sensitive: sensitive_subjects.or(*subjects),
    };
    for list in [&mut slice.categories, &mut slice.places] {
        list.sort_unstable();
        list.dedup();
    }
    slices.push(slice);
}

const ROLLING_S: i64 = 365 * 86_400;
