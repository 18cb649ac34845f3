//! The closed words of the registry, and what somebody may have meant.
//!
//! Regimes, categories, sectors and ground types are those of the question format. What a rule makes of a word is the
//! policy's business; that a word exists at all is checked here, so that a slip is an error and not a rule that
//! silently never matches.

/// The candidate nearest to `text`, if it is near enough to be a slip.
pub(super) fn meant<'a>(
    text: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let slips_max = (text.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| {
            (distance(&text.to_ascii_lowercase(), &candidate.to_ascii_lowercase()), candidate)
        })
        .filter(|(slips, _)| *slips <= slips_max)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `: did you mean ..?`, or nothing.
pub(super) fn hint<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    meant(text, candidates).map_or_else(String::new, |word| format!(": did you mean `{word}`?"))
}

/// Levenshtein's distance in characters.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, left) in from.chars().enumerate() {
        let mut corner = index;
        let mut before = index + 1;
        let mut next = vec![before];
        for (right, above) in to.iter().zip(row.iter().skip(1)) {
            let cost = (corner + usize::from(left != *right)).min(above + 1).min(before + 1);
            corner = *above;
            before = cost;
            next.push(cost);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

/// Regimes that a data component can be under.
pub(super) const REGIMES: &[&str] = &[
    "KR.PIPA",
    "KR.ITA",
    "KR.SPATIAL",
    "EU.GDPR",
    "EU.DATA_ACT",
    "UK.GDPR",
    "JP.APPI",
    "CN.PIPL",
    "IN.DPDP",
    "US.28CFR202",
    "US.HIPAA",
];

/// Regimes that a ground, an order or a list can name: also those that apply by party and accelerator.
pub(super) const ALL_REGIMES: &[&str] = &[
    "KR.PIPA",
    "KR.ITA",
    "KR.SPATIAL",
    "EU.GDPR",
    "EU.DATA_ACT",
    "UK.GDPR",
    "JP.APPI",
    "CN.PIPL",
    "IN.DPDP",
    "US.28CFR202",
    "US.HIPAA",
    "EAR",
];

/// Categories: terms of the W3C DPV extension for personal data, and our own where it has none.
pub(super) const CATEGORIES: &[&str] = &[
    "pd:General",
    "pd:Accent",
    "pd:AccountIdentifier",
    "pd:Age",
    "pd:Apartment",
    "pd:Authenticating",
    "pd:Behavioral",
    "pd:BirthDate",
    "pd:Biometric",
    "pd:CallLog",
    "pd:Communication",
    "pd:Contact",
    "pd:CreditRecord",
    "pd:CriminalOffense",
    "pd:Demographic",
    "pd:DeviceBased",
    "pd:Disability",
    "pd:DNACode",
    "pd:EmailAddress",
    "pd:EmploymentHistory",
    "pd:EthnicOrigin",
    "pd:External",
    "pd:Family",
    "pd:Financial",
    "pd:FinancialAccount",
    "pd:FinancialAccountNumber",
    "pd:Gender",
    "pd:Genetic",
    "pd:GPSCoordinate",
    "pd:Health",
    "pd:HealthRecord",
    "pd:HouseOwned",
    "pd:Identifying",
    "pd:Income",
    "pd:IPAddress",
    "pd:Language",
    "pd:Location",
    "pd:MACAddress",
    "pd:MedicalHealth",
    "pd:MentalHealth",
    "pd:Name",
    "pd:Nationality",
    "pd:OfficialID",
    "pd:Opinion",
    "pd:PersonalDocuments",
    "pd:PhilosophicalBelief",
    "pd:PhysicalAddress",
    "pd:PoliticalAffiliation",
    "pd:PoliticalOpinion",
    "pd:Prescription",
    "pd:Professional",
    "pd:Profile",
    "pd:PurchasesAndSpendingHabit",
    "pd:Race",
    "pd:Religion",
    "pd:Salary",
    "pd:Sexual",
    "pd:SexualOrientation",
    "pd:Social",
    "pd:Tax",
    "pd:TelephoneNumber",
    "pd:Tracking",
    "pd:TradeUnionMembership",
    "pd:Transaction",
    "pd:Transactional",
    "pd:UID",
    "pd:Username",
    "pd:VoiceMail",
    "dpv:NonPersonalData",
    "kr:RRN",
    "kr:UniqueId",
    "kr:PersonalCreditInfo",
    "kr:EMR",
    "kr:NCT",
    "kr:HighPrecisionSpatial",
    "kr:LocationInfo",
    "us:PHI",
    "cn:ImportantData",
];

pub(super) const SECTORS: &[&str] =
    &["kr.finance", "kr.public", "kr.medical", "us.health", "in.payments"];

pub(super) const SUPERVISORS: &[&str] = &["KR.FSC"];

/// General data-protection laws that a party answers to.
pub(super) const LAWS: &[&str] = &[
    "APPI", "CCPA", "DPDP", "GDPR", "HIPAA", "LGPD", "PDPA", "PIPA", "PIPEDA", "PIPL", "UK-GDPR",
    "nFADP",
];

/// Types of ground and, where there is one, the key of `details` without which a ground of that type is not live.
pub(super) const GROUND_TYPES: &[(&str, Option<&str>)] = &[
    ("kr.consent", None),
    ("kr.treaty", None),
    ("kr.contract_disclosed", Some("disclosure_ref")),
    ("kr.certified_recipient", None),
    ("kr.equivalency", None),
    ("kr.nct_approval", Some("approval_ref")),
    ("kr.nct_report", None),
    ("kr.spatial_decision", Some("layers")),
    ("kr.rrn_statute", Some("statute_ref")),
    ("eu.A45-3", None),
    ("eu.A46-2-a", Some("tia")),
    ("eu.A46-2-b", Some("tia")),
    ("eu.A46-2-c", Some("tia")),
    ("eu.A46-2-d", Some("tia")),
    ("eu.A46-2-e", Some("tia")),
    ("eu.A46-2-f", Some("tia")),
    ("eu.A46-3-a", Some("tia")),
    ("eu.A46-3-b", Some("tia")),
    ("eu.A49-1-a", Some("approver")),
    ("eu.A49-1-b", Some("approver")),
    ("eu.A49-1-c", Some("approver")),
    ("eu.A49-1-d", Some("approver")),
    ("eu.A49-1-e", Some("approver")),
    ("eu.A49-1-f", Some("approver")),
    ("eu.A49-1-g", Some("approver")),
    ("eu.A49-2", Some("approver")),
    ("uk.A45A", None),
    ("uk.A46_tra", None),
    ("uk.A49", None),
    ("jp.consent", Some("info_provided")),
    ("jp.designated", None),
    ("jp.equivalent_system", Some("checked_at")),
    ("cn.assessment", None),
    ("cn.scc", None),
    ("cn.certification", None),
    ("cn.exempt", None),
    ("in.not_restricted", None),
    ("us.exempt", None),
    ("us.cisa_controls", None),
    ("us.licence", Some("licence_ref")),
    ("us.baa", None),
];
