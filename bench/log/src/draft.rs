//! Drafts as the gate makes them of ordinary requests, really judged.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use haetae::audit::{Draft, Keeps, Retention, Target, Text};
use sha2::{Digest as _, Sha256};
use verdict::Rulebook;
use verdict::decision::Outcome;
use verdict::facts::{Facts, Judgement};
use verdict::reason::Reason;

const BOOK: &str = r#"{"name":"bench","version":"1","regimes":[{"id":"KR.X","mode":"floor"}],"groups":[],
"rules":[{"id":"R1","basis":["house"],"text":{"en":"No export.","ko":"반출 금지."},"citation":"-","mark":"M"}],
"rows":[{"rule":"R1","number":1,"kind":"restrict","out":"deny","regime":"KR.X","flow":"*","to":"JP","profiles":["statutory"]}],
"vocabulary":{},"limits":{"tia_age_s":0,"check_age_s":0,"attestation_age_s":0,"exposure_share":50,"control_share":50}}"#;
const JUDGED_AT: i64 = 1_763_900_000;

struct Judged {
    judgement: Judgement,
    texts: [Arc<Text>; 3],
}

impl Judged {
    fn at(place: &str) -> Self {
        let book: Rulebook = serde_json::from_str(BOOK).unwrap();
        let component = serde_json::json!({"dataset": "kr-med/ct-2026", "regimes": ["KR.X"], "origins": ["KR"]});
        let facts: Facts = serde_json::from_value(serde_json::json!({
            "question": {"profile": "statutory", "role": "entrustment", "components": [component],
                         "recipient": {"place": "KR", "same_entity": true}},
            "sites": [{"id": "kr-seo-1", "location": place, "operator": {"entity": "kr-op", "seat": "KR"}}],
        }))
        .unwrap();
        let judgement = verdict::judge(&book, &facts, JUDGED_AT);
        let texts = [text(&judgement), text(&facts), text(&book)];
        Self { judgement, texts }
    }
}

fn text<T: serde::Serialize>(value: &T) -> Arc<Text> {
    Arc::new(Text::new(Bytes::from(verdict::canonical(value).unwrap())))
}

/// What the guard's requests ask: the leaf names this body by its digest.
pub const BODY: &str = r#"{"model":"assistant","messages":[{"role":"system","content":"Answer in one sentence."},{"role":"user","content":"Which scans of ward 3 were read this week, and by whom?"}],"temperature":0.2,"max_tokens":256}"#;
pub const SITE: &str = "kr-seo-1";
pub const IDENTITY: &str = "spiffe://kr-op.example/site/kr-seo-1";
pub const AUTHORITY: &str = "kr-seo-1.example:8443";
pub const PATH: &str = "/v1/chat/completions";

pub fn draft(allows: bool) -> Draft {
    static HOME: LazyLock<Judged> = LazyLock::new(|| Judged::at("KR-11"));
    static ABROAD: LazyLock<Judged> = LazyLock::new(|| Judged::at("JP"));
    static DIGEST: LazyLock<String> = LazyLock::new(|| hex::encode(Sha256::digest(BODY)));
    let judged = if allows { &*HOME } else { &*ABROAD };
    let told = judged.judgement.decision.reasons.first();
    let [detail, facts, bundle] = judged.texts.each_ref().map(Arc::clone);
    let site = Target {
        site: SITE.into(),
        identity: IDENTITY.into(),
        method: "POST",
        authority: AUTHORITY.into(),
        path: PATH,
        content_type: Some("application/json"),
    };
    Draft {
        org: "kr-retailer".into(),
        actor: "min-jun.kim@kr-retailer.example".into(),
        actor_kind: "human",
        actor_place: Some("KR".into()),
        credential: "token",
        issuer: Some("https://login.kr-retailer.example/realms/main".into()),
        token_digest: Some("5c".repeat(32).into()),
        certificate_id: None,
        network: "203.0.113.0/24".to_owned(),
        protocol: "openai",
        operation: "chat.completions",
        service: "assistant".into(),
        datasets: vec!["kr-med/ct-2026".into()],
        purpose: Some("dpv:ServiceProvision".into()),
        trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
        body_digest: DIGEST.clone(),
        body_bytes: BODY.len() as u64,
        outcome: if allows { Outcome::Allow } else { Outcome::Deny },
        reason: told.map_or(Reason::AllowedByRule, |told| told.code),
        rule: told.and_then(|told| told.rule.as_deref()).map(Into::into),
        site: allows.then_some(site),
        detail,
        facts,
        bundle,
        judged_at: JUDGED_AT,
        fact_version: 0,
        valid_until: None,
        retries: None,
        judges_again: None,
        keeps: Keeps::default(),
        retention: Retention::of(["KR.X"]),
        preflight: false,
        witnessed: false,
    }
}
