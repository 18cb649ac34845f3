//! A reviewer with psql: sees what its authority's regimes touch, in rows and in single records, and nothing else by any way.

use haetae::audit::{Reviewer, ReviewerError, add_reviewer, remove_reviewer, reviewers};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};
use tlog::Hash;
use uuid::Uuid;

use super::lab::{Lab, eventually, leaves};
use super::psql::Psql;
use crate::support::fresh_database;

fn reviewer(psql: &Psql, regime: &str) -> Reviewer {
    Reviewer {
        role: psql.role.clone(),
        authority: "PIPC".to_owned(),
        regimes: vec![regime.to_owned()],
    }
}

/// A log in which refusals are of another regime than allows.
async fn two_regimes() -> Lab {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    for _ in 0..3 {
        lab.deny().await.unwrap();
    }
    let id = lab.allow().await.proof().id.clone();
    lab.audit.started(&id, "spiffe://kr-op.example/site/kr-seo-1");
    eventually("the allow has its start and its end", async || {
        let rows = "select (select count(*) from row_started) + (select count(*) from row_ended)";
        sqlx::query_scalar::<_, i64>(rows).fetch_one(&lab.pool).await.unwrap() >= 1
    })
    .await;
    lab.projected().await;
    let moved = "update row_flow set regime = 'EU.Y' where detail in (select detail from row_decision where outcome = 'DENY')";
    sqlx::query(moved).execute(&lab.pool).await.unwrap();
    lab
}

fn ids(leaves: &[Value], outcome: &str) -> Vec<String> {
    let of = leaves.iter().filter(|leaf| leaf["outcome"] == outcome);
    of.map(|leaf| leaf["id"].as_str().unwrap().to_owned()).collect()
}

/// The record of what one sees, byte for byte, with its texts; of the others nothing.
async fn single_records(lab: &Lab, korea: &Psql, europe: &Psql) {
    let all = leaves(&lab.pool).await;
    let allowed = ids(&all, "ALLOW");
    for leaf in all.iter().filter(|leaf| leaf["outcome"] == "DENY") {
        let ask = format!("select reviewer_leaf('{}')", leaf["id"].as_str().unwrap());
        let bytes = verdict::canonical(leaf).unwrap();
        assert_eq!(europe.ask(&ask).unwrap(), format!("\\x{}", hex::encode(&bytes)));
        assert_eq!(korea.ask(&ask).unwrap(), "");
        let proven = haetae::audit::prove_place(&lab.pool, 0, leaf["index"].as_u64().unwrap())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(Hash::leaf(&proven.leaf), Hash::leaf(&bytes));
    }
    assert_eq!(korea.count(&format!("reviewer_texts('{}')", allowed[0])), 3);
    assert_eq!(europe.count(&format!("reviewer_texts('{}')", allowed[0])), 0);
    assert_eq!(europe.count(&format!("reviewer_place('{}')", allowed[0])), 0);
}

/// Neither by other tables, nor by other roles, nor by writing.
fn no_way_round(korea: &Psql) {
    for statement in [
        "select * from log_batch",
        "select * from log_text",
        "select * from log_outbox",
        "select * from hold",
        "select * from audit_private",
        "select * from audit_key",
        "select * from reviewer",
        "select * from registry_entry",
        "insert into reviewer values (current_user, 'EU.Y', 'me')",
        "update row_decision set org = 'x'",
        "delete from row_decision",
        "truncate row_flow",
        "alter table row_decision disable row level security",
        "create function public.f() returns int language sql as 'select 1'",
        "set role haetae_reader",
        "set session authorization postgres",
        "set row_security = off; select * from row_decision",
        "copy row_decision to program 'cat'",
        "select pg_read_file('PG_VERSION')",
        "create policy mine on row_decision using (true)",
    ] {
        assert!(korea.ask(statement).is_err(), "{statement}");
    }
}

/// Nor by a function in the condition that tells what it is shown.
fn no_leak(korea: &Psql, allowed: &str, refused: &str) {
    let leaky = "create function pg_temp.leak(text) returns boolean language plpgsql cost 0.0000001 as \
                 $$ begin raise warning 'seen: %', $1; return true; end $$; select org from row_decision where pg_temp.leak(id::text)";
    let output = korea.run(leaky);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told.matches("seen: ").count(), 1, "a condition of its own saw other rows: {told}");
    assert!(output.status.success() && told.contains(allowed), "{told}");
    let by_role = format!(
        "set role haetae_reviewer; select count(*) from row_decision where id = '{refused}'"
    );
    assert_eq!(korea.ask(&by_role).unwrap(), "0");
}

/// Nor by what Postgres says it did for one question of rows that are others', asked with two different words.
fn no_oracle(reviewer: &Psql, questions: &[(&str, [&str; 2])]) {
    let explain = "explain (analyze, buffers, costs off, timing off, summary off) select";
    for (question, words) in questions {
        for cost in ["0.0025", "0", "1e10"] {
            let told = words.map(|word| {
                let ask = format!("{explain} {question} '{word}';");
                // Once more, when all that it needs is in the cache.
                let twice = format!("set cpu_operator_cost = {cost}; {ask} select 'again'; {ask}");
                let told = reviewer.ask(&twice).unwrap();
                told.split("again").nth(1).unwrap().replace(&format!("'{word}'"), "it")
            });
            assert_eq!(told[0], told[1], "{question}");
        }
    }
}

/// Records of others that one could find by their ids.
fn nothing_by_halves(reviewer: &Psql, other: &str) {
    let row = |rest: &str| format!("from row_decision where id = '{other}' and {rest}");
    no_oracle(
        reviewer,
        &[
            (&row("service <"), ["a", "z"]),
            (&row("outcome >="), ["ALLOW", "OTHER"]),
            (&row("actor <"), ["\\x00", "\\xff"]),
            (&row("(rule <> '' or site <> '') and reason >"), ["A", "Z"]),
        ],
    );
}

async fn everybody_else_reads(pool: &PgPool) {
    let mut connection = pool.acquire().await.unwrap();
    for role in ["haetae_reader", "haetae_gateway", "haetae_privacy"] {
        sqlx::query(AssertSqlSafe(format!("set role {role}")))
            .execute(&mut *connection)
            .await
            .unwrap();
        let count = sqlx::query_scalar::<_, i64>("select count(*) from row_decision");
        assert_eq!(count.fetch_one(&mut *connection).await.unwrap(), 4, "{role}");
    }
    sqlx::query("reset role").execute(&mut *connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scoped_reviewer_sees_what_its_regimes_touch_and_nothing_else() {
    let lab = two_regimes().await;
    let (korea, europe) =
        (Psql::login(&lab.pool, "pipc").await, Psql::login(&lab.pool, "edpb").await);
    let denied = "permission denied";
    assert!(korea.ask("select count(*) from row_decision").unwrap_err().contains(denied));
    add_reviewer(&lab.pool, &reviewer(&korea, "KR.X"), Uuid::from_u128(1), "kim").await.unwrap();
    add_reviewer(&lab.pool, &reviewer(&europe, "EU.Y"), Uuid::from_u128(2), "kim").await.unwrap();
    assert_eq!(korea.count("row_decision where outcome = 'ALLOW'"), 1);
    assert_eq!((korea.count("row_decision"), europe.count("row_decision")), (1, 3));
    assert_eq!(europe.count("row_decision where outcome = 'DENY'"), 3);
    assert!(korea.count("row_started") + korea.count("row_ended") >= 1);
    assert_eq!(europe.count("row_started") + europe.count("row_ended"), 0);
    assert_eq!(
        (
            korea.count("row_flow where regime <> 'KR.X'"),
            europe.count("row_flow where regime <> 'EU.Y'")
        ),
        (0, 0)
    );
    assert!(korea.count("row_flow") > 0 && europe.count("row_flow") > 0);

    single_records(&lab, &korea, &europe).await;
    no_way_round(&korea);
    let all = leaves(&lab.pool).await;
    no_leak(&korea, &ids(&all, "ALLOW")[0], &ids(&all, "DENY")[0]);
    nothing_by_halves(&korea, &ids(&all, "DENY")[0]);
    nothing_by_halves(&europe, &ids(&all, "ALLOW")[0]);
    no_oracle(&korea, &[("from row_flow where regime = 'EU.Y' and component <", ["a", "z"])]);
    let [started, ended] = ["from row_started where identity <", "from row_ended where how <"];
    no_oracle(&europe, &[(started, ["a", "z"]), (ended, ["a", "z"])]);
    everybody_else_reads(&lab.pool).await;
    // And the log goes on.
    lab.deny().await.unwrap();
    lab.projected().await;

    // What was changed is in the log; who is removed sees nothing.
    let all = reviewers(&lab.pool).await.unwrap();
    assert_eq!(all.iter().map(|(_, sees_all)| *sees_all).collect::<Vec<_>>(), [Some(false); 2]);
    remove_reviewer(&lab.pool, &europe.role, Uuid::from_u128(3), "kim").await.unwrap();
    assert!(europe.ask("select count(*) from row_decision").unwrap_err().contains(denied));
    let gone = remove_reviewer(&lab.pool, &europe.role, Uuid::from_u128(4), "kim").await;
    assert!(matches!(gone, Err(ReviewerError::NoReviewer(_))));
    eventually("three changes are recorded", async || {
        let told = leaves(&lab.pool).await;
        told.iter().filter(|leaf| leaf["kind"] == "access_change").count() == 3
    })
    .await;
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_would_see_everything_is_no_scoped_reviewer() {
    let pool = fresh_database().await.pool;
    let add = async |role: &str| {
        let reviewer =
            Reviewer { role: role.to_owned(), authority: "A".into(), regimes: vec!["KR.X".into()] };
        add_reviewer(&pool, &reviewer, Uuid::from_u128(9), "kim").await
    };
    assert!(matches!(add("no_such").await, Err(ReviewerError::NoRole(_))));
    assert!(matches!(add("postgres").await, Err(ReviewerError::SeesAll(_))));
    let reader = Psql::login(&pool, "console").await;
    let grant = AssertSqlSafe(format!("grant haetae_reader to {}", reader.role));
    sqlx::query(grant).execute(&pool).await.unwrap();
    assert!(matches!(add(&reader.role).await, Err(ReviewerError::SeesAll(_))));
    let all = Psql::login(&pool, "all_data").await;
    let grant = AssertSqlSafe(format!("grant pg_read_all_data to {}", all.role));
    sqlx::query(grant).execute(&pool).await.unwrap();
    assert!(matches!(add(&all.role).await, Err(ReviewerError::SeesAll(_))));
    // Nor one that becomes somebody else by `set role`, or that writes what it may see.
    let options = pool.connect_options();
    let database = options.get_database().unwrap();
    for (name, made) in [
        ("dba", "superuser"),
        ("backup", "bypassrls"),
        ("console_group", "in role haetae_reader"),
        ("importer", "in role pg_write_all_data"),
        ("files", "in role pg_write_server_files"),
    ] {
        let group = format!("{name}_{database}");
        let login = Psql::login(&pool, &format!("member_of_{name}")).await;
        let grant = format!(
            "create role {group} {made}; alter role {role} noinherit; grant {group} to {role}",
            role = login.role
        );
        sqlx::raw_sql(AssertSqlSafe(grant)).execute(&pool).await.unwrap();
        assert!(matches!(add(&login.role).await, Err(ReviewerError::SeesAll(_))), "{name}");
    }
    assert!(reviewers(&pool).await.unwrap().is_empty());
    // Who is given more later is said to see it.
    let late = Psql::login(&pool, "later").await;
    add(&late.role).await.unwrap();
    let grant = AssertSqlSafe(format!("grant haetae_reader to {}", late.role));
    sqlx::query(grant).execute(&pool).await.unwrap();
    assert_eq!(
        reviewers(&pool).await.unwrap().pop().map(|(_, sees_all)| sees_all),
        Some(Some(true))
    );
}
