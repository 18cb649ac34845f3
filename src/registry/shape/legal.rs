//! Grounds, orders, lists and authorities: what the law says of a flow, entered by people.

use super::{
    super::{Sort, places::place_or_any, text::vkey, words::Known},
    ID, Kind, LEVEL, PLACES, PLAIN, ROLES, SOURCE, STAMP, Shape, may, must,
};

const ANY_REGIMES: Kind = Kind::List(&Kind::Known(Known::AnyRegime, true));
const ANY_CATEGORIES: Kind = Kind::List(&Kind::Known(Known::Category, true));
const ANY_PLACES: Kind = Kind::List(&Kind::Text(place_or_any));

pub(super) const GROUND: Shape = Shape {
    noun: "a ground",
    groups: &[&[
        must("id", ID),
        must("org", Kind::Refer(Sort::Organisation, true)),
        must("regime", Kind::Known(Known::AnyRegime, false)),
        must("type", Kind::Known(Known::GroundType, false)),
        must("scope", Kind::Table(&SCOPE)),
        may("evidence", PLAIN),
        may("level", LEVEL),
        must("valid_from", STAMP),
        must("valid_until", Kind::End),
        may("suspended", Kind::Flag),
        may("details", Kind::Table(&DETAILS)),
    ]],
};

const SCOPE: Shape = Shape {
    noun: "a scope",
    groups: &[&[
        must("categories", ANY_CATEGORIES),
        must("roles", Kind::List(&Kind::Word(ROLES, true))),
        must("recipients", Kind::List(&PLAIN)),
        must("places", ANY_PLACES),
    ]],
};

const DETAILS: Shape = Shape {
    noun: "the details of a ground",
    groups: &[&[
        may("disclosure_ref", PLAIN),
        may("info_provided", Kind::Flag),
        may("tia", Kind::Table(&TIA)),
        may("approver", PLAIN),
        may("single", Kind::Flag),
        may("approval_ref", PLAIN),
        may("layers", Kind::List(&PLAIN)),
        may("separate_consent", Kind::Flag),
        may("impact_assessment_ref", PLAIN),
        may("instruction_ref", PLAIN),
        may("licence_ref", PLAIN),
        may("statute_ref", PLAIN),
        may("checked_at", STAMP),
        may("single_use", Kind::Flag),
    ]],
};

const TIA: Shape = Shape {
    noun: "`tia`",
    groups: &[&[
        must("outcome", Kind::Word(&["no_problem", "problematic"], false)),
        may("measures", Kind::List(&Kind::Known(Known::Term("measures"), false))),
        must("at", STAMP),
    ]],
};

pub(super) const ORDER: Shape = Shape {
    noun: "an order",
    groups: &[&[
        must("id", ID),
        must("authority", PLAIN),
        must("legal_basis", PLAIN),
        must("kind", Kind::Word(&["suspend", "prohibit", "restrict", "hold"], false)),
        must("match", Kind::Table(&MATCH)),
        must("effective_from", STAMP),
        must("until", Kind::End),
        may("received_at", STAMP),
        must("entered_by", Kind::List(&PLAIN)),
    ]],
};

const MATCH: Shape = Shape {
    noun: "the match of an order",
    groups: &[&[
        may("org", Kind::Refer(Sort::Organisation, true)),
        may("regimes", ANY_REGIMES),
        may("categories", ANY_CATEGORIES),
        may("to", ANY_PLACES),
    ]],
};

pub(super) const LIST: Shape = Shape {
    noun: "a list",
    groups: &[&[
        must("id", ID),
        must("regime", Kind::Known(Known::AnyRegime, false)),
        must("kind", Kind::Word(&["restricted_places"], false)),
        must("places", PLACES),
        must("valid_from", STAMP),
        must("valid_until", Kind::End),
    ]],
};

pub(super) const AUTHORITY: Shape = Shape {
    noun: "an authority",
    groups: &[
        &[
            must("id", ID),
            may("name", PLAIN),
            must("keys", Kind::List(&Kind::Text(vkey))),
            may("evidence", PLAIN),
        ],
        SOURCE,
    ],
};
