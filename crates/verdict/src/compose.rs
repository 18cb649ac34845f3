//! One question at one site: all its cells, each matched by symbols and then filled in again with ids, dates and texts.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec,
    vec::Vec,
};
use core::cmp::Reverse;

use crate::{
    atom::Test,
    cell::{Matcher, Matches, RowId},
    decision::{CellOutcome, CellRef, Outcome, Why},
    evaluate::{Scene, View},
    explain::{self, UNKNOWN},
    flow::{contradicting, legs},
    judge::allows,
    question::{Component, Ground, Identifiability, Profile},
    reason::Reason,
    release::released,
    rule::{Kind, Mode, Out, Row, Rulebook},
    rulebook::NO_REGIME,
    symbols::{Abstract, make_abstract},
};

/// All cells judged.
pub(crate) struct Composed {
    pub outcome: Outcome,
    pub reasons: Vec<Why>,
    pub obligations: Vec<String>,
    pub cells: Vec<CellOutcome>,
    /// Unix seconds.
    pub valid_until: Option<i64>,
    /// The cells that refuse or hold, for remedies.
    pub refused: Vec<Refused>,
}

/// A cell by its numbers: component of the question, regime, flow in the order of [`legs`].
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub component: usize,
    pub regime: String,
    pub leg: usize,
}

/// What one cell gives to the whole.
struct CellVerdict {
    outcome: Outcome,
    reasons: Vec<(Outcome, Why)>,
    obligations: Vec<String>,
    rules: Vec<String>,
    turns: Option<i64>,
}

/// Judges every component under each of its regimes in every flow; the worst wins.
pub(crate) fn compose(view: View<'_>, matcher: &mut dyn Matcher) -> Composed {
    let question = view.question;
    let mut whole = Whole::default();
    whole.missing(view.rulebook, unasked(view));
    for facts in contradictions(view) {
        whole.contradicted(view.rulebook, &facts);
    }
    let (legs, subject) = (legs(question, view.site), question.subject.party());
    let (both, released) = (contradicting(question), released(view));
    for (number, component) in question.components.iter().enumerate() {
        let mut regimes: Vec<&str> = component.regimes.iter().map(String::as_str).collect();
        regimes.sort_unstable();
        regimes.dedup();
        if regimes.is_empty() {
            regimes.push(NO_REGIME);
        }
        for regime in regimes {
            for (place, leg) in legs.iter().enumerate() {
                let scene = Scene {
                    view,
                    subject: &subject,
                    both: both.as_ref(),
                    released: &released,
                    number,
                    component,
                    regime,
                    leg,
                };
                let at = cell_ref(&scene);
                let found = match question.profile {
                    Some(profile) => judge_cell(&scene, &at, profile, matcher),
                    None => CellVerdict::refuse(Vec::new()),
                };
                let cell = Refused { component: number, regime: regime.into(), leg: place };
                whole.refused.extend((!allows(found.outcome)).then_some(cell));
                whole.add(at, found);
            }
        }
    }
    if let Some(both) = &both {
        whole.needed(view.rulebook, &both.paths);
    }
    whole.turns = whole.turns.into_iter().chain(released.turns()).min();
    whole.finish(view.rulebook)
}

fn cell_ref(scene: &Scene<'_>) -> CellRef {
    CellRef {
        component: scene.component.dataset.clone().unwrap_or_else(|| UNKNOWN.into()),
        regime: scene.regime.into(),
        flow: scene.leg.flow,
        to: scene.leg.to.unwrap_or(UNKNOWN).into(),
    }
}

fn judge_cell(
    scene: &Scene<'_>,
    at: &CellRef,
    profile: Profile,
    matcher: &mut dyn Matcher,
) -> CellVerdict {
    let rulebook = scene.view.rulebook;
    let unknown = unknown_ends(scene);
    if !unknown.is_empty() {
        return CellVerdict::refuse(vec![explain::missing(rulebook, None, Some(at), unknown)]);
    }
    let cell = make_abstract(scene, profile);
    match matcher.matches(rulebook, &cell.key) {
        Ok(found) => fill_in(scene, at, &cell, &found),
        Err(disagreement) => {
            let mut why = explain::why(rulebook, Reason::EngineDisagreement, None, Some(at));
            why.text.en = format!("{} {}", why.text.en, disagreement.what);
            CellVerdict::refuse(vec![why])
        }
    }
}

/// What no question can be judged without: which data, which site, who gets the result, and by which rules.
fn unasked(view: View<'_>) -> Vec<String> {
    let (question, recipient) = (view.question, &view.question.recipient);
    let absent = [
        ("profile", question.profile.is_none()),
        ("components", question.components.is_empty()),
        ("site.id", view.site.id.is_none()),
        ("recipient.entity", recipient.entity.is_none() && !recipient.same_entity),
    ];
    absent.into_iter().filter(|(_, absent)| *absent).map(|(path, _)| path.into()).collect()
}

/// Facts of the question that cannot both be true, as their paths: who gets the result cannot be the subject itself under
/// another name, one id cannot stand for two grounds, and what is declared non-personal, and passes for that, cannot be of
/// a kind that is about persons.
fn contradictions(view: View<'_>) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let (subject, recipient) = (&view.question.subject.entity, &view.question.recipient);
    let names = subject.as_ref().zip(recipient.entity.as_ref());
    if recipient.same_entity && names.is_some_and(|(own, other)| own != other) {
        found.push(SAME_ENTITY.map(String::from).into());
    }
    let mut known: BTreeMap<&str, (usize, &Ground)> = BTreeMap::new();
    for (number, ground) in view.question.grounds.iter().enumerate() {
        let Some(id) = ground.id.as_deref() else { continue };
        let (first, other) = *known.entry(id).or_insert((number, ground));
        if other != ground {
            found.push([first, number].map(|place| format!("grounds[{place}].id")).into());
        }
    }
    for (number, component) in view.question.components.iter().enumerate() {
        if component.identifiability == Some(Identifiability::NonPersonal)
            && leans_on_its_claim(view.rulebook, component)
        {
            let own = |key| format!("components[{number}].{key}");
            found.push(vec![own("identifiability"), own("categories")]);
        }
    }
    found
}

/// Data of a kind that is about persons, which no transfer regime judges: all depends on what it is declared to be.
fn leans_on_its_claim(rulebook: &Rulebook, component: &Component) -> bool {
    let is_transfer =
        |id: &String| rulebook.regime(id).is_none_or(|regime| regime.mode == Mode::Transfer);
    !component.regimes.iter().any(is_transfer)
        && component.categories.iter().any(|category| rulebook.is_personal(category))
}

/// Which data, where it ends and who receives it are needed by every cell.
fn unknown_ends(scene: &Scene<'_>) -> Vec<String> {
    let leg = scene.leg;
    let mut unknown = Vec::new();
    if scene.component.dataset.is_none() {
        unknown.push(scene.own("dataset"));
    }
    if leg.to.is_none() {
        unknown.push(leg.to_path.clone());
    }
    if leg.recipient.is_none() {
        unknown.push(leg.recipient_path.clone());
    }
    unknown
}

/// Rows back to reasons: restrictions all count, of the permits the best.
fn fill_in(scene: &Scene<'_>, at: &CellRef, cell: &Abstract, matches: &Matches) -> CellVerdict {
    let rulebook = scene.view.rulebook;
    let mut verdict = CellVerdict::allow();
    for (id, row) in rows(rulebook, &matches.sure, Kind::Restrict) {
        let (outcome, why) = matched(scene, cell, at, id, row);
        verdict.add(outcome, why);
        verdict.obligations.extend(row.obligations.iter().cloned());
    }
    for (id, row) in rows(rulebook, &matches.possible, Kind::Restrict) {
        let paths = cell.missing(rulebook, id);
        let why = explain::missing(rulebook, Some(&row.rule), Some(at), paths);
        verdict.add(Outcome::Deny, why);
    }
    let best = match rulebook.regime(scene.regime) {
        Some(regime) if regime.mode == Mode::Transfer => {
            let permits = rows(rulebook, &matches.sure, Kind::Permit);
            let best = permits.min_by_key(|(id, row)| (row.out, *id));
            match best {
                Some((id, row)) => verdict.permit(scene, cell, at, id, row),
                None => no_permit(scene, cell, at, matches, &mut verdict),
            }
            best.map(|(id, _)| id)
        }
        Some(_) if leans_on_its_claim(rulebook, scene.component) => {
            undeclared(scene, at, &mut verdict);
            None
        }
        Some(_) => None,
        None => {
            without_regime(scene, at, &mut verdict);
            None
        }
    };
    verdict.turns = cell.turns(rulebook, best);
    verdict
}

/// What a matching row says and why: a hold that was released is none any more. No other row is ever milder than written.
fn matched(
    scene: &Scene<'_>,
    cell: &Abstract,
    at: &CellRef,
    id: RowId,
    row: &Row,
) -> (Outcome, Why) {
    let rulebook = scene.view.rulebook;
    if row.out == Out::Hold
        && let Some(release) = scene.released.by(&row.rule)
    {
        let why = explain::why(rulebook, Reason::Released, Some(&row.rule), Some(at));
        return (Outcome::Allow, Why { ground: release.id.clone(), ..why });
    }
    let by_order = rulebook.literals(id).iter().any(|literal| {
        let atom = rulebook.atom(literal.symbol);
        !literal.negated && atom.is_some_and(|atom| matches!(atom.test, Test::Order(_)))
    });
    let code = match row.out {
        Out::Deny if by_order => Reason::OrderInForce,
        Out::Deny => Reason::DeniedByRule,
        Out::Hold => Reason::HeldByRule,
        Out::Oblige | Out::Allow => Reason::AllowedByRule,
    };
    let why = explain::why(rulebook, code, Some(&row.rule), Some(at));
    let facts = match row.out {
        Out::Deny | Out::Hold => scene.deciding(rulebook.literals(id)),
        Out::Oblige | Out::Allow => Vec::new(),
    };
    (row.out.into(), Why { ground: cell.ground(scene, id), facts, ..why })
}

/// No row permits: the rules whose ground is on file but does not carry the cell, then the rule that asks for one.
fn no_permit(
    scene: &Scene<'_>,
    cell: &Abstract,
    at: &CellRef,
    matches: &Matches,
    verdict: &mut CellVerdict,
) {
    let rulebook = scene.view.rulebook;
    let mut missing = BTreeSet::new();
    for (id, _) in rows(rulebook, &matches.possible, Kind::Permit) {
        missing.extend(cell.missing(rulebook, id));
    }
    let all = rulebook.rows(cell.key.profile, &cell.key.regime, cell.key.flow);
    let requires = rulebook.regime(scene.regime).and_then(|regime| regime.requires.as_deref());
    let mut carried: Vec<(Option<&str>, Option<String>)> = Vec::new();
    for (id, row) in rows(rulebook, all, Kind::Permit) {
        if let Some(ground) = cell.ground(scene, id)
            && !carried.iter().any(|(rule, _)| *rule == Some(row.rule.as_str()))
        {
            carried.push((Some(&row.rule), Some(ground)));
        }
    }
    if !carried.iter().any(|(rule, _)| *rule == requires) {
        carried.push((requires, None));
    }
    for (rule, ground) in carried {
        let mut why = explain::why(rulebook, Reason::NoGround, rule, Some(at));
        why.ground = ground;
        let asked = rows(rulebook, all, Kind::Permit).filter(|(_, row)| Some(&*row.rule) == rule);
        why.facts = scene.without_ground(&asked.map(|(id, _)| id).collect::<Vec<_>>());
        explain::not_begun(rulebook, &mut why, scene.view.at);
        why.missing = missing.iter().cloned().collect();
        if !why.missing.is_empty() {
            let list = explain::quoted(&why.missing);
            why.text.en = format!("{} Not known: {list}.", why.text.en);
            why.text.ko = format!("{} 알 수 없는 사실: {list}.", why.text.ko);
        }
        verdict.add(Outcome::Deny, why);
    }
}

/// A component that no regime covers must be declared non-personal; that it was anonymised or made up is a claim which a
/// regime would have to judge.
fn without_regime(scene: &Scene<'_>, at: &CellRef, verdict: &mut CellVerdict) {
    let path = match scene.component.identifiability {
        Some(Identifiability::NonPersonal) => return,
        Some(_) => "regimes",
        None => "identifiability",
    };
    let why = explain::missing(scene.view.rulebook, None, Some(at), vec![scene.own(path)]);
    verdict.add(Outcome::Deny, why);
}

/// Only floors apply to data that is about persons: were it declared non-personal, the facts would contradict each other,
/// so not to declare it must not be the way round that.
fn undeclared(scene: &Scene<'_>, at: &CellRef, verdict: &mut CellVerdict) {
    if scene.component.identifiability.is_none() {
        let paths = vec![scene.own("identifiability")];
        verdict.add(Outcome::Deny, explain::missing(scene.view.rulebook, None, Some(at), paths));
    }
}

fn rows<'a>(
    rulebook: &'a Rulebook,
    ids: &'a [RowId],
    kind: Kind,
) -> impl Iterator<Item = (RowId, &'a Row)> {
    let rows = ids.iter().filter_map(move |id| rulebook.row(*id).map(|row| (*id, row)));
    rows.filter(move |(_, row)| row.kind == kind)
}

impl CellVerdict {
    fn allow() -> Self {
        Self {
            outcome: Outcome::Allow,
            reasons: Vec::new(),
            obligations: Vec::new(),
            rules: Vec::new(),
            turns: None,
        }
    }

    fn refuse(reasons: Vec<Why>) -> Self {
        let mut verdict = Self { outcome: Outcome::Deny, ..Self::allow() };
        for why in reasons {
            verdict.add(Outcome::Deny, why);
        }
        verdict
    }

    /// A reason; of the reasons that one rule gives for one cell only the worst stays.
    fn add(&mut self, outcome: Outcome, why: Why) {
        self.outcome = self.outcome.max(outcome);
        if let Some(rule) = &why.rule
            && !self.rules.contains(rule)
        {
            self.rules.push(rule.clone());
        }
        let same = |(_, known): &&mut (Outcome, Why)| known.rule == why.rule && why.rule.is_some();
        match self.reasons.iter_mut().find(same) {
            Some(known) if known.0 < outcome => *known = (outcome, why),
            Some(known) if known.1.code == why.code => {
                known.1.missing.extend(why.missing);
                known.1.missing.sort();
                known.1.missing.dedup();
            }
            Some(_) => {}
            None => self.reasons.push((outcome, why)),
        }
    }

    fn permit(&mut self, scene: &Scene<'_>, cell: &Abstract, at: &CellRef, id: RowId, row: &Row) {
        let (outcome, why) = matched(scene, cell, at, id, row);
        self.obligations.extend(row.obligations.iter().cloned());
        self.add(outcome, why);
    }
}

/// Cells as they add up.
#[derive(Default)]
struct Whole {
    reasons: Vec<(Outcome, Why)>,
    obligations: BTreeSet<String>,
    cells: Vec<CellOutcome>,
    turns: Option<i64>,
    refused: Vec<Refused>,
    /// Something precedes the cells.
    broken: bool,
}

impl Whole {
    fn missing(&mut self, rulebook: &Rulebook, paths: Vec<String>) {
        if !paths.is_empty() {
            self.broken = true;
            self.reasons.push((Outcome::Deny, explain::missing(rulebook, None, None, paths)));
        }
    }

    fn contradicted(&mut self, rulebook: &Rulebook, facts: &[String]) {
        let rule = rulebook.book().missing_rule.as_deref();
        let mut why = explain::why(rulebook, Reason::Contradiction, rule, None);
        let facts = explain::quoted(facts);
        why.text.en = format!("{facts}: {}", why.text.en);
        why.text.ko = format!("{facts}: {}", why.text.ko);
        self.broken = true;
        self.reasons.push((Outcome::Deny, why));
    }

    /// Two descriptions of one party that differ, where the answer of a rule turned on it.
    fn needed(&mut self, rulebook: &Rulebook, paths: &[String]) {
        let asked = |path: &&String| self.reasons.iter().any(|(_, why)| why.missing.contains(path));
        let asked: Vec<&String> = paths.iter().filter(asked).collect();
        if !asked.is_empty() {
            let like = |path: &String| [path.clone(), path.replacen("recipient", "subject", 1)];
            let facts = [SAME_ENTITY[0].into()].into_iter();
            let facts: Vec<String> = facts.chain(asked.into_iter().flat_map(like)).collect();
            self.contradicted(rulebook, &facts);
        }
    }

    fn add(&mut self, at: CellRef, cell: CellVerdict) {
        for (outcome, why) in cell.reasons {
            // an allow once for each rule and ground, a missing fact once for each rule; refusals for each cell
            let said = |(_, known): &(Outcome, Why)| {
                (&known.code, &known.rule, &known.ground, &known.missing)
                    == (&why.code, &why.rule, &why.ground, &why.missing)
            };
            let once =
                matches!(why.code, Reason::AllowedByRule | Reason::MissingFact | Reason::Released);
            if !once || !self.reasons.iter().any(said) {
                self.reasons.push((outcome, why));
            }
        }
        self.obligations.extend(cell.obligations);
        self.turns = self.turns.into_iter().chain(cell.turns).min();
        self.cells.push(CellOutcome { at, outcome: cell.outcome, rules: cell.rules });
    }

    fn finish(mut self, rulebook: &Rulebook) -> Composed {
        let worst = self.cells.iter().map(|cell| cell.outcome).max();
        let outcome = if self.broken { Outcome::Deny } else { worst.unwrap_or(Outcome::Deny) };
        self.name_missing_rule(rulebook);
        // that it was released is the first thing to know of what is allowed
        let released = |why: &Why| why.code == Reason::Released;
        self.reasons.sort_by_key(|(outcome, why)| {
            (
                Reverse((*outcome).max(Outcome::AllowWithObligations)),
                !released(why),
                Reverse(*outcome),
            )
        });
        if outcome >= Outcome::Hold {
            self.reasons.retain(|(outcome, _)| *outcome >= Outcome::Hold);
        }
        Composed {
            outcome,
            reasons: self.reasons.into_iter().map(|(_, why)| why).collect(),
            obligations: match outcome {
                Outcome::Deny => Vec::new(),
                _ => self.obligations.into_iter().collect(),
            },
            cells: self.cells,
            valid_until: self.turns,
            refused: self.refused,
        }
    }

    /// Once, beside the rules that needed them: the rule that refuses what is unknown, with all that is missing.
    fn name_missing_rule(&mut self, rulebook: &Rulebook) {
        let Some(rule) = rulebook.book().missing_rule.as_deref() else { return };
        let unknown = |why: &Why| why.code == Reason::MissingFact;
        let all = self.reasons.iter().map(|(_, why)| why).filter(|why| unknown(why));
        if all.clone().any(|why| why.rule.as_deref() == Some(rule)) {
            return;
        }
        let cell = all.clone().find_map(|why| why.cell.clone());
        let paths: BTreeSet<String> = all.flat_map(|why| why.missing.iter().cloned()).collect();
        if !paths.is_empty() {
            let why = explain::missing(rulebook, None, cell.as_ref(), paths.into_iter().collect());
            self.reasons.push((Outcome::Deny, why));
        }
    }
}

const SAME_ENTITY: [&str; 3] = ["recipient.same_entity", "recipient.entity", "subject.entity"];
