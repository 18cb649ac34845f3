//! What an ask resolves to: labels only add up, what is not the caller's looks like what is not there, and the same ask
//! gives the same bytes.

use std::sync::Arc;

use haetae::registry::{Ask, Resolved, Snapshot, tree};
use verdict::facts::Gap;
use verdict::question::{
    ActorKind, Class, Component, ComponentKind, Identifiability, Profile, Purpose, Role, Workload,
};
use verdict::reason::Reason;

use super::{example, example_files, example_with};

const AT: i64 = 1_795_478_400; // 2026-11-24T00:00:00Z

#[test]
fn the_default_profile_is_the_prompt() {
    let facts = resolve(&ask("kr-retailer", "llama-3.3-70b")).facts;
    assert_eq!(facts.gaps, []);
    assert_eq!(facts.question.components, [retail_prompt()]);
    let subject = &facts.question.subject;
    assert_eq!(subject.org.as_deref(), Some("kr-retailer"));
    assert_eq!(subject.entity.as_deref(), Some("kr-retailer"));
    assert_eq!(subject.seat.as_deref(), Some("KR"));
    assert_eq!(subject.actor_kind, Some(ActorKind::Service));
    assert_eq!(subject.place.as_deref(), Some("KR-11"));
    let recipient = &facts.question.recipient;
    assert_eq!((recipient.same_entity, recipient.place.as_deref()), (true, Some("KR-11")));
    assert_eq!(recipient.party(), subject.party());
    assert_eq!(facts.question.role, Some(Role::Entrustment));
    assert_eq!(facts.question.profile, Some(Profile::Statutory));
    assert_eq!(facts.question.purpose, purpose("dpv:ServiceProvision"));
    assert_eq!(site_ids(&facts.sites), ["eu-fra-1", "kr-seo-1", "us-va-1"]);
    assert_eq!((&facts.question.id, &facts.question.at), (&None, &None));
}

#[test]
fn a_declared_dataset_adds_labels_and_takes_none_away() {
    let mut ask = ask("kr-retailer", "llama-3.3-70b");
    ask.datasets = texts(&["kr-retail/loyalty@2", "kr-retail/products@7", "kr-retail/loyalty@2"]);
    let facts = resolve(&ask).facts;
    assert_eq!(facts.gaps, []);
    let names: Vec<_> =
        facts.question.components.iter().filter_map(|one| one.dataset.as_deref()).collect();
    assert_eq!(names, ["kr-retail/loyalty@2", "kr-retail/products@7", "prompt"]);
    let kinds = facts.question.components.iter().map(|one| one.kind);
    assert!(kinds.eq([Some(ComponentKind::Prompt); 3]));
    let prompt = Component {
        categories: strings(&["pd:General", "kr:RRN", "dpv:NonPersonalData"]),
        class: Some(Class::Restricted),
        ..retail_prompt()
    };
    assert_eq!(facts.question.components[2], prompt);
}

#[test]
fn labels_of_several_laws_are_joined() {
    let mut ask = ask("de-bank", "llama-3.3-70b");
    ask.datasets = texts(&["de-bank/tickets-seoul@1"]);
    let prompt = resolve(&ask).facts.question.components.pop().unwrap();
    assert_eq!(prompt.regimes, ["EU.GDPR", "KR.PIPA"]);
    assert_eq!(prompt.origins, ["DE", "KR"]);
    assert_eq!(prompt.from, None);
    assert_eq!(prompt.identifiability, Some(Identifiability::Personal));
}

#[test]
fn the_catalogue_is_no_oracle() {
    // another organisation's, nobody's, and one's own under a wrong version look the same but for the name
    let mut gaps = Vec::new();
    for name in ["kr-med/ct-reports@2026", "kr-med/nothing@1", "kr-retail/orders@9"] {
        let mut ask = ask("kr-retailer", "llama-3.3-70b");
        ask.datasets = texts(&[name]);
        let mut facts = resolve(&ask).facts;
        let text = format!(
            "dataset `{name}` is not in the catalogue of this organisation: name it as `name@version`"
        );
        assert_eq!(facts.gaps, [Gap { reason: Reason::UnknownDataset, what: text }]);
        facts.gaps.clear();
        gaps.push(facts);
    }
    assert_eq!(gaps[0], gaps[1]);
    assert_eq!(gaps[0], gaps[2]);
}

#[test]
fn an_address_belongs_to_the_longest_prefix_on_a_segment() {
    let dataset = |address: &str| {
        let mut ask = ask("de-bank", "llama-3.3-70b");
        ask.datasets = texts(&[address]);
        let facts = resolve(&ask).facts;
        let unknown = facts.gaps.iter().any(|gap| gap.reason == Reason::UnknownDataset);
        let first = facts.question.components[0].dataset.clone().unwrap();
        (!unknown).then_some(first)
    };
    let some = |name: &str| Some(name.to_owned());
    assert_eq!(dataset("s3://mainbank-support/tickets"), some("de-bank/tickets@3"));
    assert_eq!(dataset("s3://mainbank-support/tickets/2026/a.json"), some("de-bank/tickets@3"));
    assert_eq!(dataset("s3://mainbank-support/tickets/seoul/"), some("de-bank/tickets-seoul@1"));
    assert_eq!(dataset("s3://mainbank-support/tickets/seoul2"), some("de-bank/tickets@3"));
    for other in [
        "s3://mainbank-support/ticketsx",
        "s3://mainbank-support",
        "S3://mainbank-support/tickets",
        "s3://mainbank-support/x/../tickets",
        "s3://mainbank-support//tickets",
        "s3://mainbank-support/%74ickets",
        "s3://hanbit-lake/orders",
    ] {
        assert_eq!(dataset(other), None, "{other}");
    }
}

#[test]
fn a_longer_prefix_of_somebody_else_is_not_passed_over() {
    let files = example_with(
        "datasets/de-bank-kr-branch.toml",
        "use_by = [\"de-bank\"]",
        "use_by = [\"kr-hospital\"]",
    );
    let snapshot = Snapshot::of(&tree::parse(&files).unwrap(), 1, AT).unwrap();
    let mut ask = ask("de-bank", "llama-3.3-70b");
    ask.datasets = texts(&["s3://mainbank-support/tickets/seoul/1.json"]);
    assert_eq!(reasons(&snapshot.resolve(&ask)), [Reason::UnknownDataset]);
}

#[test]
fn without_profile_a_dataset_must_be_declared() {
    let mut ask = ask("kr-hospital", "radiology-vlm");
    assert_eq!(reasons(&resolve(&ask)), [Reason::NoDataProfile]);
    assert_eq!(resolve(&ask).facts.question.components, []);
    ask.no_data = true;
    assert_eq!(reasons(&resolve(&ask)), [Reason::NoDataProfile]);
    ask.no_data = false;
    ask.datasets = texts(&["kr-med/ct-reports@2026"]);
    let facts = resolve(&ask).facts;
    assert_eq!(facts.gaps, []);
    let prompt = &facts.question.components[1];
    assert_eq!(prompt.dataset.as_deref(), Some("prompt"));
    assert_eq!(prompt.categories, ["pd:HealthRecord", "kr:EMR"]);
}

#[test]
fn no_data_contradicts_and_never_relaxes() {
    let mut personal = ask("kr-retailer", "llama-3.3-70b");
    let before = resolve(&personal).facts.question;
    personal.no_data = true;
    let with = resolve(&personal);
    assert_eq!(reasons(&with), [Reason::Contradiction]);
    assert_eq!(with.facts.question, before);

    let mut harmless = ask("kr-retailer", "bge-m3");
    harmless.no_data = true;
    assert_eq!(reasons(&resolve(&harmless)), []);
    harmless.datasets = texts(&["kr-retail/products@7"]);
    assert_eq!(reasons(&resolve(&harmless)), [Reason::Contradiction]);
}

#[test]
fn a_pin_is_kept_or_refused_without_saying_why() {
    let mut ask = ask("kr-hospital", "llama-3.3-70b");
    ask.site = Some("kr-seo-1".into());
    let kept = resolve(&ask);
    assert_eq!((kept.facts.pinned.as_deref(), reasons(&kept)), (Some("kr-seo-1"), vec![]));
    let mut refused = Vec::new();
    for pin in ["us-va-1", "nowhere"] {
        ask.site = Some(pin.into()); // not this organisation's; not there
        refused.push(resolve(&ask));
    }
    assert_eq!(reasons(&refused[0]), [Reason::PinRefused]);
    assert_eq!(refused[0].facts.pinned, None);
    assert_eq!(refused[0], refused[1]);
}

#[test]
fn an_organisations_own_list_of_sites_holds() {
    let facts = resolve(&ask("kr-hospital", "llama-3.3-70b")).facts;
    assert_eq!(site_ids(&facts.sites), ["kr-seo-1"]);
}

#[test]
fn a_service_that_no_site_serves_has_no_site() {
    let files = example_with("sites/kr-seo-1.toml", ", \"radiology-vlm\"", "");
    let snapshot = Snapshot::of(&tree::parse(&files).unwrap(), 1, AT).unwrap();
    let mut ask = ask("kr-hospital", "radiology-vlm");
    ask.datasets = texts(&["kr-med/ct-reports@2026"]);
    assert_eq!(reasons(&snapshot.resolve(&ask)), [Reason::NoSite]);
}

#[test]
fn an_unknown_organisation_and_an_unknown_service_look_the_same() {
    let service = resolve(&ask("kr-retailer", "gpt-oss-120b"));
    let organisation = resolve(&ask("nobody", "llama-3.3-70b"));
    assert_eq!(reasons(&service), [Reason::UnknownOrganisation]);
    assert_eq!(service, organisation);
    let empty = Snapshot::build(0, AT, []).unwrap();
    let nothing = empty.resolve(&ask("kr-retailer", "llama-3.3-70b"));
    assert_eq!(nothing.facts, service.facts);
}

#[test]
fn a_purpose_is_chosen_among_the_registered_ones() {
    let mut ask = ask("de-bank", "llama-3.3-70b");
    ask.purpose = Some("dpv:FraudPreventionAndDetection".into());
    let chosen = resolve(&ask).facts.question.purpose;
    assert_eq!(chosen.legal_basis.as_deref(), Some("eu-gdpr:A6-1-f"));
    assert_eq!(chosen.workload, Some(Workload::Infer));
    ask.purpose = Some("dpv:Marketing".into());
    let other = resolve(&ask);
    assert_eq!(reasons(&other), [Reason::DeclarationInvalid]);
    let nothing = Purpose { workload: Some(Workload::Infer), ..Purpose::default() };
    assert_eq!(other.facts.question.purpose, nothing);
}

#[test]
fn a_call_outside_has_a_place_only_if_its_host_is_registered() {
    let mut ask = ask("kr-retailer", "llama-3.3-70b");
    let call = |what: &str, host: Option<&str>| (what.into(), host.map(Into::into));
    ask.onward = vec![
        call("tool:web_search", None),
        call("image_url", Some("cdn.images.hanbit.example")),
        call("image_url", Some("evilimages.hanbit.example")),
        call("image_url", Some("made.up.example")),
        call("image_url", Some("made.up.too.example")),
        call("tool:search", Some("search.example")),
    ];
    let onward = resolve(&ask).facts.question.onward;
    let found: Vec<_> =
        onward.iter().map(|one| (one.what.as_deref().unwrap(), one.place.as_deref())).collect();
    assert_eq!(
        found,
        [
            ("image_url", None), // three hosts, one unknown: no host that a caller makes up is kept
            ("image_url", Some("KR")),
            ("tool:search", Some("US")),
            ("tool:web_search", None),
        ]
    );
}

#[test]
fn grounds_orders_and_lists_are_the_organisations_and_the_regimes() {
    let mut files = example_files();
    let order = |id: &str, target: &str| {
        format!(
            "id = \"{id}\"\nauthority = \"PIPC\"\nlegal_basis = \"PIPA 28-9\"\nkind = \"hold\"\n\
             effective_from = 2026-01-01\nuntil = \"never\"\nentered_by = [\"a\", \"b\"]\n\
             match = {{ {target} }}\n"
        )
    };
    files.insert("orders/b.toml".into(), order("b-all", ""));
    files.insert("orders/a.toml".into(), order("a-retail", "org = \"kr-retailer\""));
    files.insert("orders/c.toml".into(), order("c-bank", "org = \"de-bank\""));
    let snapshot = Snapshot::of(&tree::parse(&files).unwrap(), 1, AT).unwrap();
    let ids = |org: &str, service: &str| {
        let question = snapshot.resolve(&ask(org, service)).facts.question;
        let grounds = question.grounds.into_iter().filter_map(|one| one.id);
        grounds.chain(question.orders.into_iter().filter_map(|one| one.id)).collect::<Vec<_>>()
    };
    assert_eq!(
        ids("kr-retailer", "llama-3.3-70b"),
        ["kr-retailer.fra-2026", "kr-retailer.va-2025", "a-retail", "b-all"]
    );
    assert_eq!(ids("kr-retailer", "bge-m3"), ["a-retail", "b-all"]); // no personal data, no ground
    assert_eq!(ids("de-bank", "llama-3.3-70b"), ["de-bank.scc-va", "b-all", "c-bank"]);
}

#[test]
fn an_entry_out_of_its_time_is_not_there_and_the_next_change_is_told() {
    let day = 86_400;
    let files = example_with(
        "sites/us-va-1.toml",
        "level = \"verified\"",
        "valid_from = \"2026-11-25\"\nvalid_until = \"2026-11-26\"",
    );
    let tree = tree::parse(&files).unwrap();
    let at = |at: i64| {
        let resolved =
            Snapshot::of(&tree, 3, at).unwrap().resolve(&ask("kr-retailer", "llama-3.3-70b"));
        (site_ids(&resolved.facts.sites).len(), resolved.valid_until, resolved.version)
    };
    assert_eq!(at(AT), (2, Some(AT + day), 3));
    assert_eq!(at(AT + day), (3, Some(AT + 3 * day), 3)); // a bare end includes its day
    assert_eq!(at(AT + 3 * day - 1), (3, Some(AT + 3 * day), 3));
    assert_eq!(at(AT + 3 * day), (2, None, 3));
}

#[test]
fn a_place_that_is_none_is_a_missing_fact() {
    let mut ask = ask("kr-retailer", "llama-3.3-70b");
    ask.place = Some("US-CA".into());
    let subject = resolve(&ask).facts.question.subject;
    assert_eq!(subject.place.as_deref(), Some("US-CA"));
    ask.place = Some("somewhere".into());
    let gaps = resolve(&ask).facts.gaps;
    assert_eq!(gaps, [Gap { reason: Reason::MissingFact, what: "subject.place".into() }]);
}

#[test]
fn the_same_ask_gives_the_same_bytes_in_any_order() {
    let mut one = ask("kr-retailer", "llama-3.3-70b");
    one.datasets = texts(&["kr-retail/orders@1", "kr-retail/loyalty@2", "unknown@1"]);
    one.onward = vec![("b".into(), None), ("a".into(), Some("search.example".into()))];
    let mut other = one.clone();
    other.datasets.reverse();
    other.onward.reverse();
    let bytes = |ask: &Ask| verdict::canonical(&resolve(ask).facts).unwrap();
    assert_eq!(bytes(&one), bytes(&other));
    // what is read back is what was written, so a record can be judged again
    let read: verdict::facts::Facts = serde_json::from_slice(&bytes(&one)).unwrap();
    assert_eq!(read, resolve(&one).facts);
    let text = String::from_utf8(bytes(&one)).unwrap();
    for absent in ["sites.example", "BEGIN CERTIFICATE", "spiffe://", "\"serves\"", "\"near\""] {
        assert!(!text.contains(absent), "{absent} is no fact");
    }
}

fn resolve(ask: &Ask) -> Resolved {
    Snapshot::of(&example(), 1, AT).unwrap().resolve(ask)
}

fn ask(org: &str, service: &str) -> Ask {
    Ask {
        org: org.into(),
        service: service.into(),
        actor_kind: ActorKind::Service,
        place: None,
        workload: Workload::Infer,
        datasets: Vec::new(),
        purpose: None,
        no_data: false,
        site: None,
        onward: Vec::new(),
    }
}

fn retail_prompt() -> Component {
    Component {
        dataset: Some("prompt".into()),
        kind: Some(ComponentKind::Prompt),
        regimes: strings(&["KR.PIPA"]),
        origins: strings(&["KR"]),
        categories: strings(&["pd:General"]),
        class: Some(Class::Confidential),
        identifiability: Some(Identifiability::Personal),
        ..Component::default()
    }
}

fn purpose(code: &str) -> Purpose {
    Purpose {
        code: Some(code.into()),
        workload: Some(Workload::Infer),
        recurring: true,
        ..Purpose::default()
    }
}

fn reasons(resolved: &Resolved) -> Vec<Reason> {
    resolved.facts.gaps.iter().map(|gap| gap.reason).collect()
}

fn site_ids(sites: &[verdict::question::Site]) -> Vec<&str> {
    sites.iter().filter_map(|site| site.id.as_deref()).collect()
}

fn texts(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
