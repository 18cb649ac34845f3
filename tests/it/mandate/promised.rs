//! Every replica holds a bundle to the canaries of the one that it replaces, in its own process: it says so ahead, and what was
//! put in force past the commands is judged with by none of two.

use haetae::mandate::How;
use serde_json::Value;

use super::life::{PURCHASES, said};
use super::{enact, people, propose, register, staged_by, two_bundles};
use crate::support::pair::Pair;
use crate::support::stage::{CHAT, ORDERS, SEOUL, chat, eventually, leaves, plain_http};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_of_two_replicas_judges_with_what_breaks_a_canary_of_the_bundle_before() {
    let mut pair = Pair::start().await;
    let (pool, people) = (pair.stage.pool().await, people());
    let [park, kim, _] = &people;
    register(&pool, &people).await;
    let [open, shut] = two_bundles(&pair.stage);
    let canaries = std::fs::read_to_string(open.join("canary.toml")).unwrap() + PURCHASES;
    std::fs::write(open.join("canary.toml"), canaries).unwrap();
    let (open, shut) = (propose(&pool, &open).await, propose(&pool, &shut).await);
    staged_by(&pool, 2).await;
    let promised = enact(&pool, How::Activate, &open, None, &[park, kim]).await.unwrap();
    for process in 0..2 {
        assert_eq!(ask(&pair, process).await.0, 200);
    }

    // ahead: each says which bundle it would not follow, and why
    let said_so = "select count(*) from policy_replica where breaks = array[$1] and breaks_why[1] like '%purchases in Seoul%'";
    eventually("both have tried it", async || {
        sqlx::query_scalar::<_, i64>(said_so).bind(&*shut.digest).fetch_one(&pool).await.unwrap()
            == 2
    })
    .await;
    let status = said(&pair.stage, &["policy", "status"]).await;
    assert_eq!(status.matches("cannot activate").count(), 2, "{status}");

    // past the commands: signed by two, and still not what was promised
    let broken = enact(&pool, How::Activate, &shut, None, &[park, kim]).await.unwrap();
    for process in 0..2 {
        assert_eq!(ask(&pair, process).await, (503, "policy_unavailable".into()));
    }
    eventually("both say why", async || {
        let mut all = true;
        for (console, metrics) in pair.consoles().iter().zip(pair.metrics().await) {
            let ready = plain_http().get(format!("http://{console}/readyz")).send().await.unwrap();
            let (status, text) = (ready.status(), ready.text().await.unwrap());
            all &= status == 503
                && text.contains("`canary: purchases in Seoul` does not pass")
                && metrics.contains("haetae_policy_unready 1");
        }
        all
    })
    .await;
    // a step back is held to nothing
    enact(&pool, How::Rollback, &open, None, &[park]).await.unwrap();
    for process in 0..2 {
        eventually("the bundle of before judges", async || ask(&pair, process).await.0 == 200)
            .await;
    }
    pair.stop().await;

    let all = leaves(&pool).await;
    let alarms =
        |leaf: &&Value| leaf["kind"] == "alarm" && leaf["what"] == "policy_breaks_canaries";
    assert_eq!(all.iter().filter(alarms).count(), 2, "one of each replica");
    for leaf in all.iter().filter(|leaf| leaf["kind"] == "decision") {
        let version = leaf["fact_version"].as_i64().unwrap();
        if version == broken.version {
            assert_eq!(leaf["reason"], "POLICY_UNAVAILABLE", "{leaf}");
        } else if version >= promised.version {
            assert_eq!(leaf["outcome"], "ALLOW", "{leaf}");
        }
    }
    let verified =
        pair.stage.world.program.run(&["log", "verify", "--config", "haetae.toml"]).await;
    assert!(verified.is_ok(), "{verified:?}");
}

/// Status and code of one of the two.
async fn ask(pair: &Pair, process: usize) -> (u16, String) {
    let caller = pair.caller(process, "kr-retailer");
    let answer = caller.post(CHAT, &[ORDERS, SEOUL], chat().to_string().as_bytes()).await;
    let code = if answer.status == 200 { String::new() } else { answer.code() };
    (answer.status, code)
}
