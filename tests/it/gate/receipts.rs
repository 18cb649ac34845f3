//! Whoever got an answer can check its receipt: the gateway gives the record to callers of its organisation, whatever was decided, and to
//! nobody else; what it gives is proven by others' programs as docs/record.md says.

use std::collections::HashSet;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use haetae::audit::{Draft, Key, Recorded, prove_own};
use haetae::clock::Clock;
use haetae::demo::gateway::ORIGIN;
use haetae::registry::Sort;
use haetae::registry::store::put_ground;
use haetae::registry::tree::read_one;
use haetae_verify::{Trust, single};
use serde_json::{Value, json};
use sqlx::PgPool;
use tlog::{Hash, Receipt};
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;
use verdict::decision::Outcome;

use super::refuse::is_row;
use crate::audit::lab::{Lab, draft};
use crate::support::pair::Pair;
use crate::support::python::python;
use crate::support::stage::{
    Answer, CHAT, Caller, ORDERS, SEOUL, Stage, VIRGINIA, chat, eventually,
};
use crate::support::{fresh_database, scratch};

const NOW: i64 = 1_795_000_000_000_000_000;

#[tokio::test]
async fn whatever_was_answered_can_be_checked_by_who_asked_at_once() {
    let stage = Stage::shared().await;
    let (caller, body) = (stage.caller("kr-retailer"), chat().to_string());
    let allowed = caller.post(CHAT, &[ORDERS, SEOUL], body.as_bytes()).await;
    let leaf = checked(stage, &caller, &allowed).await;
    assert!(leaf["outcome"].as_str().unwrap().starts_with("ALLOW"), "{leaf}");

    let refused = caller.post(CHAT, &[ORDERS, VIRGINIA], body.as_bytes()).await;
    let leaf = checked(stage, &caller, &refused).await;
    assert_eq!(
        (refused.status, &leaf["outcome"], &leaf["rule"]),
        (403, &json!("DENY"), &json!("R04"))
    );
    let unread = caller.send("POST", "/v1/files", &[]).await;
    let leaf = checked(stage, &caller, &unread).await;
    assert_eq!(leaf["reason"], "OPERATION_UNSUPPORTED");

    let asked = json!({ "service": "llama-3.3-70b", "datasets": [ORDERS.1] }).to_string();
    let ahead = caller.post("/v1/decide", &[], asked.as_bytes()).await;
    let leaf = checked(stage, &caller, &ahead).await;
    assert_eq!((ahead.status, &leaf["kind"]), (200, &json!("preflight")));

    // a certificate is a credential here too, and a colleague without a role sees the same
    let certified = stage.certified("de-bank");
    let asked = [("haetae-datasets", "de-bank/tickets@3"), ("haetae-site", "eu-fra-1")];
    let answer = certified.post(CHAT, &asked, body.as_bytes()).await;
    let leaf = checked(stage, &certified, &answer).await;
    assert_eq!((answer.status, &leaf["credential"]), (200, &json!("certificate")));
    let colleague = stage.person("de-bank", "schmidt", &[]);
    assert_eq!(checked(stage, &colleague, &answer).await, leaf);
}

/// The words of docs/record.md, run by a shell.
#[tokio::test]
async fn the_steps_of_the_documentation_prove_it() {
    let stage = Stage::shared().await;
    let caller = stage.caller("kr-retailer");
    let answer = caller.post(CHAT, &[ORDERS, VIRGINIA], chat().to_string().as_bytes()).await;
    let leaf = caller.send("GET", &path(&answer, "leaf"), &[]).await;
    assert_eq!(leaf.status, 200, "{}", leaf.text());
    let lane = u16::try_from(leaf.json()["lane"].as_u64().unwrap()).unwrap();
    let vkey = Key::read(&stage.world.dir.join("log.key")).unwrap().vkey(ORIGIN, lane).unwrap();

    let dir = scratch("receipt");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("head"), as_curl_writes(&answer)).unwrap();
    std::fs::write(dir.join("leaf"), &leaf.body).unwrap();
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/");
    std::fs::copy(format!("{docs}verify.py"), dir.join("verify.py")).unwrap();
    let record = std::fs::read_to_string(format!("{docs}record.md")).unwrap();
    let receipts = record.split("\n## Receipts\n").nth(1).unwrap();
    let blocks: Vec<&str> =
        receipts.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [asks, checks] = blocks[..] else { panic!("{blocks:?}") };
    assert!(asks.contains("/v1/decisions/$ID/leaf"), "{asks}");
    let run = |script: &str| {
        let script = script.replace("python3", python());
        let output = Command::new("/bin/sh")
            .args(["-ec", &script])
            .env("VKEY", &vkey)
            .current_dir(&dir)
            .output();
        let output = output.unwrap();
        (
            output.status.success(),
            String::from_utf8([output.stdout, output.stderr].concat()).unwrap(),
        )
    };
    let id = answer.header("haetae-decision").unwrap();
    let found = asks.lines().find(|line| line.starts_with("ID=")).unwrap();
    assert_eq!(run(&format!("{found}\necho $ID")), (true, format!("{id}\n")));
    let (right, said) = run(checks);
    assert!(right && said.starts_with(&format!("record {id} (decision) is number ")), "{said}");

    let proof = std::fs::read_to_string(dir.join("proof")).unwrap();
    let held = single::check(&proof, &Trust::Keys(vec![vkey.parse().unwrap()])).unwrap();
    assert_eq!(held.id, id);

    // a leaf that was changed on its way is found by both
    let changed = leaf.text().replace("\"DENY\"", "\"HOLD\"");
    assert_ne!(changed, leaf.text());
    std::fs::write(dir.join("leaf"), changed).unwrap();
    let (right, said) = run(checks);
    assert!(!right && said.contains("WRONG: the record is not in the tree"), "{said}");
    let proof = std::fs::read_to_string(dir.join("proof")).unwrap();
    let refused = single::check(&proof, &Trust::Keys(vec![vkey.parse().unwrap()])).unwrap_err();
    assert_eq!(refused.code(), "not_in_tree");
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn what_is_anothers_looks_like_what_does_not_exist() {
    let stage = Stage::shared().await;
    let pool = stage.pool().await;
    let (owner, stranger) = (stage.caller("kr-retailer"), stage.caller("de-bank"));
    let answer = owner.post(CHAT, &[ORDERS, SEOUL], chat().to_string().as_bytes()).await;
    let own = answer.header("haetae-decision").unwrap().to_owned();
    checked(stage, &owner, &answer).await;
    eventually("it has its row", async || {
        stage.console(&path(&answer, "leaf")).await.status == 200
    })
    .await;
    // of the same moment, and made by nobody
    let last = if own.ends_with('0') { "1" } else { "0" };
    let nobodys = format!("{}{last}", own.split_at(own.len() - 1).0);
    for part in ["leaf", "receipt"] {
        let mut said = Vec::new();
        let asked = [
            (&stranger, own.clone()),
            (&stranger, nobodys.clone()),
            (&stranger, "00000000-0000-7000-8000-000000000000".to_owned()),
            (&stranger, "nonsense".to_owned()),
            (&owner, nobodys.clone()),
            (&owner, own.to_uppercase()),
            (&owner, own.replace('-', "")),
        ];
        for (caller, id) in asked {
            let answer = caller.send("GET", &format!("/v1/decisions/{id}/{part}"), &[]).await;
            is_row(&pool, &answer, (404, "NOT_FOUND"), &id).await;
            said.push(plain(answer));
        }
        said.dedup();
        assert_eq!(said.len(), 1, "{said:?}");
        for unknown in [None, Some("Bearer not-a-token".to_owned())] {
            let answer = stage.with_authorization(unknown);
            let answer = answer.send("GET", &format!("/v1/decisions/{own}/{part}"), &[]).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"));
        }
    }
}
/// GET and HEAD say the same of it, and it is asked with nothing else.
async fn is_read_only(caller: &Caller, pool: &PgPool, path: &str) {
    let whole = caller.send("GET", path, &[]).await;
    let head = caller.send("HEAD", path, &[]).await;
    assert_eq!((whole.status, head.status, head.body.len()), (200, 200, 0));
    assert_eq!(head.header("content-type"), whole.header("content-type"));
    assert!(head.header("content-length").is_some(), "{:?}", head.headers);
    if path.ends_with("/leaf") {
        let length = whole.body.len().to_string();
        assert_eq!(head.header("content-length"), Some(&*length));
    }
    let absent = caller.send("HEAD", "/v1/decisions/nonsense/leaf", &[]).await;
    assert_eq!((absent.status, absent.body.len()), (404, 0));
    let posted = caller.send("POST", path, &[]).await;
    is_row(pool, &posted, (405, "METHOD_REFUSED"), path).await;
    assert_eq!(posted.header("allow"), Some("GET, HEAD"));
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        let refused = caller.send(method, path, &[]).await;
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
    }
}

#[tokio::test]
async fn it_is_asked_with_get_or_head_and_nothing_else() {
    let stage = Stage::shared().await;
    let pool = stage.pool().await;
    let caller = stage.caller("kr-retailer");
    let answer = caller.post(CHAT, &[ORDERS, SEOUL], chat().to_string().as_bytes()).await;
    let over_http1 = stage.over_http1(stage.caller("kr-retailer"));
    for part in ["leaf", "receipt"] {
        let path = path(&answer, part);
        for caller in [&caller, &over_http1] {
            is_read_only(caller, &pool, &path).await;
        }
        let asked = caller.send("GET", &format!("{path}?newest=true"), &[]).await;
        is_row(&pool, &asked, (400, "PATH_INVALID"), &path).await;
    }
    let unknown = stage.with_authorization(None).send("HEAD", &path(&answer, "leaf"), &[]).await;
    assert_eq!((unknown.status, unknown.body.len()), (401, 0));
    let elsewhere = caller.send("HEAD", "/v1/models", &[]).await;
    assert_eq!((elsewhere.status, elsewhere.header("allow")), (405, Some("GET")));
}

/// Whichever process is asked: the record lies in the lane of the one that decided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_of_two_processes_gives_the_records_of_both_lanes() {
    let pair = Pair::start().await;
    let mut lanes = Vec::new();
    for process in [0, 1] {
        let caller = pair.caller(process, "kr-retailer");
        let answer = caller.post(CHAT, &[ORDERS, SEOUL], chat().to_string().as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let leaf = checked(&pair.stage, &pair.caller(1 - process, "kr-retailer"), &answer).await;
        lanes.push(leaf["lane"].clone());
        let asked = json!({ "service": "llama-3.3-70b" }).to_string();
        let ahead = caller.post("/v1/decide", &[], asked.as_bytes()).await;
        checked(&pair.stage, &pair.caller(1 - process, "kr-retailer"), &ahead).await;
    }
    lanes.sort_by_key(Value::as_u64);
    assert_eq!(lanes, [json!(0), json!(1)]);
}

/// An id that was reserved is older than its record; readers who ask for what is not there take no place from who decides; and a database
/// that stands still is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reserved_ids_are_found_and_reads_stop_no_decision() {
    let stage = Stage::start().await;
    let (pool, caller) = (stage.pool().await, stage.caller("kr-retailer"));
    let mut ground = read_one(Sort::Ground, &stage.world.sources.ground).unwrap();
    ground.document["details"]["single_use"] = json!(true);
    put_ground(&pool, &ground, "a test").await.unwrap();
    let once = caller.post(CHAT, &[ORDERS, VIRGINIA], chat().to_string().as_bytes()).await;
    assert_eq!(once.status, 200, "{}", once.text());
    checked(&stage, &caller, &once).await;

    let own = once.header("haetae-decision").unwrap();
    let begin = own.split_at(own.len() - 6).0;
    let nobodys = |n: u32| format!("/v1/decisions/{begin}{n:06x}/leaf");
    let waiting = join_all((0..40).map(async |n| caller.send("GET", &nobodys(n), &[]).await));
    let deciding = async {
        for _ in 0..10 {
            let body = chat().to_string();
            let answer = caller.post(CHAT, &[ORDERS, SEOUL], body.as_bytes()).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    };
    let (answers, ()) = tokio::join!(waiting, deciding);
    for answer in answers {
        let said = (answer.status, answer.code());
        let (none, full) = ((404, "not_found".to_owned()), (503, "overloaded".to_owned()));
        assert!(said == none || said == full, "{said:?}");
    }

    stage.world.cluster.freeze().unwrap();
    let answer = caller.send("GET", &path(&once, "leaf"), &[]).await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("1")),
        "{}",
        answer.text()
    );
    assert!(["store_unavailable", "overloaded"].contains(&&*answer.code()), "{}", answer.text());
    stage.world.cluster.thaw();
    eventually("it is given again", async || {
        caller.send("GET", &path(&once, "leaf"), &[]).await.status == 200
    })
    .await;
}

/// Without a row, in lanes of large and small batches: by its id alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_found_without_its_row() {
    let lab = Lab::start(&fresh_database().await.pool, 2).await;
    let mut ids: Vec<Uuid> = Vec::new();
    for many in [1, 1, 40, 3, 200, 1, 1, 90, 2] {
        let all = join_all((0..many).map(|_| lab.deny())).await;
        ids.extend(all.into_iter().map(|proof| proof.unwrap().id.parse::<Uuid>().unwrap()));
    }
    let ahead = Draft { preflight: true, ..draft(Outcome::Deny, 0) };
    let Recorded::Refusal(ahead) = lab.audit.record(ahead).await.unwrap() else { panic!() };
    ids.push(ahead.id.parse().unwrap());
    lab.projected().await;
    let pool = lab.stop().await;
    // whose a record is its row does not settle
    let planted = "update row_decision set org = 'kr-hospital' where id = $1";
    sqlx::query(planted).bind(ids[0]).execute(&pool).await.unwrap();
    assert!(prove_own(&pool, ids[0], "kr-hospital").await.unwrap().is_none());
    assert!(prove_own(&pool, ids[0], "kr-retailer").await.unwrap().is_some());
    sqlx::query("delete from row_decision").execute(&pool).await.unwrap();
    for id in &ids {
        let proven = prove_own(&pool, *id, "kr-retailer").await.unwrap().unwrap();
        let leaf: Value = serde_json::from_slice(&proven.leaf).unwrap();
        assert_eq!(leaf["id"], id.to_string());
        assert!(proven.receipt.is_some());
        assert!(prove_own(&pool, *id, "kr-hospital").await.unwrap().is_none());
    }
    let started = "select leaves from log_batch where first_index = 0 and lane = 0";
    let first: Vec<u8> = sqlx::query_scalar(started).fetch_one(&pool).await.unwrap();
    let open = tlog::bundle::leaves(&first).next().unwrap().unwrap();
    let open: Value = serde_json::from_slice(open).unwrap();
    let of_nobody: Uuid = open["id"].as_str().unwrap().parse().unwrap();
    assert!(prove_own(&pool, of_nobody, "kr-retailer").await.unwrap().is_none(), "a lane_open");
}

/// A clock that was an hour ahead for one record: the ids of all that follow say the millisecond that it said, for as long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_a_lane_that_is_ahead_is_found_without_its_row() {
    let clock = Clock::fixed(NOW + 3_600_000_000_000);
    let key = Arc::new(Key::generate().unwrap());
    let lab = Lab::start_at(&fresh_database().await.pool, 1, clock.clone(), key).await;
    let ahead = lab.deny().await.unwrap();
    clock.set(NOW);
    let mut ids: Vec<Uuid> = Vec::new();
    for _ in 0..40 {
        ids.push(lab.deny().await.unwrap().id.parse().unwrap());
    }
    let asked = Draft { preflight: true, ..draft(Outcome::Deny, 0) };
    let Recorded::Refusal(asked) = lab.audit.record(asked).await.unwrap() else { panic!() };
    ids.push(asked.id.parse().unwrap());
    lab.projected().await;
    let pool = lab.stop().await;
    sqlx::query("delete from row_decision").execute(&pool).await.unwrap();
    let times: HashSet<_> = ids.iter().map(Uuid::get_timestamp).collect();
    assert_eq!(times, HashSet::from([ahead.id.parse::<Uuid>().unwrap().get_timestamp()]));
    for id in &ids {
        let proven = prove_own(&pool, *id, "kr-retailer").await.unwrap().expect("it is found");
        assert_eq!(serde_json::from_slice::<Value>(&proven.leaf).unwrap()["id"], id.to_string());
        assert!(prove_own(&pool, *id, "kr-hospital").await.unwrap().is_none());
    }
}

/// Whoever asked may have gone by then: the connection must not wait for as long as the database does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_that_hangs_is_ended_by_the_database() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let id: Uuid = lab.deny().await.unwrap().id.parse().unwrap();
    let pool = lab.stop().await;
    let mut busy = pool.begin().await.unwrap();
    sqlx::query("lock table row_decision in access exclusive mode")
        .execute(&mut *busy)
        .await
        .unwrap();
    let looked = timeout(Duration::from_mins(1), prove_own(&pool, id, "kr-retailer")).await;
    let said = looked.expect("it is ended").unwrap_err().to_string();
    assert!(said.contains("statement timeout"), "{said}");
    busy.rollback().await.unwrap();
    assert!(prove_own(&pool, id, "kr-retailer").await.unwrap().is_some());
}

/// Two organisations that ask for all they can, of a database that does not answer them, leave a way to the others' records.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_its_records_keeps_no_other_from_theirs() {
    let stage = Stage::start().await;
    let (pool, third) = (stage.pool().await, stage.caller("de-bank"));
    let answer = third.post(CHAT, &[ORDERS, SEOUL], chat().to_string().as_bytes()).await;
    let record = path(&answer, "leaf");
    eventually("it has its row", async || stage.console(&record).await.status == 200).await;

    // What has a row is found without the sizes of the lanes.
    let mut busy = pool.begin().await.unwrap();
    sqlx::query("lock table log_head in access exclusive mode").execute(&mut *busy).await.unwrap();
    let id = answer.header("haetae-decision").unwrap();
    let nobodys = format!("/v1/decisions/{}0000/leaf", id.split_at(id.len() - 4).0);
    let mut asking = JoinSet::new();
    for n in 0..24 {
        let caller = stage.caller(["kr-retailer", "kr-hospital"][n % 2]);
        let path = nobodys.clone();
        asking.spawn(async move { caller.send("GET", &path, &[]).await.status });
    }
    let waits = "select count(*) from pg_locks where not granted and relation = 'log_head'::regclass
                 and pid in (select pid from pg_stat_activity where query like 'select lane, size%')";
    eventually("both wait for the database", async || {
        sqlx::query_scalar::<_, i64>(waits).fetch_one(&pool).await.unwrap() >= 2
    })
    .await;
    // Time to take more, if they could.
    tokio::time::sleep(Duration::from_millis(300)).await;
    for _ in 0..5 {
        let given = third.send("GET", &record, &[]).await;
        assert_eq!(given.status, 200, "{}", given.text());
    }
    busy.rollback().await.unwrap();
    for status in asking.join_all().await {
        assert!([404, 503].contains(&status), "{status}");
    }
}

/// The leaf and the newer receipt as the gate gives them to this caller, held against the receipt of the answer and the lane's key.
async fn checked(stage: &Stage, caller: &Caller, answer: &Answer) -> Value {
    let leaf = caller.send("GET", &path(answer, "leaf"), &[]).await;
    assert_eq!(leaf.status, 200, "{}", leaf.text());
    assert_eq!(leaf.header("content-type"), Some("application/json"));
    let (hash, says) = (Hash::leaf(&leaf.body), leaf.json());
    let trust = stage.trust(says["lane"].as_u64().unwrap());
    let receipt = answer.receipt();
    receipt.verify(&hash, &trust).unwrap();
    assert_eq!(says["id"].as_str(), answer.header("haetae-decision"));

    let newer = caller.send("GET", &path(answer, "receipt"), &[]).await;
    assert_eq!(newer.status, 200, "{}", newer.text());
    assert_eq!(newer.header("content-type"), Some("text/plain; charset=utf-8"));
    let newer: Receipt = newer.text().parse().unwrap();
    newer.verify(&hash, &trust).unwrap();
    assert_eq!((newer.index, newer.extra), (receipt.index, None));
    if says["kind"] == "decision" {
        assert_eq!(
            stage.leaf(says["id"].as_str().unwrap()).await,
            leaf.body,
            "as the console gives it"
        );
    }
    says
}

fn path(answer: &Answer, part: &str) -> String {
    let id = answer.header("haetae-decision").expect("a decision id");
    format!("/v1/decisions/{id}/{part}")
}

/// The head of an answer as `curl -D` keeps it.
fn as_curl_writes(answer: &Answer) -> String {
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        format!("{name}: {}\r\n", value.to_str().unwrap())
    };
    let lines: Vec<String> = answer.headers.iter().map(line).collect();
    format!("HTTP/2 {} \r\n{}\r\n", answer.status, lines.concat())
}

/// What can be told apart: everything but the date, and the refusal's own id and proof.
fn plain(mut answer: Answer) -> (u16, Vec<(String, String)>, String) {
    let id = answer.header("haetae-decision").unwrap().to_owned();
    for name in ["date", "haetae-decision", "haetae-receipt", "x-request-id"] {
        assert!(answer.headers.remove(name).is_some(), "{name}");
    }
    let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    (answer.status, answer.headers.iter().map(text).collect(), answer.text().replace(&id, "ID"))
}
