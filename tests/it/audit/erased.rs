//! A person is erased: the bytes are gone from every file of the database, and every proof stays. And master keys change.

use std::collections::BTreeSet;
use std::path::Path;

use haetae::audit::{
    Act, ActKind, Confirmed, DiscloseError, EraseError, Erased, Subject, ask_erasure,
    confirm_erasure, rewrap, vacuum, verify_with,
};
use haetae::postgres::{Cluster, Options, migrate};
use haetae::privacy::Privacy;
use serde_json::Value;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tlog::{Hash, Policy, Receipt};
use uuid::Uuid;
use verdict::decision::Outcome;
use zeroize::Zeroizing;

use super::lab::{Lab, ORIGIN, disclose, draft, eventually, leaves, privacy, shown};
use super::psql::Psql;
use crate::support::{fresh_database, scratch};

const KIM: &str = "min-jun.kim@kr-retailer.example";
const PARK: &str = "so-yeon.park@kr-retailer.example";
const WEEK: i64 = 7 * 86_400;

fn of(name: &str) -> Subject<'_> {
    Subject { name, org: Some("kr-retailer") }
}

/// The logins of two persons with the rights that erasing takes, and no other.
async fn two(pool: &PgPool) -> [PgPool; 2] {
    let login = async |who| Psql::member(pool, who, "haetae_privacy").await.pool().await;
    [login("kim").await, login("lee").await]
}

async fn deny(lab: &Lab, actor: &str) -> Value {
    let mut draft = draft(Outcome::Deny, 0);
    draft.actor = actor.into();
    match lab.audit.record(draft).await.unwrap() {
        haetae::audit::Recorded::Refusal(proof) => lab.proven(&proof),
        haetae::audit::Recorded::Permit(_) => panic!("a DENY gave a permit"),
    }
}

/// What of a person could be found as bytes: name, salt, sealed value, wrapped key.
async fn traces(pool: &PgPool, leaf: &Value) -> [Vec<u8>; 4] {
    let shown = shown(pool, leaf, "actor").await;
    let (digest, hidden) = &shown.values[0];
    let (sealed, wrapped): (Vec<u8>, Vec<u8>) = sqlx::query_as(
        "select sealed, wrapped from audit_private p join audit_key k on k.id = p.key where digest = $1",
    )
    .bind(digest.as_slice())
    .fetch_one(pool)
    .await
    .unwrap();
    [hidden.value.clone().into_bytes(), hidden.salt.to_vec(), sealed, wrapped]
}

/// Files under a directory that have these bytes.
pub(super) fn files_with(dir: &Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, needle));
        } else if std::fs::read(&path).is_ok_and(|bytes| contains(&bytes, needle)) {
            found.push(path.display().to_string());
        }
    }
    found
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    let first = needle[0];
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == first) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

async fn told(pool: &PgPool, kind: &str) -> Vec<Value> {
    leaves(pool).await.into_iter().filter(|leaf| leaf["kind"] == kind).collect()
}

/// Asked for by one and confirmed by another; everything else is refused.
async fn erase(pool: &PgPool, [kim, lee]: &[PgPool; 2]) {
    let id = ask_erasure(kim, &privacy(), of(KIM), "kim", "request 31").await.unwrap().unwrap();
    let confirm = async |subject, by| confirm_erasure(lee, &privacy(), id, subject, by).await;
    let same = confirm_erasure(kim, &privacy(), id, of(KIM), "lee").await;
    assert!(matches!(same, Err(EraseError::Login)), "{same:?}");
    assert!(matches!(confirm(of(KIM), "kim").await, Err(EraseError::Asker)));
    assert!(matches!(confirm(of(PARK), "lee").await, Err(EraseError::Another)));
    let every = Subject { name: KIM, org: None };
    assert!(matches!(confirm(every, "lee").await, Err(EraseError::Another)));
    let other = confirm_erasure(lee, &privacy(), Uuid::from_u128(5), of(KIM), "lee").await;
    assert!(matches!(other, Err(EraseError::NotFound(_))));
    for (by, stale) in [(WEEK + 1, true), (-WEEK - 1, false)] {
        let aged = sqlx::query("update erasure set asked_at_s = asked_at_s - $1").bind(by);
        aged.execute(pool).await.unwrap();
        if stale {
            assert!(matches!(confirm(of(KIM), "lee").await, Err(EraseError::Stale)));
        }
    }
    let done = confirm(of(KIM), "lee").await.unwrap();
    // In the same month and lane the act used the digest of the decision.
    assert_eq!(done, Confirmed::Erased(Erased { keys: 1, values: 1, holds: 0, holds_left: 0 }));
    // Nor is who asked to be found by who has the name.
    let asker = "select count(*) from erasure where asked = sha256(asked_salt || convert_to('kim', 'UTF8'))";
    let found: i64 = sqlx::query_scalar(asker).fetch_one(pool).await.unwrap();
    assert_eq!(found, 0);
    let again = confirm(of(KIM), "lee").await.unwrap();
    assert!(matches!(again, Confirmed::Already(_)), "{again:?}");
    let again = ask_erasure(kim, &privacy(), of(KIM), "kim", "request 31").await.unwrap();
    assert_eq!(again, None, "a second erasure is nothing");
}

/// The records are as they were, and prove what they proved.
async fn stays(lab: &Lab, leaf: &Value) {
    let place = (0, leaf["index"].as_u64().unwrap());
    assert!(matches!(
        disclose(&lab.pool, &privacy(), place, "actor").await,
        Err(DiscloseError::NothingKept(_))
    ));
    eventually("both acts are recorded", async || told(&lab.pool, "erase").await.len() == 2).await;
    let acts = told(&lab.pool, "erase").await;
    assert_eq!((&acts[0]["act"], &acts[1]["act"]), (&"asked".into(), &"done".into()));
    assert_eq!((&acts[1]["keys"], &acts[1]["values"]), (&1.into(), &1.into()));
    assert_eq!(acts[0]["erasure"], acts[1]["erasure"]);
    // Name and login of each: four different digests.
    let people = acts.iter().flat_map(|act| act["people"].as_array().unwrap());
    assert_eq!(people.map(|one| one.as_str().unwrap()).collect::<BTreeSet<_>>().len(), 4);
    assert!(!format!("{acts:?}").contains("min-jun"));
    lab.projected().await;
    let proven = haetae::audit::prove_place(&lab.pool, place.0, place.1).await.unwrap().unwrap();
    let receipt: Receipt = proven.receipt.unwrap().parse().unwrap();
    let vkey = lab.key.vkey(ORIGIN, 0).unwrap();
    receipt.verify(&Hash::leaf(&proven.leaf), &Policy::of_log(vkey.parse().unwrap())).unwrap();
    assert!(verify_with(&lab.pool, &[vkey.parse().unwrap()]).await.unwrap().is_whole());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_of_an_erased_person_is_left_on_the_disk_and_every_proof_stays() {
    let dir = scratch("erased");
    let settings = vec![("wal_recycle".to_owned(), "off".to_owned())];
    let options = Options { ephemeral: true, settings, ..Options::durable(&dir) };
    let cluster = Cluster::start(options).await.unwrap();
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .connect_with(cluster.connect_options())
        .await
        .unwrap();
    migrate(&pool).await.unwrap();
    let lab = Lab::start(&pool, 1).await;
    let leaf = deny(&lab, KIM).await;
    let other = deny(&lab, PARK).await;
    // What this person did through the database went through the outbox, in clear for a moment.
    let act = Act {
        event: Uuid::from_u128(1),
        kind: ActKind::Review,
        people: vec![KIM.into()],
        body: serde_json::json!({ "org": "kr-retailer" }).as_object().unwrap().clone(),
    };
    act.tell(&mut pool.acquire().await.unwrap()).await.unwrap();
    // What the planner keeps of a table has nothing of a person.
    for _ in 0..3 {
        sqlx::raw_sql("analyze audit_private; analyze audit_key; analyze log_outbox")
            .execute(&pool)
            .await
            .unwrap();
    }
    eventually("the act is recorded", async || told(&pool, "review").await.len() == 1).await;
    let (kim, park) = (traces(&pool, &leaf).await, traces(&pool, &other).await);
    sqlx::raw_sql("analyze").execute(&pool).await.unwrap();
    sqlx::query("checkpoint").execute(&pool).await.unwrap();
    let [_, salt, sealed, wrapped] = &kim;
    assert_eq!(
        files_with(&dir, salt),
        Vec::<String>::new(),
        "a salt is never on the disk in clear"
    );
    for kept in [sealed, wrapped] {
        assert!(!files_with(&dir, kept).is_empty(), "what is kept is found before");
    }

    let logins = two(&pool).await;
    erase(&pool, &logins).await;
    let (steps, seers) = vacuum(&pool).await.unwrap();
    let left: Vec<_> = steps.iter().filter(|step| step.fault.is_some()).collect();
    assert!(left.is_empty() && seers.is_empty(), "{left:?} {seers:?}");
    for (what, bytes) in ["name", "salt", "sealed value", "wrapped key"].iter().zip(&kim) {
        assert_eq!(files_with(&dir, bytes), Vec::<String>::new(), "the {what} is on the disk");
    }
    assert!(!files_with(&dir, &park[2]).is_empty(), "of others it still is");

    stays(&lab, &leaf).await;
    assert_eq!(shown(&pool, &other, "actor").await.values[0].1.value, PARK);

    // Who comes back is somebody new to the log.
    let back = deny(&lab, KIM).await;
    assert_ne!(back["actor"], leaf["actor"]);
    assert_eq!(shown(&pool, &back, "actor").await.values[0].1.value, KIM);
    lab.stop().await;
}

/// What is left beside an open hold is found again when it is over; an act that waits is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_erased_at_first_is_found_again() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let pool = lab.pool.clone();
    let hold = "insert into hold (id, org, service, operation, at_s, request, rules, persons, facts, bundle, detail, asked_salt, asked)
                select $1, 'kr-retailer', 's', 'submit', 1, $2, array['R'], 1, 'f', 'b', $2, $3,
                       sha256($3 || convert_to($4, 'UTF8'))";
    let (id, salt) = (Uuid::from_u128(9), [5_u8; 16]);
    sqlx::query(hold).bind(id).bind([1_u8; 32]).bind(salt).bind(KIM).execute(&pool).await.unwrap();
    let [kim, lee] = two(&pool).await;
    let erase = async || {
        let id = ask_erasure(&kim, &privacy(), of(KIM), "kim", "r").await.unwrap()?;
        Some(confirm_erasure(&lee, &privacy(), id, of(KIM), "lee").await)
    };
    let left =
        |holds, holds_left| Confirmed::Erased(Erased { keys: 0, values: 0, holds, holds_left });
    assert_eq!(erase().await.unwrap().unwrap(), left(0, 1));
    assert_eq!(erase().await.unwrap().unwrap(), left(0, 1), "it is found until it is gone");
    let refused = "insert into hold_resolution (hold, result) values ($1, 'refused')";
    sqlx::query(refused).bind(id).execute(&pool).await.unwrap();
    assert_eq!(erase().await.unwrap().unwrap(), left(1, 0));
    assert!(erase().await.is_none(), "nothing is kept of the person any more");

    // Nobody writes acts now.
    deny(&lab, KIM).await;
    let pool = lab.stop().await;
    let id = ask_erasure(&kim, &privacy(), of(KIM), "kim", "r").await.unwrap().unwrap();
    let people = vec![KIM.into()];
    let (event, body) = (Uuid::from_u128(1), serde_json::Map::new());
    let act = Act { event, kind: ActKind::Review, people, body };
    act.tell(&mut pool.acquire().await.unwrap()).await.unwrap();
    let refused = confirm_erasure(&lee, &privacy(), id, of(KIM), "lee").await;
    assert!(matches!(refused, Err(EraseError::Waiting)), "{refused:?}");
    let kept: i64 =
        sqlx::query_scalar("select count(*) from audit_key").fetch_one(&pool).await.unwrap();
    assert_ne!(kept, 0, "nothing was erased");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_master_key_opens_everything_and_the_former_one_nothing() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let pool = lab.pool.clone();
    let leaf = deny(&lab, KIM).await;
    // As an earlier version kept it.
    let (salt, name) = ([3_u8; 16], "old@kr-retailer.example");
    let clear = "insert into audit_private (digest, kind, org, salt, value)
                 values (sha256($1::bytea || convert_to($2, 'UTF8')), 'actor', 'kr-retailer', $1, $2)";
    sqlx::query(clear).bind(salt.as_slice()).bind(name).execute(&pool).await.unwrap();
    let key = |id: &str, byte| (id.to_owned(), Zeroizing::new([byte; 32]));
    let both = Privacy::of(&[key("next", 9), key("lab", 7)]).unwrap().unwrap();
    let only = Privacy::of(&[key("next", 9)]).unwrap().unwrap();
    let before: Vec<Vec<u8>> =
        sqlx::query_scalar("select sealed from audit_private where sealed is not null")
            .fetch_all(&pool)
            .await
            .unwrap();
    let [kim, lee] = two(&pool).await;
    let done = rewrap(&kim, &both, "kim").await.unwrap();
    assert_eq!((done.keys, done.sealed, &done.left[..]), (1, 1, &[][..]));
    let place = (0, leaf["index"].as_u64().unwrap());
    let shown = disclose(&pool, &only, place, "actor").await.unwrap();
    assert_eq!(shown.values[0].1.value, KIM);
    assert!(matches!(
        disclose(&pool, &privacy(), place, "actor").await,
        Err(DiscloseError::Privacy(_))
    ));
    let clear: i64 =
        sqlx::query_scalar("select count(*) from audit_private where value is not null")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(clear, 0);
    let after: Vec<Vec<u8>> =
        sqlx::query_scalar("select sealed from audit_private").fetch_all(&pool).await.unwrap();
    assert!(before.iter().all(|sealed| after.contains(sealed)), "no value is touched");
    eventually("the change is recorded", async || told(&pool, "key_event").await.len() == 2).await;
    let acts = told(&pool, "key_event").await;
    assert_eq!((&acts[0]["keys"], &acts[1]["sealed"]), (&1.into(), &1.into()));

    // How it was wrapped before is there as well, until the person is erased.
    let former = async || -> i64 {
        sqlx::query_scalar("select count(*) from audit_key_former").fetch_one(&pool).await.unwrap()
    };
    assert_eq!(former().await, 1);

    // The lane still wraps under the former key: whoever changes it is told. Who is erased is found under both.
    deny(&lab, PARK).await;
    assert_eq!(
        rewrap(&kim, &only, "kim").await.err().map(|error| error.to_string().contains("`lab`")),
        Some(true)
    );
    // With one of two master keys nobody can tell whose the keys under the other are.
    let asked = ask_erasure(&kim, &only, of(PARK), "kim", "r").await;
    assert!(matches!(asked, Err(EraseError::Master(name)) if name == "lab"));
    for name in [KIM, PARK, name] {
        let whom = Subject { name, org: None };
        let id = ask_erasure(&kim, &both, whom, "kim", "r").await.unwrap().unwrap();
        let blind = confirm_erasure(&lee, &only, id, whom, "lee").await;
        assert!(matches!(blind, Err(EraseError::Master(name)) if name == "lab"));
        let done = confirm_erasure(&lee, &both, id, whom, "lee").await.unwrap();
        assert_eq!(
            done,
            Confirmed::Erased(Erased { keys: 1, values: 1, holds: 0, holds_left: 0 }),
            "{name}"
        );
    }
    assert_eq!(former().await, 0, "a key goes with all that it was");
    lab.stop().await;
}
