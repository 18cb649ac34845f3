//! Rows done as superuser where nobody looked: other tables under our names, places that no reader comes by, what a gateway was told
//! is there, and is not.

use std::process::Command;
use std::sync::Arc;

use haetae::audit::{Key, verify, verify_watched};
use haetae::clock::Clock;
use haetae::config::Database;
use sqlx::PgPool;

use super::row;
use super::written::{Written, found};
use crate::audit::lab::{Lab, eventually};
use crate::audit::shown::database_url;
use crate::support::fresh_database;

/// What a session finds under a name is set for its login and for the database, by whoever owns them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn show_a_copy_under_the_same_names() {
    let log = Written::copy().await;
    let set = "
        create schema evil;
        do $$ declare name text; begin
            for name in select relname from pg_class
                        where relnamespace = 'public'::regnamespace and relkind = 'r'
                          and relname ~ '^(log|row|projection|registry|policy|hold|fact)_' loop
                execute format('create table evil.%I as table public.%I', name, name);
            end loop;
            execute format('alter role %I in database %I set search_path = evil, public', current_user, current_database());
            execute format('alter database %I set search_path = evil, public', current_database());
        end $$;
        delete from public.log_batch where first_index = 40";
    sqlx::raw_sql(set).execute(log.pool()).await.unwrap();
    let url = database_url(log.pool());
    let as_set = PgPool::connect(&url).await.unwrap();
    assert_eq!(verify(&as_set).await.unwrap().findings, [], "who asks by these names sees a copy");
    // Each way in: the reader's, the owner's, and the gateway's own, whose options its lanes take over.
    let database = Database::at(url.clone());
    let pools = tokio::try_join!(database.reader_pool(), database.owner_pool(), database.pool());
    let (reader, owner, own) = pools.unwrap();
    for pool in [&reader, &owner, &own] {
        let path: String = sqlx::query_scalar("show search_path").fetch_one(pool).await.unwrap();
        assert_eq!(path, "public,pg_temp");
    }
    let inside = said(&reader).await;
    // A path that the operator names is what he wants.
    for own in ["-c%20search_path%3Devil", "--search-path%3Devil"] {
        let own = Database::at(format!("{url}&options={own}"));
        assert_eq!(said(&own.reader_pool().await.unwrap()).await, Vec::<String>::new());
    }
    let seen = found(&inside, "missing");
    row("show_a_copy_under_the_same_names", &[("log verify", seen)]);
}

/// The last of the first eight is where the reader turns the page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keep_a_second_batch_where_one_begins() {
    let log = Written::copy().await;
    sqlx::raw_sql("alter table log_batch drop constraint log_batch_pkey")
        .execute(log.pool())
        .await
        .unwrap();
    log.run(&["insert into log_batch select * from log_batch where first_index = 7"]).await;
    let (inside, outside) = (log.inside().await, log.outside(&[]).await);
    assert_eq!(inside.len(), 1, "{inside:?}");
    let said = [("log verify", inside[0].clone()), ("haetae-verify", outside[0].clone())];
    row("keep_a_second_batch_where_one_begins", &said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plant_where_no_lane_reads() {
    let log = Written::copy().await;
    sqlx::raw_sql("alter domain record_index drop constraint record_index_check")
        .execute(log.pool())
        .await
        .unwrap();
    log.run(&[
        "insert into log_batch select 99, first_index, count, epoch, leaves, marks, at from log_batch where first_index in (3, 4)",
        "insert into log_batch select lane, -2, count, epoch, leaves, marks, at from log_batch where lane = 0 and first_index = 3",
        "insert into log_tile select 99, level, n, hashes from log_tile",
        "insert into log_checkpoint select 99, size, note, vkey, at from log_checkpoint where size = 302",
        "insert into log_cosignature values (99, 302, 'witness.example/1', 1, '— witness.example/1 AAAA')",
        "insert into row_flow select sha256('none'), n, component, regime, flow, from_place, to_place, entity, outcome from row_flow",
        "insert into log_text values (sha256('a detail to come'), 'detail', 'another one')",
    ])
    .await;
    let inside = log.inside().await;
    let expected = [
        "lane 0: misplaced: 1 rows of `log_batch` have no place in the log: of lane 0, the first with `first_index` -2",
        "lane 99: misplaced: 2 rows of `log_batch` have no place in the log: of lane 99, the first with `first_index` 3",
        "lane 99: tree: 1 rows of `log_tile` have no place in the log: of lane 99, the first with `n` 0",
        "lane 99: checkpoint: 1 rows of `log_checkpoint` have no place in the log: of lane 99, the first with `size` 302",
        "lane 99: checkpoint: 1 rows of `log_cosignature` have no place in the log: of lane 99, the first with `size` 302",
        "no lane: text: 1 texts that no decision names have other bytes than their digest says, the first ",
        "no lane: row: 2 rows of `row_flow` are of a `detail` that no decision names, the first of ",
    ];
    assert_eq!(inside.len(), expected.len(), "{inside:#?}");
    for (said, expected) in inside.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said}");
    }
    let said = [
        ("log verify, of a lane that is none", inside[1].clone()),
        ("log verify, of a text", inside[5].clone()),
        ("log verify, of a flow", inside[6].clone()),
    ];
    row("plant_where_no_lane_reads", &said);
}

/// Whoever says that a claim is settled keeps its ALLOWs from being ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn say_that_every_allow_has_its_end() {
    let fresh = fresh_database().await;
    let key = Arc::new(Key::generate().unwrap());
    // A gateway that dies: its tasks stop where they are and its connections break.
    let (options, same) = (fresh.options.clone(), Arc::clone(&key));
    let died = move || {
        let gone = tokio::runtime::Runtime::new().unwrap();
        let id = gone.block_on(async {
            let pool = PgPool::connect_with(options).await.unwrap();
            let then = Clock::fixed(Clock::system().unix_ns() - 1_200_000_000_000);
            let lab = Lab::start_at(&pool, 1, then, same).await;
            let id = lab.allow().await.proof().id.to_string();
            std::mem::forget(lab);
            id
        });
        gone.shutdown_background();
        id
    };
    let id = tokio::task::spawn_blocking(died).await.unwrap();
    sqlx::query("update log_epoch set settled = true").execute(&fresh.pool).await.unwrap();
    let lab = Lab::start_at(&fresh.pool, 1, Clock::system(), key).await;
    lab.deny().await.unwrap();
    lab.projected().await;
    let pool = lab.stop().await;
    let said = printed(&pool, &[]);
    assert!(said.starts_with("whole: ") && said.contains(&id), "{said}");
    let line = said.lines().find(|line| line.starts_with("allows of ")).unwrap().to_owned();
    let json: serde_json::Value = serde_json::from_str(&printed(&pool, &["--json"])).unwrap();
    assert_eq!(json["allows_without_end"]["oldest"], id);
    assert_eq!((&json["whole"], &json["findings"]), (&true.into(), &serde_json::json!([])));
    // Asked earlier, no answer is late.
    let asked = async |now_ns: i64| {
        let report = verify_watched(&pool, &[], None, now_ns, Arc::new(|_| {}), None).await;
        report.unwrap().open
    };
    let now_ns = Clock::system().unix_ns();
    assert_eq!((asked(now_ns - 900_000_000_000).await, asked(now_ns).await), (0, 1));
    row(
        "say_that_every_allow_has_its_end",
        &[("log verify", "whole".to_owned()), ("log verify, beside it", line)],
    );
}

/// Nothing in it differs: it only is not the log that is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn show_a_copy_of_before() {
    let log = Written::long_ago().await;
    let said = printed(log.pool(), &[]);
    assert!(said.starts_with("whole: "), "{said}");
    let line = said.lines().find(|line| line.starts_with("lane 0: ")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&printed(log.pool(), &["--json"])).unwrap();
    let newest = &json["lanes"][0];
    assert!(newest["newest_age_s"].as_i64().unwrap() >= 120, "{json}");
    let at = newest["newest_at"].as_str().unwrap();
    let (before, after) = line.split_once(&format!(" {at}, ")).expect(line);
    let (age, after) = after.split_once(' ').unwrap();
    assert!(age.parse::<u64>().unwrap() >= 120, "{line}");
    row(
        "show_a_copy_of_before",
        &[
            ("log verify", "whole".to_owned()),
            ("log verify, beside it", format!("{before} THEN, N {after}")),
        ],
    );
}

/// The gateway is told that its checkpoints are there, and they are not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swallow_the_checkpoints() {
    let log = Written::copy().await;
    let swallow = async |body: &'static str| {
        sqlx::raw_sql(body).execute(log.pool()).await.unwrap();
    };
    swallow(
        "create function swallow() returns trigger language plpgsql as $$ begin return null; end $$;
         create trigger swallow before insert on log_checkpoint for each row execute function swallow()",
    )
    .await;
    let gateway = log.start(None).await;
    let cause = |words: &str| {
        let causes = gateway.audit.health().causes;
        causes
            .into_iter()
            .find(|cause| cause.contains("signed checkpoint") && cause.contains(words))
    };
    eventually("it reads back", async || cause("is not there").is_some()).await;
    let said = cause("is not there").unwrap();
    swallow(
        "create or replace function swallow() returns trigger language plpgsql as
         $$ begin new.note := replace(new.note, '— ', '— x'); return new; end $$",
    )
    .await;
    eventually("and looks at what is there", async || cause("is there as another one").is_some())
        .await;
    swallow("drop trigger swallow on log_checkpoint").await;
    gateway.deny().await.unwrap();
    eventually("the next one is there", async || cause("").is_none()).await;
    gateway.stop().await;
    let said: Vec<&str> = said.split(' ').collect();
    let size = said.iter().position(|word| *word == "size").unwrap() + 1;
    let said: Vec<&str> =
        said.iter().enumerate().map(|(n, word)| if n == size { "N" } else { word }).collect();
    row("swallow_the_checkpoints", &[("the gateway's /readyz", said.join(" "))]);
}

async fn said(pool: &PgPool) -> Vec<String> {
    verify(pool).await.unwrap().findings.iter().map(ToString::to_string).collect()
}

/// What `haetae log verify` prints of a whole log.
fn printed(pool: &PgPool, more: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_haetae"));
    command.args(["log", "verify", "--database", &database_url(pool)]).args(more);
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    String::from_utf8(ran.stdout).unwrap()
}
