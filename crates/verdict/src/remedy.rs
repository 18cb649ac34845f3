//! The smallest change that is enough, found by trying it: what is offered here was judged, not guessed.
//!
//! *Invariant:* every remedy, with what stands in its `and`, was applied to the question and gave an allow.

mod fact;
mod ground;

use alloc::{boxed::Box, collections::BTreeSet, format, string::String, vec::Vec};
use serde_json::Value;

use crate::{
    atom::Test,
    cell::Pure,
    compose::{Composed, Refused, compose},
    decision::{Outcome, Remedy, RemedyKind, Text},
    evaluate::View,
    flow::{Leg, contradicting, legs},
    judge::allows,
    question::{Ground, Question, Release},
    reason::Reason,
    release::held_digest,
    rule::{RuleText, Rulebook},
    stamp::Stamp,
};

/// What would turn a refusal into an allow, or a hold into an answer; best first. Single changes if there are any, else
/// one combination of them.
///
/// They are advice, and whoever follows it is judged again: the pure matcher alone tries them, or a refusal would ask the
/// other engine about hundreds of cells that nobody has.
pub(crate) fn remedies(view: View<'_>, composed: &Composed) -> Vec<Remedy> {
    if allows(composed.outcome) {
        return Vec::new();
    }
    let question = Question { site: view.site.clone(), ..view.question.clone() };
    let start = State::new(question, Vec::new(), composed);
    let mut search = Search { rulebook: view.rulebook, at: view.at, tries: 0, cells: 0 };
    let single = search.enough(&start);
    if single.is_empty() { search.combined(start).into_iter().collect() } else { single }
}

/// One change to a question.
#[derive(Clone)]
enum Change {
    Ground(Box<Ground>),
    Fact(String, Value),
    Approval(Vec<String>),
}

/// A question as it would be, and what of it is still refused.
struct State {
    question: Question,
    changes: Vec<Change>,
    outcome: Outcome,
    refused: Vec<Refused>,
    missing: BTreeSet<String>,
    held: BTreeSet<String>,
    reasons: usize,
}

impl State {
    fn new(question: Question, changes: Vec<Change>, composed: &Composed) -> Self {
        let held = composed.reasons.iter().filter(|why| why.code == Reason::HeldByRule);
        Self {
            question,
            changes,
            outcome: composed.outcome,
            refused: composed.refused.clone(),
            missing: composed.reasons.iter().flat_map(|why| why.missing.clone()).collect(),
            held: held.filter_map(|why| why.rule.clone()).collect(),
            reasons: composed.reasons.len(),
        }
    }

    /// Less is nearer to an allow.
    fn distance(&self) -> (Outcome, usize, usize, usize) {
        (self.outcome, self.refused.len(), self.missing.len(), self.reasons)
    }
}

/// What changes are tried with, and how many questions and their cells were judged for it.
struct Search<'a> {
    rulebook: &'a Rulebook,
    at: i64,
    tries: usize,
    cells: usize,
}

impl Search<'_> {
    /// Every change that alone is enough: grounds by the outcome that they give, then facts.
    fn enough(&mut self, start: &State) -> Vec<Remedy> {
        let mut found: Vec<(Outcome, Remedy)> = Vec::new();
        for change in self.moves(start) {
            let stated = matches!(&change, Change::Fact(path, _)
                if found.iter().any(|(_, known)| known.value == *path));
            if stated {
                continue;
            }
            let Some(tried) = self.attempt(&start.question, core::slice::from_ref(&change)) else {
                continue;
            };
            if allows(tried.outcome) {
                found.push((tried.outcome, self.remedy(&change)));
            }
        }
        let rank = |kind: RemedyKind| kind == RemedyKind::SupplyFact;
        found.sort_by_key(|(outcome, remedy)| (rank(remedy.kind), *outcome));
        found.into_iter().map(|(_, remedy)| remedy).take(REMEDIES_MAX).collect()
    }

    /// Changes one after another, each the one that brings nearest to an allow; at the end without those that turned out
    /// not to be needed.
    fn combined(&mut self, start: State) -> Option<Remedy> {
        let first = start.question.clone();
        let mut state = start;
        while !allows(state.outcome) && state.changes.len() < CHANGES_MAX {
            state = self.nearer(&first, &state)?;
        }
        let mut changes = state.changes;
        let mut place = 0;
        while place < changes.len() && changes.len() > 1 {
            let mut fewer = changes.clone();
            fewer.remove(place);
            match self.attempt(&first, &fewer) {
                Some(tried) if allows(tried.outcome) => changes = fewer,
                _ => place += 1,
            }
        }
        let tried = self.attempt(&first, &changes).filter(|tried| allows(tried.outcome))?;
        let mut parts = tried.changes.iter().map(|change| self.remedy(change));
        let lead = parts.next()?;
        Some(Remedy { and: parts.collect(), ..lead })
    }

    /// The question one change further, by the change that brings it nearest to an allow; `None` when none does.
    fn nearer(&mut self, first: &Question, state: &State) -> Option<State> {
        let mut best: Option<State> = None;
        for change in self.moves(state) {
            let changes: Vec<Change> = state.changes.iter().cloned().chain([change]).collect();
            let Some(tried) = self.attempt(first, &changes) else { continue };
            if tried.distance() < best.as_ref().unwrap_or(state).distance() {
                best = Some(tried);
            }
        }
        best
    }

    /// What might help here: a ground for the refused cells that ask for one, a value for a fact that is missing, and,
    /// where everything else is right, the approval for which it is held.
    fn moves(&self, state: &State) -> Vec<Change> {
        if state.outcome == Outcome::Hold {
            return [Change::Approval(state.held.iter().cloned().collect())].into();
        }
        let question = &state.question;
        let view = View { rulebook: self.rulebook, question, site: &question.site, at: self.at };
        let legs = legs(question, &question.site);
        let mut moves = Vec::new();
        for kind in &self.rulebook.book().vocabulary.grounds {
            let asking = state.refused.iter().filter(|cell| asks(view, &legs, cell, &kind.id));
            let asking: Vec<&Refused> = asking.collect();
            if !asking.is_empty() {
                let ground = ground::covering(view, &legs, &asking, kind);
                moves.push(Change::Ground(Box::new(ground)));
            }
        }
        // that two descriptions of one party differ is not mended by another word
        let differing = contradicting(question).map(|both| both.paths).unwrap_or_default();
        let unknown = state.missing.iter().filter(|path| !differing.contains(path));
        for path in unknown.take(FACTS_MAX) {
            let values = fact::candidates(view, path).into_iter();
            moves.extend(values.map(|value| Change::Fact(path.clone(), value)));
        }
        moves
    }

    /// The question with these changes, judged; `None` when one cannot be made or enough was tried.
    fn attempt(&mut self, question: &Question, changes: &[Change]) -> Option<State> {
        self.tries += 1;
        if self.tries > TRIES_MAX || self.cells > CELLS_MAX {
            return None;
        }
        let mut question = question.clone();
        for change in changes {
            question = self.applied(question, change)?;
        }
        let view = View {
            rulebook: self.rulebook,
            question: &question,
            site: &question.site,
            at: self.at,
        };
        let composed = compose(view, &mut Pure);
        self.cells += composed.cells.len();
        Some(State::new(question, changes.to_vec(), &composed))
    }

    fn applied(&self, mut question: Question, change: &Change) -> Option<Question> {
        match change {
            Change::Ground(ground) => question.grounds.push((**ground).clone()),
            Change::Fact(path, value) => question = fact::state(&question, path, value)?,
            Change::Approval(rules) => question.releases.push(Release {
                rules: rules.clone(),
                facts: Some(held_digest(&question, &question.site)),
                bundle: Some(self.rulebook.digest().into()),
                valid_from: Stamp::at(self.at).ok(),
                valid_until: Stamp::at(self.at.saturating_add(1)).ok(),
                ..Release::default()
            }),
        }
        Some(question)
    }

    fn remedy(&self, change: &Change) -> Remedy {
        match change {
            Change::Ground(ground) => {
                let value = ground.r#type.clone().unwrap_or_default();
                let kind = self.rulebook.ground_type(&value);
                let text = kind.map(|kind| ground::sentence(kind, &ground.scope));
                Remedy {
                    kind: RemedyKind::RegisterGround,
                    value,
                    text: text.unwrap_or_default(),
                    scope: Some(ground.scope.clone()),
                    example: None,
                    and: Vec::new(),
                }
            }
            Change::Fact(path, value) => {
                let text = stated(path, &fact::shown(value));
                let example = Some(format!("{value}"));
                let kind = RemedyKind::SupplyFact;
                Remedy { kind, value: path.clone(), text, scope: None, example, and: Vec::new() }
            }
            Change::Approval(rules) => {
                let named = rules.iter().filter_map(|rule| self.rulebook.rule(rule));
                let persons = named.map(RuleText::persons).max().unwrap_or(1);
                let (kind, text) = (RemedyKind::AskApproval, approved(rules, persons));
                let value = rules.join(" ");
                Remedy { kind, value, text, scope: None, example: None, and: Vec::new() }
            }
        }
    }
}

/// Some row for this cell asks for a ground of this type.
fn asks(view: View<'_>, legs: &[Leg<'_>], cell: &Refused, kind: &str) -> bool {
    let (Some(profile), Some(leg)) = (view.question.profile, legs.get(cell.leg)) else {
        return false;
    };
    let symbols = view.rulebook.symbols(profile, &cell.regime, leg.flow);
    symbols
        .iter()
        .filter_map(|symbol| view.rulebook.atom(*symbol))
        .any(|atom| matches!(&atom.test, Test::Ground(asked, _) if asked == kind))
}

fn stated(path: &str, value: &str) -> Text {
    Text {
        en: format!("State `{path}`: were it `{value}`, for example, this would be allowed."),
        ko: format!("`{path}` 값을 등록하십시오. 예를 들어 `{value}`이면 허용됩니다."),
    }
}

fn approved(rules: &[String], persons: u8) -> Text {
    let list = crate::explain::quoted(rules);
    let (who, who_ko) = match persons {
        1 => (String::from("one person"), String::from("1명")),
        many => (format!("{many} persons"), format!("{many}명")),
    };
    Text {
        en: format!("Ask for the approval that {list} holds this for: {who} must agree."),
        ko: format!("{list}에 따라 보류되었습니다. 승인을 요청하십시오({who_ko}의 동의 필요)."),
    }
}

/// More alternatives than these help nobody.
const REMEDIES_MAX: usize = 6;
/// More changes at once are not a small one.
const CHANGES_MAX: usize = 5;
/// Missing facts looked at.
const FACTS_MAX: usize = 6;
/// Questions judged in search of a remedy. One of ten cells takes about 0.1 ms, and a refusal is judged once for each
/// version of its facts: at most 10 ms.
const TRIES_MAX: usize = 96;
/// Their cells, 9 us each: a question of thousands is not judged a hundred times over for advice. At most 0.1 s, and the
/// question that passes it.
const CELLS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::Component;
    use alloc::vec;

    #[test]
    fn a_question_of_thousands_of_cells_is_not_judged_a_hundred_times_for_advice() {
        let rulebook = Rulebook::none();
        let components = vec![Component::default(); CELLS_MAX / 3];
        let question = Question { components, ..Question::default() };
        let mut search = Search { rulebook: &rulebook, at: 0, tries: 0, cells: 0 };
        let judged = (0..TRIES_MAX).filter(|_| search.attempt(&question, &[]).is_some()).count();
        assert!((1..=4).contains(&judged), "{judged} of {TRIES_MAX} with {} cells", search.cells);
        assert!(search.cells > CELLS_MAX);
    }
}
