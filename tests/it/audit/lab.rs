//! A log of its own for a test, and drafts to put into it.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use haetae::audit::{
    Audit, Config, DiscloseError, Disclosure, Draft, Key, Permit, Proof, RecordError, Recorded,
    Secrets, Target, Text,
};
use haetae::clock::Clock;
use haetae::privacy::Privacy;
use sqlx::PgPool;
use tlog::{Hash, Policy, Receipt};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use verdict::{
    Rulebook,
    decision::Outcome,
    facts::{Facts, Judgement},
    reason::Reason,
};

pub const ORIGIN: &str = "lab.example/log";

/// A running log.
pub struct Lab {
    pub audit: Audit,
    pub key: Arc<Key>,
    pub pool: PgPool,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Lab {
    pub async fn start(pool: &PgPool, lanes: u16) -> Self {
        Self::start_at(pool, lanes, Clock::system(), own_key()).await
    }

    pub async fn start_at(pool: &PgPool, lanes: u16, clock: Clock, key: Arc<Key>) -> Self {
        // Patient: a busy machine is no reason for a record to fail.
        let config =
            Config { lanes, record_ms_max: 60_000, commit_ms_max: 60_000, ..Config::default() };
        Self::build(pool, config, clock, key).await
    }

    pub async fn start_with(pool: &PgPool, config: Config) -> Self {
        Self::build(pool, config, Clock::system(), own_key()).await
    }

    async fn build(pool: &PgPool, config: Config, clock: Clock, key: Arc<Key>) -> Self {
        Self::signed_by(pool, config, clock, vec![key]).await
    }

    /// With several keys, the first of which is the lab's.
    pub async fn signed_by(
        pool: &PgPool,
        config: Config,
        clock: Clock,
        keys: Vec<Arc<Key>>,
    ) -> Self {
        let config = Config { origin: ORIGIN.to_owned(), ..config };
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let pool = pool.clone();
        let signing = keys.iter().map(|key| Key::clone(key)).collect();
        let secrets = Secrets { signing, privacy: Some(Arc::new(privacy())) };
        let audit =
            Audit::start_with_keys(&config, secrets, pool.clone(), clock, &tracker, stop.clone())
                .unwrap();
        let key = Arc::clone(&keys[0]);
        assert!(audit.ready(Duration::from_secs(10)).await, "{:?}", audit.health());
        Self { audit, key, pool, tracker, stop }
    }

    /// Drains and waits until every task is done.
    pub async fn stop(self) -> PgPool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(Duration::from_secs(20), self.tracker.wait()).await.unwrap();
        self.pool
    }

    pub async fn allow(&self) -> Permit {
        match self.audit.record(draft(Outcome::Allow, 0)).await.unwrap() {
            Recorded::Permit(permit) => permit,
            Recorded::Refusal(_) => panic!("an ALLOW gave no permit"),
        }
    }

    pub async fn deny(&self) -> Result<Proof, RecordError> {
        match self.audit.record(draft(Outcome::Deny, 0)).await? {
            Recorded::Refusal(proof) => Ok(proof),
            Recorded::Permit(_) => panic!("a DENY gave a permit"),
        }
    }

    /// Waits until everything committed is in the query tables.
    pub async fn projected(&self) {
        let lag = "select coalesce(sum(size - coalesce(next_index, 0)), 0)::bigint
                   from log_head left join projection_cursor using (lane)";
        eventually("the projection has caught up", async || {
            sqlx::query_scalar::<_, i64>(lag).fetch_one(&self.pool).await.unwrap() == 0
        })
        .await;
    }

    /// The receipt proves the leaf under this lab's keys; gives the leaf.
    pub fn proven(&self, proof: &Proof) -> serde_json::Value {
        let (leaf, receipt) = carried(proof);
        let receipt: Receipt = receipt.parse().unwrap();
        let value: serde_json::Value = serde_json::from_slice(&leaf).unwrap();
        let lane = u16::try_from(value["lane"].as_u64().unwrap()).unwrap();
        let vkey = self.key.vkey(ORIGIN, lane).unwrap();
        receipt.verify(&Hash::leaf(&leaf), &Policy::of_log(vkey.parse().unwrap())).unwrap();
        assert_eq!(value["index"], receipt.index);
        assert_eq!(value["id"], *proof.id);
        value
    }

    /// What a field of a record hides, once it is in the log.
    pub async fn shown(&self, leaf: &serde_json::Value, field: &str) -> Disclosure {
        shown(&self.pool, leaf, field).await
    }

    /// All leaves of the log, by lane and index.
    pub async fn leaves(&self) -> Vec<serde_json::Value> {
        leaves(&self.pool).await
    }
}

/// The master key of every lab.
/// The key of every lab that is given none: who comes back to a log has its key.
fn own_key() -> Arc<Key> {
    static KEY: LazyLock<Arc<Key>> = LazyLock::new(|| Arc::new(Key::generate().unwrap()));
    Arc::clone(&KEY)
}

pub fn privacy() -> Privacy {
    Privacy::of(&[("lab".to_owned(), zeroize::Zeroizing::new([7; 32]))]).unwrap().unwrap()
}

pub async fn shown(pool: &PgPool, leaf: &serde_json::Value, field: &str) -> Disclosure {
    let lane = u16::try_from(leaf["lane"].as_u64().unwrap()).unwrap();
    let place = (lane, leaf["index"].as_u64().unwrap());
    disclose(pool, &privacy(), place, field).await.unwrap()
}

/// What a field of the record at this place hides.
pub async fn disclose(
    pool: &PgPool,
    privacy: &Privacy,
    (lane, index): (u16, u64),
    field: &str,
) -> Result<Disclosure, DiscloseError> {
    let proven = haetae::audit::prove_place(pool, lane, index).await.unwrap().unwrap();
    haetae::audit::disclose(pool, privacy, proven, field).await
}

pub async fn leaves(pool: &PgPool) -> Vec<serde_json::Value> {
    let batches: Vec<Vec<u8>> =
        sqlx::query_scalar("select leaves from log_batch order by lane, first_index")
            .fetch_all(pool)
            .await
            .unwrap();
    let leaf = |bytes: &Vec<u8>| {
        let leaves =
            tlog::bundle::leaves(bytes).map(|leaf| serde_json::from_slice(leaf.unwrap()).unwrap());
        leaves.collect::<Vec<serde_json::Value>>()
    };
    let leaves: Vec<serde_json::Value> = batches.iter().flat_map(leaf).collect();
    leaves.iter().for_each(super::schema::check);
    leaves
}

/// Data of a Korean organisation: at home it may be used, in Japan a rule refuses.
const BOOK: &str = r#"{"name":"lab","version":"1","regimes":[{"id":"KR.X","mode":"floor"}],"groups":[],
"rules":[{"id":"R1","basis":["house"],"text":{"en":"No export.","ko":"반출 금지."},"citation":"-","mark":"M"}],
"rows":[{"rule":"R1","number":1,"kind":"restrict","out":"deny","regime":"KR.X","flow":"*","to":"JP","profiles":["statutory"]}],
"vocabulary":{},"limits":{"tia_age_s":0,"check_age_s":0,"attestation_age_s":0,"exposure_share":50,"control_share":50}}"#;
const JUDGED_AT: i64 = 1_763_900_000;

/// Really judged: the judgement, and its texts.
struct Judged {
    judgement: Judgement,
    detail: Arc<Text>,
    facts: Arc<Text>,
    bundle: Arc<Text>,
}

impl Judged {
    fn at(place: &str) -> Self {
        let book: Rulebook = serde_json::from_str(BOOK).unwrap();
        let component = serde_json::json!({"dataset": "kr-med/ct-2026", "regimes": ["KR.X"], "origins": ["KR"]});
        let facts: Facts = serde_json::from_value(serde_json::json!({
            "question": {
                "profile": "statutory", "role": "entrustment", "components": [component],
                "recipient": {"place": "KR", "same_entity": true},
            },
            "sites": [{"id": "kr-seo-1", "location": place, "operator": {"entity": "kr-op", "seat": "KR"}}],
        }))
        .unwrap();
        let judgement = verdict::judge(&book, &facts, JUDGED_AT);
        let detail = text(&judgement);
        Self { judgement, detail, facts: text(&facts), bundle: text(&book) }
    }
}

fn text<T: serde::Serialize>(value: &T) -> Arc<Text> {
    Arc::new(Text::new(Bytes::from(verdict::canonical(value).unwrap())))
}

/// A draft as the gate makes it of an ordinary request.
pub fn draft(outcome: Outcome, fact_version: i64) -> Draft {
    static HOME: LazyLock<Judged> = LazyLock::new(|| Judged::at("KR-11"));
    static ABROAD: LazyLock<Judged> = LazyLock::new(|| Judged::at("JP"));
    let allows = outcome == Outcome::Allow;
    let judged = if allows { &*HOME } else { &*ABROAD };
    assert_eq!(judged.judgement.outcome, outcome);
    // An allow that no rule was needed for gives no reason.
    let told = judged.judgement.decision.reasons.first();
    let site = Target {
        site: "kr-seo-1".into(),
        identity: "spiffe://kr-op.example/site/kr-seo-1".into(),
        method: "POST",
        authority: "kr-seo-1.example:8443".into(),
        path: "/v1/chat/completions",
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
        body_digest: "ab".repeat(32),
        body_bytes: 12_345,
        outcome,
        reason: told.map_or(Reason::AllowedByRule, |told| told.code),
        rule: told.and_then(|told| told.rule.as_deref()).map(Into::into),
        site: allows.then_some(site),
        detail: Arc::clone(&judged.detail),
        facts: Arc::clone(&judged.facts),
        bundle: Arc::clone(&judged.bundle),
        judged_at: JUDGED_AT,
        fact_version,
        valid_until: None,
        retries: None,
        judges_again: None,
        keeps: haetae::audit::Keeps::default(),
        retention: haetae::audit::Retention::of(["KR.X"]),
        preflight: false,
        witnessed: false,
    }
}

/// Waits for something that other tasks bring about.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Leaf and receipt out of the headers that carry them (RFC 8941 byte sequences).
pub fn carried(proof: &Proof) -> (Vec<u8>, String) {
    let bytes = |value: &[u8]| {
        let base64 = value.strip_prefix(b":").and_then(|rest| rest.strip_suffix(b":")).unwrap();
        STANDARD.decode(base64).unwrap()
    };
    (bytes(&proof.leaf), String::from_utf8(bytes(&proof.receipt)).unwrap())
}
