//! What a decision asks for after it allowed is one obligation however many decisions ask for it; a machine finds it met or a
//! person closes it with evidence; another organisation sees and closes nothing.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::holds::{HOLD, order};
use crate::support::stage::{
    Answer, CHAT, Caller, ORDERS, Stage, VIRGINIA, chat, eventually, leaves,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_open_until_a_machine_finds_it_met_or_a_person_closes_it() {
    let stage = Stage::start().await;
    let pool = stage.pool().await;
    let lee = stage.person("kr-retailer", "lee", &["reviewer"]);
    assert_eq!(list(&lee, "").await, json!([]));
    disclosed_contract(&stage).await;
    for _ in 0..3 {
        obliged(&stage).await;
    }
    counted(&pool, &lee, 3).await;
    let all = overdue(&lee).await;
    let seen: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["code"].as_str().unwrap(), one["state"].as_str().unwrap()))
        .collect();
    // Both are due before the first decision. That the notice is on file the ground says itself.
    assert_eq!(seen, [(AGREE, "overdue"), (NOTIFY, "met")], "{all}");
    let agree = &all[0];
    assert_eq!(
        (&agree["site"], &agree["period"], &agree["due"]),
        (&json!("us-va-1"), &json!("once"), &agree["first"])
    );
    let meaning = &agree["meaning"];
    assert!(meaning["source"].as_str().unwrap().contains("28-8(4)"), "{meaning}");
    assert!(meaning["text"]["ko"].as_str().unwrap().contains("보호조치"), "{meaning}");
    assert_eq!(list(&lee, "?state=met").await.as_array().unwrap().len(), 1);
    assert_eq!(lee.send("GET", "/v1/obligations?state=late", &[]).await.code(), "path_invalid");

    in_words(&stage, &lee, agree).await;

    let id = agree["id"].as_str().unwrap();
    let other = stage.person("de-bank", "lee", &["reviewer"]);
    assert_eq!(list(&other, "").await, json!([]));
    let done = json!({ "reason": "contract 2026-114, annex 3", "evidence": EVIDENCE });
    assert_eq!(close(&other, id, &done).await.status, 404);
    assert_eq!(
        close(&lee, id, &json!({ "reason": " ", "evidence": EVIDENCE })).await.code(),
        "body_invalid"
    );
    assert_eq!(
        close(&lee, id, &json!({ "reason": "x", "evidence": "sha256:ab" })).await.code(),
        "body_invalid"
    );
    assert_eq!(
        close(&lee, id, &json!({ "reason": "x" })).await.code(),
        "body_invalid",
        "no end without evidence"
    );
    let met = all[1]["id"].as_str().unwrap();
    assert_eq!(close(&lee, met, &done).await.code(), "not_open");

    // The command line sees what the API sees, and says by its exit code whether somebody is called for.
    let program = &stage.world.program;
    let calls = program.command(&["obligation", "list"]).output().unwrap();
    let text = String::from_utf8(calls.stdout).unwrap();
    assert_eq!(calls.status.code(), Some(1), "{text}");
    assert!(text.contains(AGREE) && !text.contains(NOTIFY), "{text}");
    let closed = close(&lee, id, &done).await;
    assert_eq!(closed.status, 200, "{}", closed.text());
    assert_eq!(
        (&closed.json()["state"], &closed.json()["closed"]["evidence"]),
        (&json!("closed"), &json!(EVIDENCE))
    );
    assert_eq!(close(&lee, id, &done).await.code(), "not_open");
    program.run(&["obligation", "list"]).await.unwrap();

    // Another decision of the period is covered; each decision was counted once.
    obliged(&stage).await;
    let all = counted(&pool, &lee, 4).await;
    assert!(
        all.as_array().unwrap().iter().all(|one| one["state"] == "met" || one["state"] == "closed"),
        "{all}"
    );
    recorded(&stage, &pool).await;
}

/// Everywhere a person reads, a code has its sentence, in the reader's language.
async fn in_words(stage: &Stage, lee: &Caller, agree: &Value) {
    let duty = &agree["duty"];
    assert_eq!((&duty["code"], &duty["machine_checked"]), (&json!(AGREE), &json!(false)), "{duty}");
    let due = duty["due"].as_str().unwrap();
    assert!(due.starts_with("by 2") && due.contains("before the first decision"), "{due}");
    let told = lee.send("GET", "/v1/obligations", &[KOREAN]).await.json();
    let [text, closing] =
        ["text", "closing"].map(|key| told["obligations"][0]["duty"][key].clone());
    assert!(text.as_str().unwrap().contains("보호조치"), "{text}");
    assert!(closing.as_str().unwrap().contains("기계가 확인하지 않습니다"), "{closing}");
    let listed = stage.world.program.command(&["obligation", "list", "--lang", "ko"]).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    assert!(listed.contains("보호조치") && listed.contains("기한: "), "{listed}");

    let caller = stage.caller("kr-retailer");
    let asked = json!({ "service": chat()["model"], "datasets": [ORDERS.1], "site": "us-va-1" })
        .to_string();
    for (language, parts) in [
        (
            ("accept-language", "en"),
            ["It asks for: (1) Agree protective measures", "no machine checks it"],
        ),
        (KOREAN, ["이행할 의무: (1) 국외 이전에 필요한 보호조치", "기계가 확인하지 않습니다"]),
    ] {
        let told = caller.post("/v1/decide", &[language], asked.as_bytes()).await.json();
        let said = told["explanation"].as_str().unwrap();
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        assert_eq!(told["obligations"], json!([AGREE, NOTIFY]), "codes for machines");
        assert_eq!(told["duties"][1]["machine_checked"], true, "{told}");
    }
}

/// What a release will ask for is known before anybody releases.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_held_and_who_may_release_read_what_it_will_ask_for() {
    let stage = Stage::start().await;
    disclosed_contract(&stage).await;
    order(&stage.pool().await, HOLD).await;
    let (kim, lee) = (
        stage.person("kr-retailer", "kim", &["user"]),
        stage.person("kr-retailer", "lee", &["reviewer"]),
    );
    let body = chat().to_string();
    for (language, part) in [
        (("accept-language", "en"), "Once released, it asks for: (1) Agree protective measures"),
        (KOREAN, "보류가 해제되면 이행할 의무: (1) 국외 이전에 필요한 보호조치"),
    ] {
        let held = kim.post(CHAT, &[ORDERS, VIRGINIA, language], body.as_bytes()).await;
        assert_eq!(held.code(), "held_for_review", "{}", held.text());
        assert!(held.text().contains(part), "{}", held.text());
    }
    let holds = lee.send("GET", "/v1/holds", &[KOREAN]).await.json();
    let hold = &holds["holds"][0];
    assert_eq!(hold["obligations"], json!([AGREE, NOTIFY]), "{hold}");
    assert!(hold["duties"][0]["text"].as_str().unwrap().contains("보호조치"), "{hold}");
    for (lang, part) in [("en", "Agree protective measures"), ("ko", "보호조치")] {
        let listed = stage.world.program.run(&["hold", "list", "--lang", lang]).await.unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.contains(part) && listed.contains(AGREE), "{listed}");
    }
}

/// The closing is one record, without a word of what was said and by whom.
async fn recorded(stage: &Stage, pool: &PgPool) {
    let mut acts = Vec::new();
    eventually("the closing is recorded", async || {
        acts = leaves(pool).await;
        acts.retain(|leaf| leaf["kind"] == "obligation_closed");
        !acts.is_empty()
    })
    .await;
    let [act] = acts.as_slice() else { panic!("{acts:?}") };
    assert_eq!(
        (&act["obligation"], &act["period"], &act["org"]),
        (&json!(AGREE), &json!("once"), &json!("kr-retailer"))
    );
    assert_eq!(act["people"].as_array().unwrap().len(), 1);
    assert!(act["evidence"].is_string() && act["reason"].is_string());
    let text = act.to_string();
    assert!(!["lee", "contract 2026", "annex"].iter().any(|word| text.contains(word)), "{text}");
    stage.world.program.run(&["log", "verify", "--config", "haetae.toml"]).await.unwrap();
}

/// A contract whose transfer is disclosed, in place of the consent for Virginia: it allows, and asks for two things.
pub async fn disclosed_contract(stage: &Stage) {
    let consent = std::fs::read_to_string(&stage.world.sources.ground).unwrap();
    let ground = consent
        .replace("kr.consent", "kr.contract_disclosed")
        .replace("kr-retailer.va-2026", "kr-retailer.va-contract");
    let ground = format!("{ground}\n[details]\ndisclosure_ref = \"privacy-notice-2026-3\"\n");
    let path = stage.world.dir.join("contract.toml");
    std::fs::write(&path, ground).unwrap();
    stage.world.program.run(&["registry", "ground", "add", path.to_str().unwrap()]).await.unwrap();
}

pub async fn obliged(stage: &Stage) {
    let caller = stage.caller("kr-retailer");
    let answer = caller.post(CHAT, &[ORDERS, VIRGINIA], chat().to_string().as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.header("haetae-obligations"),
        Some("\"AGREE_PROTECTIVE_MEASURES_28-8(4)\", \"NOTIFY_SUBJECTS_ITEMS_28-8(2)\"")
    );
    let record = stage.record_of(&answer).await;
    assert_eq!(record["outcome"], "ALLOW_WITH_OBLIGATIONS", "{record}");
}

/// The obligations, once so many decisions are counted in each.
async fn counted(pool: &PgPool, caller: &Caller, decisions: i64) -> Value {
    let least = "select coalesce(min(decisions), 0) from obligation";
    eventually("the decisions are read off", async || {
        sqlx::query_scalar::<_, i64>(least).fetch_one(pool).await.unwrap() >= decisions
    })
    .await;
    let all = list(caller, "").await;
    assert!(all.as_array().unwrap().iter().all(|one| one["decisions"] == decisions), "{all}");
    all
}

/// The obligations, once the first is overdue: what is due at once is that a second later.
async fn overdue(caller: &Caller) -> Value {
    let mut all = Value::Null;
    eventually("it is overdue", async || {
        all = list(caller, "").await;
        all[0]["state"] != "open"
    })
    .await;
    all
}

async fn list(caller: &Caller, query: &str) -> Value {
    let answer = caller.send("GET", &format!("/v1/obligations{query}"), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["obligations"].clone()
}

pub async fn close(caller: &Caller, id: &str, said: &Value) -> Answer {
    caller.post(&format!("/v1/obligations/{id}/close"), &[], said.to_string().as_bytes()).await
}

const KOREAN: (&str, &str) = ("accept-language", "ko");
pub const AGREE: &str = "AGREE_PROTECTIVE_MEASURES_28-8(4)";
const NOTIFY: &str = "NOTIFY_SUBJECTS_ITEMS_28-8(2)";
pub const EVIDENCE: &str =
    "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
