//! A memo that gives a wrong answer is found out: an alarm on record, a count, and no memo any more.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use haetae::gate::recheck::{Rechecks, Used};
use haetae::policy::Bundle;
use prometheus_client::{encoding::text::encode, registry::Registry};
use serde_json::json;
use tokio_util::task::TaskTracker;
use verdict::decision::Outcome;
use verdict::facts::Facts;
use verdict::question::Question;

use crate::audit::lab::{Lab, eventually, leaves};
use crate::policy::seoul;
use crate::support::fresh_database;

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_memo_raises_an_alarm_and_is_asked_no_more() {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let bundle = Arc::new(Bundle::read(&policies, AT).await.unwrap());
    let fresh = fresh_database().await;
    let lab = Lab::start(&fresh.pool, 1).await;
    let mut metrics = Registry::default();
    let rechecks = Arc::new(Rechecks::new(1));
    rechecks.register(&mut metrics);
    let counted = |result: &str, count: u64| {
        let mut text = String::new();
        encode(&mut text, &metrics).unwrap();
        let line = format!("haetae_memo_rechecks_total{{result=\"{result}\"}} {count}\n");
        text.contains(&line)
    };
    let (checks, audit) = (Arc::clone(&rechecks), lab.audit.clone());
    let task = TaskTracker::new().spawn(async move { checks.run(&audit).await });

    let right = used(&bundle, "orders@1");
    assert_eq!(right.1, Outcome::Allow);
    rechecks.used(|| right.0);
    eventually("a right answer is the same", async || counted("same", 1)).await;

    bundle.poison_memo();
    let wrong = used(&bundle, "orders@2");
    assert_eq!(wrong.1, Outcome::Deny, "nothing permits the flow, the memo says");
    assert!(!rechecks.memo_is_off());
    rechecks.used(|| wrong.0);
    eventually("a wrong one is not", async || counted("differs", 1)).await;
    assert!(rechecks.memo_is_off());
    assert_eq!(used(&bundle, "orders@3").1, Outcome::Allow, "judged without the memo");
    eventually("the alarm is on record", async || {
        let leaves = leaves(&fresh.pool).await;
        leaves.iter().any(|leaf| {
            leaf["kind"] == "alarm"
                && leaf["what"] == "memo_mismatch"
                && leaf["bundle_digest"] == bundle.digest()
        })
    })
    .await;
    // nothing is put aside any more
    rechecks.used(|| unreachable!("there is no memo to check"));
    task.abort();
    lab.stop().await;
}

#[tokio::test]
async fn one_in_so_many_is_checked_and_none_where_it_says_none() {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let bundle = Arc::new(Bundle::read(&policies, AT).await.unwrap());
    for (one_in, wanted) in [(0, 0), (1, 10), (5, 2), (100, 1)] {
        let rechecks = Rechecks::new(one_in);
        let put_aside = (0..10).filter(|_| is_put_aside(&rechecks, &bundle)).count();
        assert_eq!(put_aside, wanted, "one in {one_in}");
    }
}

fn is_put_aside(rechecks: &Rechecks, bundle: &Arc<Bundle>) -> bool {
    let mut asked = false;
    rechecks.used(|| {
        asked = true;
        used(bundle, "orders@1").0
    });
    asked
}

/// A judgement of the example as the gate uses it, and its outcome.
fn used(bundle: &Arc<Bundle>, dataset: &str) -> (Used, Outcome) {
    let mut asked = seoul();
    asked["components"][0]["dataset"] = json!(dataset);
    let mut question: Question = serde_json::from_value(asked).unwrap();
    (question.id, question.at) = (None, None);
    let sites = vec![std::mem::take(&mut question.site)];
    let facts = Facts { question, sites, ..Facts::default() };
    let judgement = bundle.judge(&facts, AT);
    let outcome = judgement.outcome;
    let bytes = |value: Vec<u8>| Bytes::from(value);
    let used = Used {
        bundle: Arc::clone(bundle),
        facts: bytes(verdict::canonical(&facts).unwrap()),
        detail: bytes(verdict::canonical(&judgement).unwrap()),
        at_s: AT,
    };
    (used, outcome)
}

/// 20 November 2026, 00:00 UTC.
const AT: i64 = 1_795_132_800;
