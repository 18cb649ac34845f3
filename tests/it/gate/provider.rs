//! A provider's log of its own people's access is held against the log: what no decision explains is listed and keeps the obligation
//! open, one that is whole and explained meets it, and every comparison is a record.

use haetae::clock::Clock;
use haetae::obligation::{self, Evidence, Journals, Obligation, State};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{Executor, PgPool};
use uuid::Uuid;
use verdict::stamp::Stamp;

use crate::support::stage::{CHAT, ORDERS, SEOUL, Stage, chat, eventually, leaves};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_decision_explains_keeps_it_open_and_a_whole_file_meets_it() {
    let stage = Stage::start().await;
    let (pool, now) = (stage.pool().await, Clock::system().unix_s());
    let (decision, at) = asked(&stage, &pool).await;
    let one = only(&pool, now).await;
    let span = one.span().unwrap();
    let entry = |at: i64, decision: Option<Uuid>| {
        let mut entry = json!({ "at": stamp(at), "person": "p-0192", "what": "console of node 7" });
        if let Some(decision) = decision {
            entry["decision"] = json!(decision);
        }
        entry.to_string()
    };
    let known = entry(at, Some(decision));

    // Two that nobody explains.
    let odd = [known.clone(), entry(at + 1, None), entry(at + 2, Some(Uuid::from_u128(7)))];
    let odd = file("kr-seo-1", span, &odd);
    let (code, text) =
        look(&stage, &one.id, &odd, Some(format!("sha256:{}", "ab".repeat(32))), &[]);
    assert!(code == Some(1) && text.contains("another digest"), "{text}");
    let (code, text) = look(&stage, &one.id, &odd, None, &[]);
    assert_eq!(code, Some(1), "{text}");
    for part in [
        "3 entries, 2 unexplained",
        "line 3 (",
        "it names no decision",
        "line 4 (",
        "the log allowed no such decision",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("p-0192"), "persons stay in the file: {text}");
    let lee = stage.person("kr-retailer", "lee", &["reviewer"]);
    let listed = lee.send("GET", "/v1/obligations", &[]).await.json();
    let shown = &listed["obligations"][0];
    assert_eq!((&shown["state"], &shown["checked"]["unexplained"]), (&json!("open"), &json!(2)));
    assert_eq!(shown["checked"]["findings"][0]["why"], "no_decision");
    let another = file("us-va-1", span, &[]);
    let (_, text) = look(&stage, &one.id, &another, None, &[]);
    assert!(text.contains("the file is of site `us-va-1`"), "{text}");

    // All explained, with the guard's journal beside it: but the month is not over.
    let clean = file("kr-seo-1", span, std::slice::from_ref(&known));
    let (code, text) = look(&stage, &one.id, &clean, None, &["--journal", "guard-kr-seo-1.jsonl"]);
    assert_eq!(code, Some(1), "{text}");
    for part in
        ["1 entries, 0 unexplained", "the guard's journals: 0 mismatches", "the period is not over"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    // When it is, the file must reach to its end.
    let over = span.1;
    let short = file("kr-seo-1", (span.0, span.1 - 1), std::slice::from_ref(&known));
    assert_eq!(compare(&pool, &one.id, &short, None, over).await.state, State::Open);
    // So must what was compared of the journals.
    let journals =
        |until| Some(Journals { digest: [7; 32], mismatches: 0, until, last: until + 65 });
    let (soon, later) = (over + 30, over + 65);
    let early = compare(&pool, &one.id, &clean, journals(soon - 65), soon).await;
    assert_eq!((early.state, early.checked.map(|one| one.whole)), (State::Open, Some(false)));
    let met = compare(&pool, &one.id, &clean, journals(later - 65), later).await;
    assert_eq!((met.state, met.checked.map(|one| one.whole)), (State::Met, Some(true)));
    // A decision that came since is not covered.
    pool.execute("update obligation set decisions = 2").await.unwrap();
    assert_eq!(only(&pool, later).await.state, State::Open);
    recorded(&stage, &pool, &odd).await;
    kept(&pool).await;
}

/// A copy of before shows nobody who was let in after it. What goes on record is what was compared: a guard writes on meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn journals_reach_past_the_period_and_are_read_once() {
    let stage = Stage::start().await;
    let (pool, now) = (stage.pool().await, Clock::system().unix_s());
    asked(&stage, &pool).await;
    // As if it had been asked in a month that is long over.
    pool.execute(
        "update obligation set month = '2020-01', first_s = 1577836805, last_s = 1577836805",
    )
    .await
    .unwrap();
    let one = only(&pool, now).await;
    let (from, over) = one.span().unwrap();
    let clean = file("kr-seo-1", (from, over), &[]);
    let journal = |starts: &[i64]| {
        let (mut text, mut previous) = (String::new(), "0".repeat(64));
        for at in starts {
            let line = json!({ "at_ns": at * 1_000_000_000, "previous": previous, "site": "kr-seo-1", "v": 1, "what": "started" }).to_string();
            previous = hex::encode(Sha256::digest(&line));
            text += &line;
            text.push('\n');
        }
        text
    };
    let looked = |journal: &str| {
        std::fs::write(stage.world.dir.join("copied.jsonl"), journal).unwrap();
        look(&stage, &one.id, &clean, None, &["--journal", "copied.jsonl"])
    };
    let (code, text) = looked(&journal(&[from, over + 64]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("the journals end at 2020-02-01T00:01:04Z"), "{text}");
    let kept: i64 =
        sqlx::query_scalar("select count(*) from obligation_check").fetch_one(&pool).await.unwrap();
    assert_eq!(kept, 0, "nothing was compared");

    // Half a line is none yet.
    let lines = journal(&[from, over + 65]);
    let (code, text) = looked(&format!("{lines}{{\"at_ns\":15"));
    assert_eq!(code, Some(0), "{text}");
    let (journals, whole): (Vec<u8>, bool) =
        sqlx::query_as("select journals, whole from obligation_check")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!((&journals[..], whole), (&Sha256::digest(Sha256::digest(&lines))[..], true));
    assert_eq!(only(&pool, now).await.state, State::Met);
}

/// One record of each comparison, without a word of who and what.
async fn recorded(stage: &Stage, pool: &PgPool, odd: &str) {
    let mut acts = Vec::new();
    eventually("each comparison is recorded", async || {
        acts = leaves(pool).await;
        acts.retain(|leaf| leaf["act"] == "obligation_check");
        acts.len() == 5
    })
    .await;
    let digest = Value::from(base64(&Sha256::digest(odd)));
    let first = acts.iter().find(|leaf| leaf["evidence"] == digest).unwrap();
    assert_eq!((&first["kind"], &first["unexplained"]), (&json!("review"), &json!(2)));
    assert_eq!((&first["provider"], first.get("whole")), (&json!("kr-op"), None));
    assert_eq!(acts.iter().filter(|leaf| leaf["whole"] == true).count(), 1);
    assert_eq!(acts.iter().filter(|leaf| leaf["mismatches"] == 0).count(), 3);
    for act in &acts {
        assert_eq!(act["people"].as_array().unwrap().len(), 1, "{act}");
        let text = act.to_string();
        assert!(!["lee", "p-0192", "node 7"].iter().any(|word| text.contains(word)), "{text}");
    }
    stage.world.program.run(&["log", "verify", "--config", "haetae.toml"]).await.unwrap();
}

/// Nobody takes back what was found.
async fn kept(pool: &PgPool) {
    for role in ["haetae_registrar", "haetae_gateway", "haetae_reader"] {
        for statement in
            ["update obligation_check set unexplained = 0", "delete from obligation_check"]
        {
            let mut transaction = pool.begin().await.unwrap();
            let set = sqlx::AssertSqlSafe(format!("set local role {role}"));
            sqlx::query(set).execute(&mut *transaction).await.unwrap();
            let error = sqlx::query(statement).execute(&mut *transaction).await.unwrap_err();
            let code = error.as_database_error().unwrap().code().unwrap().into_owned();
            assert_eq!(code, "42501", "{role}: {statement}");
        }
    }
}

/// A decision on orders in Seoul that has ended, as if it had asked for the provider's log; its id and Unix second.
async fn asked(stage: &Stage, pool: &PgPool) -> (Uuid, i64) {
    let caller = stage.caller("kr-retailer");
    let answer = caller.post(CHAT, &[ORDERS, SEOUL], chat().to_string().as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id: Uuid = answer.header("haetae-decision").unwrap().parse().unwrap();
    eventually("its end is in the query tables", async || {
        let ended = sqlx::query("select from row_ended where decision = $1").bind(id);
        ended.fetch_optional(pool).await.unwrap().is_some()
    })
    .await;
    let asks = "insert into obligation (org, service, site, code, month, first_s, last_s, decisions, on_file, bundle)
                select org, service, site, 'PROVIDER_ACCESS_LOG', to_char(to_timestamp(at_ns / 1000000000) at time zone 'UTC', 'YYYY-MM'),
                       at_ns / 1000000000, at_ns / 1000000000, 1, '{}', bundle
                from row_decision where id = $1 returning first_s";
    (id, sqlx::query_scalar(asks).bind(id).fetch_one(pool).await.unwrap())
}

async fn only(pool: &PgPool, now: i64) -> Obligation {
    let mut all = obligation::list(pool, Some("kr-retailer"), now).await.unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// At another time than now.
async fn compare(
    pool: &PgPool,
    id: &str,
    file: &str,
    journals: Option<Journals>,
    now: i64,
) -> Obligation {
    let (digest, file) = (Sha256::digest(file).into(), file.as_bytes());
    let evidence = Evidence { file, digest, journals, person: "lee", now };
    obligation::check(pool, id, &evidence).await.unwrap()
}

/// As a person types it: exit code, and what was said.
fn look(
    stage: &Stage,
    id: &str,
    file: &str,
    digest: Option<String>,
    more: &[&str],
) -> (Option<i32>, String) {
    std::fs::write(stage.world.dir.join("provider.jsonl"), file).unwrap();
    let digest = digest.unwrap_or_else(|| format!("sha256:{}", hex::encode(Sha256::digest(file))));
    let words = [
        "obligation",
        "--by",
        "lee",
        "check",
        id,
        "--provider-log",
        "provider.jsonl",
        "--digest",
        &digest,
    ];
    let output = stage.world.program.command(&[&words, more].concat()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

fn file(site: &str, (from, until): (i64, i64), entries: &[String]) -> String {
    let head = json!({ "format": "haetae-provider-access-v1", "provider": "kr-op", "site": site,
        "from": stamp(from), "until": stamp(until) });
    let mut lines = vec![head.to_string()];
    lines.extend_from_slice(entries);
    lines.join("\n") + "\n"
}

fn stamp(at: i64) -> String {
    Stamp::at(at).unwrap().to_string()
}

fn base64(bytes: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}
