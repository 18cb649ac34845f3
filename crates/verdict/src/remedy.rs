//! The smallest change that is enough, found by trying it: what is offered here was judged, not guessed.

use alloc::{collections::BTreeSet, format, string::String, vec, vec::Vec};

use crate::{
    atom::Test,
    cell::Pure,
    compose::{Composed, Refused, compose},
    decision::{Outcome, Remedy, RemedyKind, Text},
    evaluate::View,
    explain::quoted,
    flow::{Leg, legs},
    judge::allows,
    papers::{ANY, role_name},
    question::{Details, Ground, Level, Question, Scope, Tia, TiaOutcome},
    rule::GroundType,
    stamp::Stamp,
};

/// What alone would turn a refusal into an allow, or a hold into an answer; best first.
///
/// They are advice, and whoever follows it is judged again: the pure matcher alone tries them, or a refusal would ask the
/// other engine about hundreds of cells that nobody has.
pub(crate) fn remedies(view: View<'_>, composed: &Composed) -> Vec<Remedy> {
    match composed.outcome {
        Outcome::Allow | Outcome::AllowWithObligations => Vec::new(),
        Outcome::Hold => approval(composed).into_iter().collect(),
        Outcome::Deny => {
            let mut found = grounds(view, &composed.refused);
            found.extend(fact(composed));
            found
        }
    }
}

fn approval(composed: &Composed) -> Option<Remedy> {
    let rule = composed.reasons.first()?.rule.clone()?;
    let text = Text {
        en: format!("Ask for the approval that `{rule}` holds this for."),
        ko: format!("`{rule}`에 따라 보류되었습니다. 승인을 요청하십시오."),
    };
    Some(Remedy { kind: RemedyKind::AskApproval, value: rule, text })
}

/// Every type of ground that, live for all refused cells, would be enough: tried one by one.
fn grounds(view: View<'_>, refused: &[Refused]) -> Vec<Remedy> {
    let legs = legs(view.question, view.site);
    let mut found: Vec<(Outcome, Remedy)> = Vec::new();
    for kind in &view.rulebook.book().vocabulary.grounds {
        if refused.is_empty() || !refused.iter().all(|cell| asks(view, &legs, cell, &kind.id)) {
            continue;
        }
        let ground = covering(view, &legs, refused, kind);
        let text = sentence(kind, &ground.scope);
        let mut question: Question = view.question.clone();
        question.grounds.push(ground);
        let tried = compose(View { question: &question, ..view }, &mut Pure).outcome;
        if allows(tried) {
            let value = kind.id.clone();
            found.push((tried, Remedy { kind: RemedyKind::RegisterGround, value, text }));
        }
    }
    found.sort_by_key(|(outcome, _)| *outcome);
    found.into_iter().map(|(_, remedy)| remedy).take(GROUNDS_MAX).collect()
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

/// A ground of this type that covers the refused cells and no more, complete and fresh.
fn covering(view: View<'_>, legs: &[Leg<'_>], refused: &[Refused], kind: &GroundType) -> Ground {
    let legs = refused.iter().filter_map(|cell| legs.get(cell.leg));
    let components = refused.iter().filter_map(|cell| view.question.components.get(cell.component));
    let set = |terms: &mut dyn Iterator<Item = String>| {
        terms.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    let now = Stamp::at(view.at).ok();
    let filled = || Some(String::from("*"));
    Ground {
        regime: Some(kind.regime.clone()),
        r#type: Some(kind.id.clone()),
        scope: Scope {
            categories: set(&mut components.clone().flat_map(|c| c.categories.iter().cloned())),
            roles: set(&mut legs.clone().filter_map(|leg| leg.role).map(|r| role_name(r).into())),
            recipients: set(&mut legs
                .clone()
                .filter_map(|leg| leg.recipient.as_ref()?.entity.clone())),
            places: set(&mut legs.filter_map(|leg| leg.to).map(Into::into)),
        },
        level: Some(Level::Verified),
        valid_from: now.clone(),
        valid_until: Some(None),
        details: Details {
            disclosure_ref: filled(),
            info_provided: true,
            tia: Some(Tia {
                outcome: Some(TiaOutcome::NoProblem),
                measures: Vec::new(),
                at: now.clone(),
            }),
            approver: filled(),
            single: true,
            approval_ref: filled(),
            layers: vec![ANY.into()],
            separate_consent: true,
            impact_assessment_ref: filled(),
            instruction_ref: filled(),
            licence_ref: filled(),
            statute_ref: filled(),
            checked_at: now,
            single_use: true,
        },
        ..Ground::default()
    }
}

fn sentence(kind: &GroundType, scope: &Scope) -> Text {
    let GroundType { id, regime, .. } = kind;
    let (recipients, places) = (quoted(&scope.recipients), scope.places.join(", "));
    let details: Vec<String> = kind.details.iter().map(|detail| detail.name().into()).collect();
    let (with, with_ko) = match details.as_slice() {
        [] => (String::new(), String::new()),
        all => (format!(", with {}", quoted(all)), format!(" (필요 항목: {})", quoted(all))),
    };
    Text {
        en: format!(
            "Register a live `{id}` ({regime}) that covers {recipients} in {places}{with}."
        ),
        ko: format!(
            "다음을 포함하는 유효한 `{id}`({regime}) 근거를 등록하십시오: {recipients}, {places}{with_ko}."
        ),
    }
}

/// The one fact without which every refused cell stays refused.
fn fact(composed: &Composed) -> Option<Remedy> {
    let all: BTreeSet<&String> = composed.reasons.iter().flat_map(|why| &why.missing).collect();
    let path = *all.first().filter(|_| all.len() == 1)?;
    if !composed.reasons.iter().all(|why| why.missing.contains(path)) {
        return None;
    }
    let text = Text {
        en: format!("State `{path}`: it is the one fact that is missing."),
        ko: format!("`{path}` 값을 등록하십시오. 빠진 사실은 이것 하나뿐입니다."),
    };
    Some(Remedy { kind: RemedyKind::SupplyFact, value: path.clone(), text })
}

/// More alternatives than these help nobody.
const GROUNDS_MAX: usize = 6;
