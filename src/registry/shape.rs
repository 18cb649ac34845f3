//! What a document of each sort may and must say. One table is the reader, the check and the reference.
//!
//! A flow fact of a site and a label of data must be written even when it is empty: in the question format an absent
//! list is an empty one, so a forgotten `backups` would quietly be a promise that there are none.

mod access;
mod legal;

use super::{
    Sort,
    places::{country, place, subdivision},
    text::{Reader, base_url, dataset, eccn, host, id, identity, plain, service, stamp, term, uri},
    words::Known,
};

/// What a value is.
pub(super) enum Kind {
    Text(Reader),
    /// One of these; with `true` also `*`.
    Word(&'static [&'static str], bool),
    /// One of the vocabulary's words; with `true` also `*`.
    Known(Known, bool),
    /// The id of another entry; with `true` also `*`.
    Refer(Sort, bool),
    /// A date or instant that includes its day, or `never`.
    End,
    Whole(u64),
    Flag,
    /// The name of a file with certificates in PEM beside this one.
    Pem,
    List(&'static Kind),
    Table(&'static Shape),
    /// A name, or a whole party.
    NameOr(&'static Shape),
}

pub(super) struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub must: bool,
}

/// A table: what it is called in messages, and its keys.
pub(super) struct Shape {
    pub noun: &'static str,
    pub groups: &'static [&'static [Key]],
}

impl Shape {
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static Key> {
        self.groups.iter().flat_map(|group| group.iter())
    }
}

/// The shape of a document of this sort.
pub(super) const fn of(sort: Sort) -> &'static Shape {
    match sort {
        Sort::Organisation => &ORGANISATION,
        Sort::Site => &SITE,
        Sort::Dataset => &DATASET,
        Sort::Ground => &legal::GROUND,
        Sort::Order => &legal::ORDER,
        Sort::List => &legal::LIST,
        Sort::Outside => &OUTSIDE,
        Sort::Authority => &legal::AUTHORITY,
        Sort::AccessRow => &access::ROW,
        Sort::RoleGrant => &access::GRANT,
    }
}

const fn must(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, must: true }
}

const fn may(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, must: false }
}

const ID: Kind = Kind::Text(id);
const PLAIN: Kind = Kind::Text(plain);
const PLACE: Kind = Kind::Text(place);
const STAMP: Kind = Kind::Text(stamp);
const PLACES: Kind = Kind::List(&PLACE);
const SHARE_MAX: u64 = 100;
/// JSON integers below 2^53 are exact for every reader (RFC 8259, 6).
const COUNT_MAX: u64 = (1 << 53) - 1;
const COUNT: Kind = Kind::Whole(COUNT_MAX);
const ROLES: &[&str] = &["entrustment", "provision", "storage"];
const GRADES: &[&str] = &["low", "mid", "high"];

const LEVEL: Kind = Kind::Word(&["declared", "catalogue", "verified", "attested"], false);

const SOURCE: &[Key] =
    &[may("level", LEVEL), may("valid_from", STAMP), may("valid_until", Kind::End)];

const PARTY: &[Key] = &[
    must("seat", PLACE),
    must("parents", Kind::List(&Kind::Table(&PARENT))),
    may("sectors", Kind::List(&Kind::Known(Known::Term("sectors"), false))),
    may("supervised_by", Kind::List(&Kind::Known(Known::Term("supervisors"), false))),
    may("regulated_under", Kind::List(&Kind::Known(Known::Term("laws"), false))),
    may("person", Kind::Word(&["us_person"], false)),
    may("designated", Kind::Flag),
    may("critical_infrastructure", Kind::Flag),
    may("significant_fiduciary", Kind::Flag),
    may("dpf", Kind::Table(&DPF)),
    may("baa", Kind::Table(&BAA)),
];

const PARENT: Shape = Shape {
    noun: "a parent",
    groups: &[&[must("place", PLACE), must("share", Kind::Whole(SHARE_MAX))]],
};

const DPF: Shape =
    Shape { noun: "`dpf`", groups: &[&[must("active_until", Kind::End), may("hr", Kind::Flag)]] };

const BAA: Shape = Shape { noun: "`baa`", groups: &[&[must("valid_until", Kind::End)]] };

const NAMED_PARTY: Shape = Shape { noun: "a party", groups: &[&[must("entity", ID)], PARTY] };

const ORGANISATION: Shape = Shape {
    noun: "an organisation",
    groups: &[
        &[
            must("id", ID),
            may("name", PLAIN),
            may("entity", ID),
            may("place", PLACE),
            may("system_grade", Kind::Word(GRADES, false)),
            may("profile", Kind::Word(&["statutory", "sovereign"], false)),
            may("sites", Kind::List(&Kind::Refer(Sort::Site, false))),
            may("services", Kind::List(&Kind::Table(&SERVICE))),
            may("evidence", PLAIN),
        ],
        PARTY,
        SOURCE,
    ],
};

const SERVICE: Shape = Shape {
    noun: "a service",
    groups: &[&[
        must("name", Kind::Text(service)),
        may("sites", Kind::List(&Kind::Refer(Sort::Site, false))),
        may("role", Kind::Word(ROLES, false)),
        may("purposes", Kind::List(&Kind::Table(&PURPOSE))),
        may("data", Kind::Table(&PROFILE)),
    ]],
};

const PURPOSE: Shape = Shape {
    noun: "a purpose",
    groups: &[&[
        must("code", Kind::Known(Known::Term("purposes"), false)),
        may("legal_basis", Kind::Text(term)),
        may("recurring", Kind::Flag),
        may("third_country_order", Kind::Flag),
    ]],
};

const LABELS: &[Key] = &[
    must("regimes", Kind::List(&Kind::Known(Known::Regime, false))),
    must("origins", Kind::List(&Kind::Text(country))),
    must("categories", Kind::List(&Kind::Known(Known::Category, false))),
    must(
        "class",
        Kind::Word(&["public", "internal", "confidential", "restricted", "state"], false),
    ),
    must(
        "identifiability",
        Kind::Word(
            &["personal", "pseudonymised", "anonymised", "non_personal", "synthetic"],
            false,
        ),
    ),
    may("from", PLACE),
    may("encrypted", Kind::Flag),
    may("subjects", COUNT),
    may("sensitive_subjects", COUNT),
    may("records", COUNT),
    may("stored", Kind::Flag),
    may("layers", Kind::List(&PLAIN)),
    may("state_funded", Kind::Flag),
];

const PROFILE: Shape = Shape { noun: "a data profile", groups: &[LABELS] };

const DATASET: Shape = Shape {
    noun: "a dataset",
    groups: &[
        &[
            must("id", Kind::Text(dataset)),
            must("use_by", Kind::List(&Kind::Refer(Sort::Organisation, true))),
            may("name", PLAIN),
            may("uris", Kind::List(&Kind::Text(uri))),
            may("selection_digest", PLAIN),
            may("evidence", PLAIN),
        ],
        LABELS,
        SOURCE,
    ],
};

const SITE: Shape = Shape {
    noun: "a site",
    groups: &[
        &[
            must("id", ID),
            may("name", PLAIN),
            must("base_url", Kind::Text(base_url)),
            must("ca", Kind::Pem),
            must("identities", Kind::List(&Kind::Text(identity))),
            must("serves", Kind::List(&Kind::Text(service))),
            may("near", PLACES),
            may("evidence", Kind::List(&Kind::Table(&EVIDENCE))),
            must("location", Kind::Text(subdivision)),
            must("operator", Kind::Table(&NAMED_PARTY)),
            must("control_plane", PLACES),
            must("remote_access", Kind::List(&Kind::Table(&REMOTE_ACCESS))),
            must("backups", PLACES),
            must("telemetry", PLACES),
            must("sub_processors", Kind::List(&Kind::Table(&SUB_PROCESSOR))),
            must("keys", Kind::Table(&KEYS)),
            may("certificates", Kind::List(&Kind::Table(&CERTIFICATE))),
            may("tee", Kind::Table(&TEE)),
            may("accelerators", Kind::List(&Kind::Table(&ACCELERATOR))),
            may("via", PLACES),
        ],
        SOURCE,
    ],
};

const EVIDENCE: Shape = Shape {
    noun: "a piece of evidence",
    groups: &[&[
        must("kind", Kind::Word(&["contract", "audit", "nras", "tpm", "rtt"], false)),
        must("at", STAMP),
        must("expires", Kind::End),
        may("digest", PLAIN),
        may("result", PLAIN),
    ]],
};

const REMOTE_ACCESS: Shape = Shape {
    noun: "a remote access",
    groups: &[&[
        must("place", PLACE),
        must("entity", Kind::NameOr(&NAMED_PARTY)),
        must("plaintext", Kind::Flag),
    ]],
};

const SUB_PROCESSOR: Shape = Shape {
    noun: "a sub-processor",
    groups: &[&[must("entity", ID), must("place", PLACE)], PARTY],
};

const CERTIFICATE: Shape = Shape {
    noun: "a certificate",
    groups: &[&[
        must("scheme", Kind::Known(Known::Term("schemes"), false)),
        may("grade", Kind::Word(GRADES, false)),
        must("valid_until", Kind::End),
    ]],
};

const TEE: Shape = Shape {
    noun: "`tee`",
    groups: &[&[
        must("verdict", Kind::Word(&["affirming", "warning", "contraindicated", "none"], false)),
        may("at", STAMP),
        may("nonce_ok", Kind::Flag),
    ]],
};

const KEYS: Shape = Shape {
    noun: "`keys`",
    groups: &[&[
        must("holder", Kind::Word(&["customer", "third", "provider"], false)),
        must("place", PLACE),
        must("layers", Kind::Whole(9)),
        must("in_use", Kind::Flag),
    ]],
};

const ACCELERATOR: Shape = Shape {
    noun: "an accelerator",
    groups: &[&[must("model", ID), must("eccn", Kind::Text(eccn))]],
};

const OUTSIDE: Shape = Shape {
    noun: "an outside host",
    groups: &[
        &[
            must("host", Kind::Text(host)),
            must("place", PLACE),
            must("entity", Kind::NameOr(&NAMED_PARTY)),
            may("evidence", PLAIN),
        ],
        SOURCE,
    ],
};
