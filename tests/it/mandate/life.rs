//! A policy's life by the commands that people type: proposed, looked at, approved, in force, rolled back; and a broken
//! glass that mends itself. Each act is in the log.

use haetae::mandate::{How, store};
use serde_json::Value;

use super::{WHO, enact, people, propose, register, staged, two_bundles};
use crate::support::stage::{CHAT, ORDERS, SEOUL, Stage, chat, eventually, leaves};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_proposal_to_rollback() {
    let stage = Stage::start().await;
    let [open, shut] = two_bundles(&stage);
    let (open, shut) = (open.to_str().unwrap(), shut.to_str().unwrap());
    for (name, role) in [("park", "data_protection"), ("kim", "platform_administrator")] {
        let vkey = said(&stage, &["policy", "keygen", "--name", name, "--out", name]).await;
        said(&stage, &["policy", "approver", "add", vkey.trim(), "--role", role]).await;
    }
    let error = wrong(&stage, &["policy", "approver", "add", "kim+1", "--role", "boss"]).await;
    assert!(error.contains("is no public key"), "{error}");

    let mut digests = Vec::new();
    for dir in [open, shut] {
        let text = said(&stage, &["policy", "propose", dir, "--purpose", "a test"]).await;
        digests.push(text.lines().next().unwrap().strip_prefix("bundle ").unwrap().to_owned());
    }
    let [open, shut] = digests.as_slice() else { panic!() };
    said(&stage, &["policy", "fetch", shut, "--out", "looked-at"]).await;
    let looked = stage.world.dir.join("looked-at/packs/halt/rules.csv");
    assert!(std::fs::read_to_string(looked).unwrap().contains("Z01/1"));
    an_author_signs(&stage).await;

    for (digest, status) in [(open, 200), (shut, 403)] {
        let error = wrong(&stage, &["policy", "activate", digest]).await;
        assert!(error.contains("so far it has nobody"), "{error}");
        let text = said(&stage, &["policy", "approve", digest, "--key", "park"]).await;
        assert!(text.contains("not yet: activate takes 2 different approvers"), "{text}");
        said(&stage, &["policy", "approve", digest, "--key", "kim"]).await;
        let text = said(&stage, &["policy", "activate", digest.get(..20).unwrap()]).await;
        assert!(text.contains("1 of 1 replicas judge with it"), "{text}");
        assert_eq!(ask(&stage).await, status);
    }
    let error =
        wrong(&stage, &["policy", "rollback", "--reason", "it stops all", "--key", "kim"]).await;
    assert!(error.contains("who is not a platform administrator"), "{error}");
    said(&stage, &["policy", "rollback", "--reason", "it stops all", "--key", "park"]).await;
    assert_eq!(ask(&stage).await, 200);
    let text = said(&stage, &["policy", "history"]).await;
    let acts: Vec<&str> = text.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(
        acts.iter().filter(|act| ["activate", "rollback"].contains(act)).count(),
        3,
        "{text}"
    );
    let text = said(&stage, &["policy", "status"]).await;
    assert!(text.contains("rollback of") && text.contains("judges with"), "{text}");

    let pool = stage.pool().await;
    let expected = [
        "approver_added",
        "approver_added",
        "propose",
        "propose",
        "approve",
        "approve",
        "activate",
        "approve",
        "approve",
        "activate",
        "rollback",
    ];
    eventually("each act is in the log, in order", async || {
        acts_of(&leaves(&pool).await) == expected
    })
    .await;
    let all = leaves(&pool).await;
    let last = all.iter().rfind(|leaf| leaf["act"] == "rollback").unwrap();
    assert_eq!((&last["kind"], &last["files"]), (&"policy_change".into(), &open.as_str().into()));
    assert_eq!(last["people"].as_array().unwrap().len(), 2, "who signed and who typed: {last}");
}

/// A note over what was fetched is for that bundle and no other.
async fn an_author_signs(stage: &Stage) {
    let note = said(stage, &["policy", "sign", "looked-at", "--key", "park"]).await;
    std::fs::write(stage.world.dir.join("note"), note).unwrap();
    let vkeys = said(stage, &["policy", "approver", "list"]).await;
    let park = vkeys.lines().find(|line| line.starts_with("park+")).unwrap();
    let vkey = park.split(' ').next().unwrap();
    said(stage, &["policy", "verify", "looked-at", "--note", "note", "--vkey", vkey]).await;
    let error = wrong(stage, &["policy", "verify", "open", "--note", "note", "--vkey", vkey]).await;
    assert!(error.contains("park signed another bundle"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_glass_is_loud_and_mends_itself() {
    let stage = Stage::start().await;
    let (pool, people) = (stage.pool().await, people());
    let [park, kim, _] = &people;
    register(&pool, &people).await;
    let [open, shut] = two_bundles(&stage);
    let (open, shut) = (propose(&pool, &open).await, propose(&pool, &shut).await);
    staged(&pool).await;
    let none = enact(&pool, How::BreakGlass, &shut, Some(60), &[kim]).await.unwrap_err();
    assert!(none.to_string().contains("no approved bundle is in force"), "{none}");
    enact(&pool, How::Activate, &open, None, &[park, kim]).await.unwrap();
    let glass = enact(&pool, How::BreakGlass, &shut, Some(6), &[kim]).await.unwrap();
    eventually("it is loud", async || {
        let ready = stage.console("/readyz").await;
        let metrics = stage.console("/metrics").await.text();
        ready.status == 200
            && ready.text().contains("BREAK-GLASS")
            && metrics.contains("haetae_policy_break_glass 1")
    })
    .await;
    // By whom, is in the record and in the history; a log line goes where no erasure follows.
    let log = std::fs::read_to_string(stage.world.dir.join("gateway.log")).unwrap();
    let ready = stage.console("/readyz").await.text();
    assert!(log.contains("BREAK-GLASS") && !format!("{log}{ready}").contains(WHO));
    assert_eq!(ask(&stage).await, 403);
    eventually("it is over", async || {
        store::history(&pool, glass.version).await.unwrap().len() == 1
    })
    .await;
    let row = store::history(&pool, glass.version).await.unwrap().remove(0);
    assert_eq!((row.how, &row.bundle), (How::FallBack, &open.digest));
    assert!(row.at_s >= glass.until_s.unwrap(), "not before its time");
    eventually("the bundle of before judges", async || ask(&stage).await == 200).await;
    let ready = stage.console("/readyz").await;
    assert!(!ready.text().contains("BREAK-GLASS"), "{}", ready.text());
    eventually("both acts are in the log", async || {
        let all = leaves(&pool).await;
        let acts = acts_of(&all);
        let kind = all.iter().find(|leaf| leaf["act"] == "break_glass").map(|leaf| &leaf["kind"]);
        acts.ends_with(&["break_glass".into(), "fall_back".into()])
            && kind == Some(&"override".into())
    })
    .await;
    // what was decided until then names the bundle of the time
    for leaf in leaves(&pool).await.iter().filter(|leaf| leaf["kind"] == "decision") {
        let version = leaf["fact_version"].as_i64().unwrap();
        let shut = version >= glass.version && version < row.version;
        assert_eq!(leaf["rule"] == "Z01", shut, "{leaf}");
    }
}

/// What was done, in the order of the log. Acts may lie in different lanes.
pub(super) fn acts_of(all: &[Value]) -> Vec<String> {
    let mut acts: Vec<(&str, &str)> =
        all.iter().filter_map(|leaf| Some((leaf["at"].as_str()?, leaf["act"].as_str()?))).collect();
    acts.sort_unstable();
    acts.into_iter().map(|(_, act)| act.to_owned()).collect()
}

pub(super) async fn ask(stage: &Stage) -> u16 {
    let caller = stage.caller("kr-retailer");
    caller.post(CHAT, &[ORDERS, SEOUL], chat().to_string().as_bytes()).await.status
}

pub(super) async fn said(stage: &Stage, words: &[&str]) -> String {
    let output = stage.world.program.run(words).await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

pub(super) async fn wrong(stage: &Stage, words: &[&str]) -> String {
    stage.world.program.run(words).await.unwrap_err().to_string()
}

/// A canary of the bundle in force stops what would break it, unless it is retired by name: then approvers see it and it is
/// recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn canaries_of_the_bundle_in_force_are_kept_or_retired_for_all_to_see() {
    let stage = Stage::start().await;
    let (pool, people) = (stage.pool().await, people());
    let [park, kim, _] = &people;
    register(&pool, &people).await;
    let [open, shut] = two_bundles(&stage);
    let canary = std::fs::read_to_string(open.join("canary.toml")).unwrap();
    let sings = canary.clone() + PURCHASES;
    std::fs::write(open.join("canary.toml"), sings).unwrap();
    let first = propose(&pool, &open).await;
    enact(&pool, How::Activate, &first, None, &[park, kim]).await.unwrap();

    let shut_dir = shut.to_str().unwrap();
    let words = ["policy", "propose", shut_dir, "--purpose", "a test"];
    let error = wrong(&stage, &words).await;
    assert!(error.contains("canary.toml of the bundle in force"), "{error}");
    assert!(
        error.contains("`canary: purchases in Seoul` does not pass: expected ALLOW"),
        "{error}"
    );
    assert_eq!(store::bundles(&pool).await.unwrap().len(), 1, "it was not kept");

    let retired = canary
        + "\n[[retired]]\ncanary = \"canary: purchases in Seoul\"\nwhy = \"purchases stop\"\n";
    std::fs::write(shut.join("canary.toml"), retired).unwrap();
    let text = said(&stage, &words).await;
    assert!(text.contains("RETIRED canary canary: purchases in Seoul: purchases stop"), "{text}");
    let digest = text.lines().find_map(|line| line.strip_prefix("bundle ")).unwrap().to_owned();
    std::fs::write(stage.world.dir.join("park"), park.key.to_skey()).unwrap();
    let text = said(&stage, &["policy", "approve", &digest, "--key", "park"]).await;
    assert!(text.contains("RETIRED canary canary: purchases in Seoul: purchases stop"), "{text}");
    eventually("what is retired is in the log", async || {
        // Its approval names it too, and may stand in the lane that is read first.
        leaves(&pool).await.iter().any(|leaf| {
            leaf["files"] == digest.as_str()
                && leaf["retires"][0] == "canary: purchases in Seoul: purchases stop"
        })
    })
    .await;
}

pub(super) const PURCHASES: &str = "
[[case]]
name = \"canary: purchases in Seoul\"
base = \"seoul\"
change = { \"components.0.categories\" = [\"pd:Purchase\"] }
expect = \"ALLOW\"
";
