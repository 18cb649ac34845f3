//! What the example registry says, judged by the policies that come with it: the decisions that the demo shows.

use std::path::Path;

use haetae::policy::Bundle;
use haetae::registry::orders::store::add;
use haetae::registry::{Ask, Snapshot, Sort, store, tree};
use tokio::sync::OnceCell;
use verdict::decision::{Outcome, RemedyKind};
use verdict::facts::Judgement;
use verdict::question::{ActorKind, Workload};

use super::{BY_LEE, example};
use crate::support::fresh_database;

const AT: i64 = 1_795_478_400; // 2026-11-24T00:00:00Z

#[tokio::test]
async fn korean_orders_stay_until_there_is_a_ground() {
    let pool = fresh_database().await.pool;
    store::apply(&pool, &example(), "kim").await.unwrap();
    let (seoul, virginia) =
        (ask("kr-retailer", ORDERS, Some("kr-seo-1")), ask("kr-retailer", ORDERS, Some("us-va-1")));
    let before = store::snapshot(&pool, AT).await.unwrap();
    assert_eq!(brief(&judge(&before, &seoul).await), (Outcome::Allow, vec!["kr-seo-1".into()]));
    let refused = judge(&before, &virginia).await;
    assert_eq!(brief(&refused), (Outcome::Deny, vec![]));
    assert_eq!(refused.decision.reasons[0].rule.as_deref(), Some("R04"));
    let sites: Vec<&str> = refused
        .decision
        .remedy
        .iter()
        .filter(|one| one.kind == RemedyKind::UseSite)
        .map(|one| one.value.as_str())
        .collect();
    assert_eq!(sites, ["eu-fra-1", "kr-seo-1"]);

    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let ground = tree::read_one(Sort::Ground, &deploy.join("ground-example.toml")).unwrap();
    store::put_ground(&pool, &ground, "lee").await.unwrap();
    let with = judge(&store::snapshot(&pool, AT).await.unwrap(), &virginia).await;
    assert_eq!(with.permitted, ["us-va-1"]);

    let order = tree::read_one(Sort::Order, &deploy.join("order-example.toml")).unwrap();
    add(&pool, &order, BY_LEE).await.unwrap();
    let ordered = judge(&store::snapshot(&pool, AT).await.unwrap(), &virginia).await;
    assert_eq!(brief(&ordered), (Outcome::Deny, vec![]));
}

#[tokio::test]
async fn the_other_organisations_of_the_example() {
    let snapshot = Snapshot::of(&example(), 1, AT).unwrap();
    let hospital = judge(&snapshot, &ask("kr-hospital", "kr-med/ct-reports@2026", None)).await;
    assert_eq!(hospital.permitted, ["kr-seo-1"]);
    let bank = judge(&snapshot, &ask("de-bank", "de-bank/tickets@3", None)).await;
    assert!(bank.permitted.contains(&"eu-fra-1".to_owned()), "{:?}", bank.permitted);
    assert!(!bank.permitted.contains(&"us-va-1".to_owned()), "{:?}", bank.permitted);
    let mut texts = ask("kr-retailer", "", Some("eu-fra-1"));
    texts.service = "bge-m3".into();
    assert_eq!(judge(&snapshot, &texts).await.permitted, ["eu-fra-1"]);
}

async fn judge(snapshot: &Snapshot, ask: &Ask) -> Judgement {
    static BUNDLE: OnceCell<Bundle> = OnceCell::const_new();
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let bundle = BUNDLE.get_or_init(async || Bundle::load(&policies, AT).await.unwrap()).await;
    bundle.judge(&snapshot.resolve(ask).facts, AT)
}

fn ask(org: &str, dataset: &str, site: Option<&str>) -> Ask {
    Ask {
        org: org.into(),
        service: "llama-3.3-70b".into(),
        actor_kind: ActorKind::Service,
        place: None,
        workload: Workload::Infer,
        datasets: if dataset.is_empty() { vec![] } else { vec![dataset.into()] },
        purpose: None,
        no_data: false,
        site: site.map(Into::into),
        onward: Vec::new(),
    }
}

fn brief(judgement: &Judgement) -> (Outcome, Vec<String>) {
    (judgement.outcome, judgement.permitted.clone())
}

const ORDERS: &str = "kr-retail/orders@1";
