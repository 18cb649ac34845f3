//! The ground that would carry refused cells: of one type, for exactly them, complete and fresh.

use alloc::{collections::BTreeSet, format, string::String, vec, vec::Vec};

use crate::{
    compose::Refused,
    decision::Text,
    evaluate::View,
    explain::quoted,
    flow::Leg,
    papers::{ANY, role_name},
    question::{Details, Ground, Level, Scope, Tia, TiaOutcome},
    rule::GroundType,
    stamp::Stamp,
};

/// A ground of this type that covers the refused cells and no more, complete and fresh.
pub(super) fn covering(
    view: View<'_>,
    legs: &[Leg<'_>],
    refused: &[&Refused],
    kind: &GroundType,
) -> Ground {
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

pub(super) fn sentence(kind: &GroundType, scope: &Scope) -> Text {
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
