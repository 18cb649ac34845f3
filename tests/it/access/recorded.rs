//! A record says by which access rows its caller was let in or not, names no person for it, and is judged again for that too.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use verdict::Rulebook;
use verdict::access::{AccessOut, NotGranted};
use verdict::decision::Outcome;
use verdict::facts::{Facts, Judgement};
use verdict::reason::Reason;

use crate::support::stage::{Answer, CHAT, Caller, ORDERS, SEOUL, Stage, chat};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_judged_again_for_access_too() {
    let stage = Stage::start().await;
    let pool = stage.pool().await;
    let user = stage.person("kr-retailer", "kim", &["user"]);
    let answer = ask(&user).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let let_in = Kept::of(&pool, stage.record_of(&answer).await).await;
    let access = let_in.facts.access.clone().unwrap();
    assert_eq!((&*access.service, &*access.operation), ("llama-3.3-70b", "submit"));
    assert_eq!(access.roles, ["user"]);
    assert_eq!(access.grants(), Ok(()));
    assert!(!serde_json::to_string(&access).unwrap().contains("kim"));
    assert_eq!(let_in.judged(&let_in.facts), let_in.leaf["detail"], "byte for byte");

    // had the rows been others, it would have been refused, and whoever judges it again would find it
    for changed in 0..3 {
        let mut facts = let_in.facts.clone();
        let access = facts.access.as_mut().unwrap();
        match changed {
            0 => access.rows.retain(|row| row.out == AccessOut::Deny),
            1 => access.roles.clear(),
            _ => access.rows.iter_mut().for_each(|row| row.out = AccessOut::Deny),
        }
        let judgement = let_in.judge(&facts);
        let first = &judgement.decision.reasons[0];
        assert_eq!((judgement.outcome, first.code), (Outcome::Deny, Reason::AccessDenied));
        assert_ne!(let_in.judged(&facts), let_in.leaf["detail"], "case {changed}");
    }

    // who is not let in has a record of the same rows
    let reviewer = ["reviewer".to_owned()];
    let stranger = stage.person("kr-retailer", "lee", &["reviewer"]);
    let answer = ask(&stranger).await;
    assert_eq!(answer.status, 403);
    let refused = Kept::of(&pool, stage.record_of(&answer).await).await;
    assert_eq!(refused.leaf["reason"], "ACCESS_DENIED");
    let kept = refused.facts.access.clone().unwrap();
    assert_eq!(kept.state, access.state, "the same rows");
    assert_eq!((&kept.roles[..], kept.grants()), (&reviewer[..], Err(NotGranted { row: None })));
    assert_eq!(kept.rows, access.rows);
    assert_eq!(refused.judged(&refused.facts), refused.leaf["detail"]);

    // the organisation lets that role in: other rows, and the record says so
    let grant = ["access", "--config", "haetae.toml", "--by", "a test", "grant", "kr-retailer"];
    let words = ["--role", "reviewer", "--service", "llama-3.3-70b", "--operation", "submit"];
    stage.world.program.run(&[&grant[..], &words].concat()).await.unwrap();
    let answer = ask(&stranger).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let granted = Kept::of(&pool, stage.record_of(&answer).await).await;
    let kept = granted.facts.access.clone().unwrap();
    assert_ne!(kept.state, access.state);
    assert_eq!((&kept.roles[..], kept.grants()), (&reviewer[..], Ok(())));
    assert_eq!(kept.rows.len(), access.rows.len() + 1);
    assert_eq!(granted.judged(&granted.facts), granted.leaf["detail"]);
}

async fn ask(caller: &Caller) -> Answer {
    caller.post(CHAT, &[ORDERS, SEOUL], chat().to_string().as_bytes()).await
}

/// A record with the texts that it points to.
struct Kept {
    leaf: Value,
    facts: Facts,
    rules: Rulebook,
}

impl Kept {
    async fn of(pool: &PgPool, leaf: Value) -> Self {
        let facts = serde_json::from_slice(&text(pool, &leaf, "facts").await).unwrap();
        let rules = serde_json::from_slice(&text(pool, &leaf, "bundle").await).unwrap();
        Self { leaf, facts, rules }
    }

    fn judge(&self, facts: &Facts) -> Judgement {
        verdict::judge(&self.rules, facts, self.leaf["judged"].as_i64().unwrap())
    }

    /// The digest of the judgement, as a leaf has it.
    fn judged(&self, facts: &Facts) -> String {
        let text = verdict::canonical(&self.judge(facts)).unwrap();
        STANDARD.encode(Sha256::digest(text))
    }
}

async fn text(pool: &PgPool, leaf: &Value, kind: &str) -> Vec<u8> {
    let digest = STANDARD.decode(leaf[kind].as_str().unwrap()).unwrap();
    let text = sqlx::query_scalar("select bytes from log_text where digest = $1 and kind = $2");
    text.bind(digest).bind(kind).fetch_one(pool).await.unwrap()
}
