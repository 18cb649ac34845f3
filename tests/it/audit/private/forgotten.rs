//! What one login does with the unknowing help of another: keys that were replaced are not forgotten before somebody has looked,
//! and what is not committed yet is not passed over.

use haetae::audit::{EraseError, Subject, ask_erasure, ask_forget, confirm_erasure, rewrap};
use haetae::privacy::Privacy;
use sqlx::PgPool;
use verdict::decision::Outcome;
use zeroize::Zeroizing;

use crate::audit::lab::{Lab, disclose, draft, eventually, privacy};
use crate::audit::psql::Psql;
use crate::support::fresh_database;

const KIM: Subject<'_> =
    Subject { name: "min-jun.kim@kr-retailer.example", org: Some("kr-retailer") };
const PARK: &str = "so-yeon.park@kr-retailer.example";
/// All keys under a master key, with rubbish in their place.
const RUBBISH: &str = "select privacy_rewrap('next', array_agg(id), array_agg(subject), \
                       array_agg(decode(repeat('00', 92), 'hex')), 'm') from audit_key where master = 'lab'";

fn both() -> Privacy {
    let key = |(name, byte): (&str, u8)| (name.to_owned(), Zeroizing::new([byte; 32]));
    Privacy::of(&[("new", 8), ("lab", 7)].map(key)).unwrap().unwrap()
}

async fn count(pool: &PgPool, from: &'static str) -> i64 {
    sqlx::query_scalar(from).fetch_one(pool).await.unwrap()
}

const FORMER: &str = "select count(*) from audit_key_former where master = 'lab'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_asks_to_forget_what_keys_were_while_one_does_not_open() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    lab.deny().await.unwrap();
    let pool = lab.stop().await;
    let one = Psql::member(&pool, "one", "haetae_privacy").await;
    let evil = Psql::member(&pool, "evil", "haetae_privacy").await;
    evil.ask(RUBBISH).unwrap();
    let refused = ask_forget(&one.pool().await, &both(), "lab", "kim", "leaked").await;
    assert!(matches!(refused, Err(EraseError::Unopened(1))), "{refused:?}");
    assert_eq!(count(&pool, "select count(*) from former_forgetting").await, 0, "nobody asked");
    let told = "select count(*) from log_outbox where body ->> 'act' = 'former_asked'";
    assert_eq!((count(&pool, told).await, count(&pool, FORMER).await), (0, 1));
}

/// Whoever waits with a transaction open until somebody honest asks has a time of before, and nobody could look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_committed_when_it_was_asked_for_is_not_forgotten() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    lab.deny().await.unwrap();
    let pool = lab.stop().await;
    let one = Psql::member(&pool, "one", "haetae_privacy").await;
    let evil = Psql::member(&pool, "evil", "haetae_privacy").await;
    let (first, second) = (one.pool().await, evil.pool().await);
    assert_eq!(rewrap(&first, &both(), "kim").await.unwrap().keys, 1);
    let lab = Lab::start(&pool, 1).await;
    let mut late = draft(Outcome::Deny, 0);
    late.actor = PARK.into();
    let haetae::audit::Recorded::Refusal(proof) = lab.audit.record(late).await.unwrap() else {
        panic!("a DENY gave a permit")
    };
    let place = (0, lab.proven(&proof)["index"].as_u64().unwrap());
    let pool = lab.stop().await;
    let keys = count(&pool, "select count(*) from audit_key where master = 'lab'").await;
    assert!(keys >= 1, "hers, and of whoever acted");

    let mut open = second.begin().await.unwrap();
    sqlx::query(RUBBISH).execute(&mut *open).await.unwrap();
    let id = ask_forget(&first, &both(), "lab", "kim", "leaked").await.unwrap().unwrap();
    open.commit().await.unwrap();
    let confirm =
        format!("select forgotten || ' of ' || kept from former_forget('{id}', 'lab', 'm')");
    assert_eq!(evil.ask(&confirm).unwrap(), format!("1 of {keys}"), "what was looked at");
    assert_eq!(count(&pool, FORMER).await, keys);
    let back = "update audit_key k set subject = f.subject, master = f.master, wrapped = f.wrapped
                from audit_key_former f where f.key = k.id and f.master = 'lab'";
    sqlx::query(back).execute(&pool).await.unwrap();
    let shown = disclose(&pool, &both(), place, "actor").await.unwrap();
    assert_eq!(shown.values[0].1.value, PARK);
}

/// A key that becomes somebody else's while the erasure of its person waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_waited_passes_no_key_over() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    lab.deny().await.unwrap();
    let pool = lab.stop().await;
    let [one, two, evil] = ["one", "two", "evil"];
    let login = async |who| Psql::member(&pool, who, "haetae_privacy").await.pool().await;
    let (one, two, evil) = (login(one).await, login(two).await, login(evil).await);
    let id = ask_erasure(&one, &privacy(), KIM, "kim", "r").await.unwrap().unwrap();

    let mut open = evil.begin().await.unwrap();
    for (master, subject) in [("away", "subject"), ("lab", "sha256('somebody')")] {
        let swap = format!(
            "select privacy_rewrap('{master}', array_agg(id), array_agg({subject}), array_agg(wrapped), 'm') from audit_key"
        );
        sqlx::query(sqlx::AssertSqlSafe(swap)).execute(&mut *open).await.unwrap();
    }
    let waits = "select count(*) from pg_stat_activity where datname = current_database()
                 and wait_event_type = 'Lock' and query like '%erasure_confirm%' and pid <> pg_backend_pid()";
    let commit = async {
        eventually("it waits", async || count(&pool, waits).await == 1).await;
        open.commit().await.unwrap();
    };
    let master = privacy();
    let (done, ()) = tokio::join!(confirm_erasure(&two, &master, id, KIM, "lee"), commit);
    assert!(matches!(done, Err(EraseError::Swapped)), "{done:?}");
    assert_eq!(count(&pool, "select count(*) from audit_key").await, 1);
    let done = count(&pool, "select count(*) from erasure where done_at_s is not null").await;
    assert_eq!(done, 0, "nothing is said to be erased");
}
