//! What an organisation may grant itself. No key takes a pattern: every service is a flag of its own.

use super::super::access::OPERATIONS;
use super::super::text::{actor, date, issuer, own_id, role, service_or_own};
use super::{Key, Kind, PLAIN, Shape, Sort, may, must};

const OWN: &[Key] = &[
    must("id", Kind::Text(own_id)),
    must("org", Kind::Refer(Sort::Organisation, false)),
    may("note", PLAIN),
    may("revoked", Kind::Flag),
    may("valid_from", Kind::Text(date)),
    may("valid_until", Kind::End),
];

pub(in super::super) const ROW: Shape = Shape {
    noun: "an access row",
    groups: &[
        OWN,
        &[
            must("out", Kind::Word(&["allow", "deny"], false)),
            must("role", Kind::Text(role)),
            must("services", Kind::List(&Kind::Text(service_or_own))),
            may("every_service", Kind::Flag),
            must("operations", Kind::List(&Kind::Word(&OPERATIONS, false))),
            may("delegable", Kind::Flag),
        ],
    ],
};

pub(in super::super) const GRANT: Shape = Shape {
    noun: "a grant of a role",
    groups: &[
        OWN,
        &[
            must("role", Kind::Text(role)),
            may("member", Kind::Text(role)),
            may("actor", Kind::Text(actor)),
            may("issuer", Kind::Text(issuer)),
        ],
    ],
};
