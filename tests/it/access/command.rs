//! `haetae access` does what it says, and the gateway's own login may write access entries and nothing else.

use std::process::ExitCode;

use clap::Parser;
use haetae::cli::access::{Args, run};
use sqlx::{ConnectOptions, Executor};

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

#[tokio::test]
async fn grant_explain_and_revoke() {
    let lab = Lab::new().await;
    let asks =
        ["explain", RETAILER, "--role", "teller", "--service", MODEL, "--operation", "cancel"];
    let says = async |expected: ExitCode| {
        assert_eq!(typed(&lab, &asks).await.unwrap(), expected);
    };
    says(ExitCode::FAILURE).await;
    let grant = [
        "grant",
        RETAILER,
        "--role",
        "clerk",
        "--service",
        MODEL,
        "--operation",
        "cancel",
        "--name",
        "r1",
    ];
    typed(&lab, &grant).await.unwrap();
    says(ExitCode::FAILURE).await;
    let give = ["grant", RETAILER, "--role", "clerk", "--to-role", "teller"];
    typed(&lab, &give).await.unwrap();
    typed(&lab, &give).await.unwrap();
    says(ExitCode::SUCCESS).await;
    typed(&lab, &["list", RETAILER]).await.unwrap();
    typed(&lab, &["revoke", "kr-retailer/r1"]).await.unwrap();
    says(ExitCode::FAILURE).await;
    let head = store::head(lab.pool()).await.unwrap();
    assert_eq!(head, 4, "apply, two grants (the second grant of the same is none), one revocation");
    let error = typed(&lab, &["revoke", "kr-retailer/r1"]).await.unwrap_err().to_string();
    assert_eq!(error, "access_row `kr-retailer/r1` is not registered");
    let star = ["grant", RETAILER, "--role", "*", "--service", MODEL, "--operation", "cancel"];
    let error = typed(&lab, &star).await.unwrap_err().to_string();
    assert!(error.contains("`role`: this is not the name of a role"), "{error}");
    let floor = ["grant", RETAILER, "--role", "boss", "--every-service", "--operation", "admin"];
    let error = typed(&lab, &floor).await.unwrap_err().to_string();
    assert!(error.contains("row `F01` of the bundle refuses `admin`"), "{error}");
}

/// An id stands in the log for good: nobody finds out by it whom a role was given to.
#[tokio::test]
async fn an_id_that_nobody_gave_is_drawn_and_granting_twice_is_granting_once() {
    let lab = Lab::new().await;
    let give = ["grant", RETAILER, "--role", "clerk", "--to-actor", "lee", "--issuer", ISSUER];
    let given = async || -> Vec<String> {
        let all = store::show(lab.pool(), Some(Sort::RoleGrant)).await.unwrap();
        all.into_iter().map(|version| version.id).collect()
    };
    let mut seen = Vec::new();
    for _ in 0..2 {
        typed(&lab, &give).await.unwrap();
        let (again, once_more) = tokio::join!(typed(&lab, &give), typed(&lab, &give));
        again.unwrap();
        once_more.unwrap();
        let mut ids = given().await;
        assert_eq!(ids.len(), 1, "{ids:?}");
        typed(&lab, &["revoke", &ids[0]]).await.unwrap();
        seen.append(&mut ids);
    }
    assert_ne!(seen[0], seen[1], "the same words, and another id");
    let told: Vec<String> = sqlx::query_scalar(
        "select body ->> 'entry' from log_outbox where body ->> 'act' = 'grant' order by n",
    )
    .fetch_all(lab.pool())
    .await
    .unwrap();
    assert_eq!(told, seen);

    // What was granted before, by whatever id, is the same; under another name it is another entry.
    let old = with(to_actor("g-0123456789ab", "lee", "clerk"), json!({}));
    lab.grant(entry(Sort::RoleGrant, &old)).await.unwrap();
    typed(&lab, &give).await.unwrap();
    assert_eq!(given().await, ["kr-retailer/g-0123456789ab"]);
    typed(&lab, &[&give[..], &["--name", "lee"]].concat()).await.unwrap();
    typed(&lab, &[&give[..], &["--until", "2030-01-01"]].concat()).await.unwrap();
    assert_eq!(given().await.len(), 3);
}

#[tokio::test]
async fn the_gateways_login_writes_access_entries_and_no_other_fact() {
    let lab = Lab::new().await;
    let gateway = sqlx::postgres::PgPoolOptions::new()
        .max_connections(2)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute("SET ROLE haetae_gateway").await.map(drop) })
        })
        .connect_with(lab.fresh.options.clone())
        .await
        .unwrap();
    let bench = Bench { pool: &gateway, bundle: &lab.bundle, at: AT };
    let wish = a_row(&row("t", "teller", MODEL, "cancel"));
    change(bench, wish, By::Operator, "kim", false).await.unwrap();
    let taken = revoke(Sort::AccessRow, "t");
    change(bench, taken, By::Operator, "kim", false).await.unwrap();
    let teller = Who::new("t", &["teller"]);
    assert_eq!(lab.may(RETAILER, &teller, MODEL, "cancel").await, Err(Reason::AccessDenied));
    let error = store::suspend_ground(&gateway, "kr-retailer.fra-2026", "kim").await.unwrap_err();
    assert!(error.to_string().contains("row-level security"), "{error}");
    for statement in [
        "DELETE FROM registry_entry",
        "UPDATE registry_entry SET document = '{}' WHERE sort = 'access_row'",
        "INSERT INTO registry_entry (sort, id, version_from, how, document) VALUES ('ground', 'x', 1, 'put', '{}')",
        "UPDATE registry_version SET applied_by = 'nobody'",
    ] {
        assert!(gateway.execute(statement).await.is_err(), "{statement}");
    }
    let ended = "UPDATE registry_entry SET version_until = 9 WHERE sort = 'ground'";
    assert_eq!(gateway.execute(ended).await.unwrap().rows_affected(), 0);
}

async fn typed(lab: &Lab, words: &[&str]) -> anyhow::Result<ExitCode> {
    let url = lab.fresh.options.to_url_lossy().to_string();
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let line = ["it", "--database", &url, "--by", "kim", "--bundle", &policies.to_string_lossy()];
    let line: Vec<String> = line.iter().chain(words).map(|word| (*word).to_owned()).collect();
    run(Line::parse_from(line).args).await
}
