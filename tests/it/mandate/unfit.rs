//! What must not come into force does not: a bundle that does not load, a row that somebody wrote by hand, signatures that
//! are too few. And if it is in force all the same, everybody is refused, and it is said which and why.

use haetae::mandate::{How, store};
use haetae::policy::Folder;
use serde_json::Value;

use super::{enact, keep, people, propose, register, two_bundles};
use crate::support::fresh_database;
use crate::support::stage::{Answer, CHAT, ORDERS, SEOUL, Stage, chat, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_in_order_is_not_judged_with() {
    let stage = Stage::start().await;
    let (pool, people) = (stage.pool().await, people());
    let [park, kim, admin] = &people;
    register(&pool, &people).await;
    let [open, shut] = two_bundles(&stage);
    let (open, shut) = (propose(&pool, &open).await, propose(&pool, &shut).await);
    let allowed = ask(&stage).await;
    assert_eq!(allowed.status, 200, "{}", allowed.text());

    // too few, and only administrators: nothing is written
    for (signed, why) in
        [(vec![park], "so far it has park"), (vec![kim, admin], "not a platform administrator")]
    {
        let error = enact(&pool, How::Activate, &open, None, &signed).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(store::history(&pool, 0).await.unwrap(), []);

    // a row by hand, as somebody with the rights of the database could write it
    sqlx::query(BY_HAND).bind(&*shut.digest).execute(&pool).await.unwrap();
    let refused = ask(&stage).await;
    assert_unavailable(&stage, &refused, "cannot be used").await;
    let ready = unready(&stage).await;
    assert!(ready.contains(&*shut.digest) && ready.contains("so far it has nobody"), "{ready}");
    // that nobody is asked for a list of models through a bundle without a mandate either
    let listed = stage.caller("kr-retailer").send("GET", "/v1/models", &[]).await;
    assert_eq!((listed.status, listed.code().as_str()), (503, "policy_unavailable"));

    // two people say what shall be, and it is
    enact(&pool, How::Activate, &open, None, &[park, kim]).await.unwrap();
    eventually("the approved bundle judges", async || ask(&stage).await.status == 200).await;

    // a bundle that does not load: the command does not bring it into force
    let mut files =
        serde_json::from_slice::<Value>(&store::files(&pool, &open.digest).await.unwrap()).unwrap();
    files["packs/kr.pipa/rules.csv"] = "p, oops".into();
    let broken = Folder::from_bytes(files.to_string().as_bytes()).unwrap();
    let broken = keep(&pool, &broken, &open.rulebook, &open.access).await;
    std::fs::write(stage.world.dir.join("kim"), kim.key.to_skey()).unwrap();
    let words = [
        "policy",
        "break-glass",
        &broken.digest,
        "--minutes",
        "5",
        "--reason",
        "x",
        "--key",
        "kim",
    ];
    let error = stage.world.program.run(&words).await.unwrap_err().to_string();
    assert!(error.contains("packs/kr.pipa/rules.csv:1"), "{error}");
    assert_eq!(ask(&stage).await.status, 200);
    // past the command
    enact(&pool, How::Activate, &broken, None, &[park, kim]).await.unwrap();
    let refused = ask(&stage).await;
    assert_unavailable(&stage, &refused, "cannot be used").await;
    let ready = unready(&stage).await;
    assert!(ready.contains("packs/kr.pipa/rules.csv:1"), "{ready}");
    let metrics = stage.console("/metrics").await.text();
    assert!(metrics.contains("haetae_policy_unready 1"), "{metrics}");
    enact(&pool, How::Rollback, &open, None, &[park]).await.unwrap();
    eventually("the bundle of before judges", async || ask(&stage).await.status == 200).await;
}

#[tokio::test]
async fn rights_are_apart() {
    let pool = fresh_database().await.pool;
    for (role, statement, allowed) in [
        ("haetae_gateway", "insert into policy_bundle (digest) values ('x')", false),
        ("haetae_gateway", "insert into policy_enacted (version) values (1)", false),
        ("haetae_gateway", "insert into policy_approver (name) values ('x')", false),
        ("haetae_gateway", "delete from policy_replica", false),
        ("haetae_gateway", "select policy_fall_back(1, 1)", true),
        ("haetae_registrar", "insert into policy_approver (name) values ('x')", false),
        ("haetae_registrar", "update policy_approver set removed_in = 1", false),
        ("haetae_registrar", "update policy_bundle set purpose = 'x'", false),
        ("haetae_registrar", "update policy_enacted set bundle = 'x'", false),
        ("haetae_registrar", "delete from policy_approval", false),
        ("haetae_registrar", "select * from policy_enacted", true),
        ("haetae_reader", "insert into policy_approval (bundle) values ('x')", false),
        ("haetae_reader", "select policy_fall_back(1, 1)", false),
        ("haetae_reader", "select * from policy_bundle", true),
    ] {
        let mut transaction = pool.begin().await.unwrap();
        let set = sqlx::AssertSqlSafe(format!("set local role {role}"));
        sqlx::query(set).execute(&mut *transaction).await.unwrap();
        let done = sqlx::query(statement).execute(&mut *transaction).await;
        let code =
            done.err().map(|error| error.as_database_error().unwrap().code().unwrap().into_owned());
        assert_eq!(code.as_deref() != Some("42501"), allowed, "{role}: {statement}: {code:?}");
    }
}

#[tokio::test]
async fn a_bundle_is_what_its_name_says() {
    let pool = fresh_database().await.pool;
    let insert = "insert into policy_bundle (digest, files, rulebook, access, title, purpose, proposed_by, proposed_at_s)
                  values ('sha256:' || repeat('0', 64), '{}', 'r', 'a', 't', 'p', 'x', 0)";
    let error = sqlx::query(insert).execute(&pool).await.unwrap_err();
    assert!(error.to_string().contains("violates check constraint"), "{error}");
}

async fn ask(stage: &Stage) -> Answer {
    let caller = stage.caller("kr-retailer");
    caller.post(CHAT, &[ORDERS, SEOUL], chat().to_string().as_bytes()).await
}

/// 503 in the caller's own protocol, and a record that says so.
async fn assert_unavailable(stage: &Stage, answer: &Answer, why: &str) {
    let text = answer.text();
    assert_eq!((answer.status, answer.code().as_str()), (503, "policy_unavailable"), "{text}");
    assert!(text.contains(why), "{text}");
    assert_eq!(answer.header("retry-after"), Some("1"));
    let record = stage.record_of(answer).await;
    assert_eq!(
        (&record["outcome"], &record["reason"]),
        (&"DENY".into(), &"POLICY_UNAVAILABLE".into())
    );
}

/// What `/readyz` says of the policy, once it says that it is not ready.
async fn unready(stage: &Stage) -> String {
    let mut cause = String::new();
    eventually("it says that it is not ready", async || {
        let ready = stage.console("/readyz").await;
        let json = ready.json();
        let parts = json["parts"].as_array().unwrap();
        let part = parts.iter().find(|part| part["name"] == "policy").unwrap();
        cause = part["cause"].as_str().unwrap().to_owned();
        ready.status == 503 && part["ready"] == false && !cause.contains("is being loaded")
    })
    .await;
    cause
}

const BY_HAND: &str = "
    with head as (update fact_head set version = version + 1 returning version),
    made as (
        insert into registry_version (version, applied_by, how, digest) select version, 'x', 'activate',
            (select digest from registry_version order by version desc limit 1) from head
        returning version
    ), enacted as (
        insert into policy_enacted (version, bundle, how, reason, notes, enacted_by, enacted_at_s)
        select version, $1, 'activate', 'because I can', '{}', 'x', 0 from made
    ) select pg_notify('haetae_facts', version::text) from made";
