//! Every fault of a directory is said at once, with file, line and what was meant; a directory without faults is a tree.

use std::path::Path;

use haetae::registry::{Snapshot, Sort, tree};

use super::{example, example_files, example_with, one_file};

const AT: i64 = 1_795_478_400; // 2026-11-24T00:00:00Z

#[test]
fn the_example_loads_and_every_entry_can_be_used() {
    let tree = example();
    let ids: Vec<String> =
        tree.documents().map(|(sort, id, _)| format!("{} {id}", sort.name())).collect();
    assert_eq!(
        ids,
        [
            "organisation de-bank",
            "organisation kr-hospital",
            "organisation kr-retailer",
            "site eu-fra-1",
            "site kr-seo-1",
            "site us-va-1",
            "dataset de-bank/tickets-seoul@1",
            "dataset de-bank/tickets@3",
            "dataset kr-med/ct-reports@2026",
            "dataset kr-retail/loyalty@2",
            "dataset kr-retail/orders@1",
            "dataset kr-retail/products@7",
            "ground de-bank.scc-va",
            "ground kr-retailer.fra-2026",
            "ground kr-retailer.va-2025",
            "list in-2026",
            "outside images.hanbit.example",
            "outside search.example",
        ]
    );
    let snapshot = Snapshot::of(&tree, 7, AT).unwrap();
    let seoul = snapshot.site("kr-seo-1").unwrap();
    assert_eq!(seoul.facts.location.as_deref(), Some("KR-11"));
    assert_eq!(&*seoul.base_url, "https://kr-seo-1.sites.example:8443");
    assert_eq!(&*seoul.authority, "kr-seo-1.sites.example:8443");
    assert_eq!(&*seoul.identity, "spiffe://haetae.example/site/kr-seo-1");
    assert!(seoul.ca_pem.starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(snapshot.version(), 7);
    assert!(
        snapshot.services("kr-hospital").eq(["llama-3.3-70b", "radiology-vlm"].map(Into::into))
    );
}

#[test]
fn the_examples_of_single_changes_load() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let ground = tree::read_one(Sort::Ground, &deploy.join("ground-example.toml")).unwrap();
    assert_eq!((ground.sort, ground.id.as_str()), (Sort::Ground, "kr-retailer.va-2026"));
    let order = tree::read_one(Sort::Order, &deploy.join("order-example.toml")).unwrap();
    assert_eq!((order.sort, order.id.as_str()), (Sort::Order, "kr-pipc-2026-1"));
}

#[test]
fn a_tree_and_its_twin_from_memory_are_equal() {
    assert_eq!(tree::parse(&example_files()).unwrap(), example());
}

#[test]
fn every_slip_is_named_with_its_line_and_what_was_meant() {
    for (file, from, to, fault) in SLIPS {
        let error = tree::parse(&example_with(file, from, to)).unwrap_err();
        assert_eq!(error.to_string(), *fault, "{from} -> {to}");
    }
}

#[test]
fn all_faults_are_said_at_once_in_the_order_of_files_and_lines() {
    let mut files = example_with("organisations/de-bank.toml", "seat = \"DE\"", "seat = \"XX\"");
    files.extend(example_with("sites/us-va-1.toml", "location =", "lcoation ="));
    files.insert("organisations/de-bank.toml".into(), {
        let broken = example_with("organisations/de-bank.toml", "seat = \"DE\"", "seat = \"XX\"");
        broken["organisations/de-bank.toml"].replace("share = 40", "share = \"40\"")
    });
    files.insert("notes.txt".into(), String::new());
    files.insert("orders/order.csv".into(), String::new());
    assert_eq!(
        tree::parse(&files).unwrap_err().to_string(),
        "notes.txt: there is no place for this file: folders are organisations, sites, datasets, grounds, orders, lists, outside, authorities, access_rows, role_grants\n\
         orders/order.csv: files in `orders/` end in `.toml`\n\
         organisations/de-bank.toml:3: `seat`: `XX` is not a place of ISO 3166: write one such as `KR` or `KR-11`\n\
         organisations/de-bank.toml:4: `share` must be a whole number, not a text\n\
         sites/us-va-1.toml:1: a site needs `location`\n\
         sites/us-va-1.toml:12: unknown key `lcoation` in a site: did you mean `location`?"
    );
}

#[test]
fn an_order_needs_two_people() {
    let text = "id = \"o1\"\nauthority = \"PIPC\"\nlegal_basis = \"PIPA 28-9\"\nkind = \"prohibit\"\n\
                effective_from = 2026-01-01\nuntil = \"never\"\nmatch = {}\nentered_by = [\"a\", \"a\"]\n";
    assert_eq!(
        tree::parse(&one_file("orders/o1.toml", text)).unwrap_err().to_string(),
        "orders/o1.toml:8: an order is entered by two different people: name both in `entered_by`"
    );
    let two = text.replace("\"a\", \"a\"", "\"a\", \"b\"");
    assert!(tree::parse(&one_file("orders/o1.toml", &two)).is_ok());
}

#[test]
fn what_cannot_be_read_is_named() {
    let error = tree::read(Path::new("/nonexistent/registry")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nonexistent/registry: cannot be read: No such file or directory (os error 2)"
    );
}

/// File, what stands there, what is put in its place, the fault.
const SLIPS: &[(&str, &str, &str, &str)] = &[
    (
        "sites/kr-seo-1.toml",
        "near =",
        "neer =",
        "sites/kr-seo-1.toml:9: unknown key `neer` in a site: did you mean `near`?",
    ),
    (
        "sites/kr-seo-1.toml",
        "backups = []\n",
        "",
        "sites/kr-seo-1.toml:1: a site needs `backups` (`[]` for none)",
    ),
    (
        "sites/kr-seo-1.toml",
        "\"KR-11\"",
        "\"KR\"",
        "sites/kr-seo-1.toml:12: `location`: `KR` is not a subdivision of ISO 3166-2: write it like `KR-11`",
    ),
    (
        "sites/kr-seo-1.toml",
        "telemetry = [\"KR\"]",
        "telemetry = [\"UK\"]",
        "sites/kr-seo-1.toml:15: `telemetry`: `UK` is not a place of ISO 3166: did you mean `GB`?",
    ),
    (
        "sites/kr-seo-1.toml",
        "telemetry = [\"KR\"]",
        "telemetry = \"KR\"",
        "sites/kr-seo-1.toml:15: `telemetry` must be a list, not a text",
    ),
    (
        "sites/kr-seo-1.toml",
        "share = 100",
        "share = 101",
        "sites/kr-seo-1.toml:31: `share` must be a whole number from 0 to 100",
    ),
    (
        "sites/kr-seo-1.toml",
        "share = 100",
        "share = 99.5",
        "sites/kr-seo-1.toml:31: `share` must be a whole number, not a fraction",
    ),
    (
        "sites/kr-seo-1.toml",
        "plaintext = true",
        "plaintext = \"yes\"",
        "sites/kr-seo-1.toml:17: `plaintext` must be `true` or `false`, not a text",
    ),
    (
        "sites/kr-seo-1.toml",
        "entity = \"kr-op\", ",
        "",
        "sites/kr-seo-1.toml:17: a remote access needs `entity`",
    ),
    (
        "sites/kr-seo-1.toml",
        "\"provider\"",
        "\"provder\"",
        "sites/kr-seo-1.toml:20: `holder`: `provder` is not known: did you mean `provider`?",
    ),
    (
        "sites/kr-seo-1.toml",
        "\"2027-12-31\" }]",
        "\"2027-02-29\" }]",
        "sites/kr-seo-1.toml:18: `valid_until`: `2027-02-29` is no date: write `2026-11-20` or `2026-11-20T09:00:00+09:00`, or `never`",
    ),
    (
        "sites/kr-seo-1.toml",
        "ca.pem",
        "cb.pem",
        "sites/kr-seo-1.toml:6: `ca`: there is no file `cb.pem` in this directory: did you mean `ca.pem`?",
    ),
    (
        "sites/kr-seo-1.toml",
        "https://",
        "http://",
        "sites/kr-seo-1.toml:5: `base_url`: `http://kr-seo-1.sites.example:8443` is not the address of a site: it must begin with `https://`",
    ),
    (
        "sites/kr-seo-1.toml",
        "spiffe://haetae.example/site/",
        "spiffe://Haetae.example/site/",
        "sites/kr-seo-1.toml:7: `identities`: `spiffe://Haetae.example/site/kr-seo-1` is not an identity: write `spiffe://domain/path` or `spki:sha256/` and the base64 of 32 bytes",
    ),
    (
        "sites/kr-seo-1.toml",
        "[\"spiffe://haetae.example/site/kr-seo-1\"]",
        "[]",
        "sites/kr-seo-1.toml:7: a site is known by exactly one of `identities`",
    ),
    (
        "sites/us-va-1.toml",
        "\"us-va-1\"",
        "\"eu-fra-1\"",
        "sites/us-va-1.toml:1: site `eu-fra-1` is given twice: first in sites/eu-fra-1.toml:1",
    ),
    (
        "organisations/kr-hospital.toml",
        "[\"kr-seo-1\"]",
        "[\"kr-seo-2\"]",
        "organisations/kr-hospital.toml:10: site `kr-seo-2` is not registered: did you mean `kr-seo-1`?",
    ),
    (
        "organisations/kr-hospital.toml",
        "name = \"radiology-vlm\"\n",
        "name = \"radiology-vlm\"\nsites = [\"us-va-1\"]\n",
        "organisations/kr-hospital.toml:27: service `radiology-vlm` names site `us-va-1`, which does not serve it: add it to `serves` there\n\
             organisations/kr-hospital.toml:27: service `radiology-vlm` names site `us-va-1`, which is not among the organisation's `sites`",
    ),
    (
        "organisations/kr-hospital.toml",
        "\"radiology-vlm\"",
        "\"llama-3.3-70b\"",
        "organisations/kr-hospital.toml:25: service `llama-3.3-70b` is given twice: keep one of them",
    ),
    (
        "organisations/kr-hospital.toml",
        "origins = [\"KR\"]",
        "origins = []",
        "organisations/kr-hospital.toml:19: the data profile of service `llama-3.3-70b` is personal and so needs at least one of `origins`",
    ),
    (
        "organisations/kr-hospital.toml",
        "pd:Health",
        "pd:Helth",
        "organisations/kr-hospital.toml:20: `categories`: `pd:Helth` is not known: did you mean `pd:Health`?",
    ),
    (
        "organisations/kr-hospital.toml",
        "kr.medical",
        "medicine",
        "organisations/kr-hospital.toml:5: `sectors`: `medicine` is not known: write one of kr.finance, kr.public, kr.medical, us.health, in.payments",
    ),
    (
        "organisations/de-bank.toml",
        "dpv:ServiceProvision",
        "ServiceProvision",
        "organisations/de-bank.toml:13: `code`: `ServiceProvision` is not known: did you mean `dpv:ServiceProvision`?",
    ),
    (
        "datasets/catalogue.csv",
        "kr-retail/orders@1",
        "kr-retail/orders",
        "datasets/catalogue.csv:2: `id`: `kr-retail/orders` is not a dataset id: write it as `name@version`",
    ),
    (
        "datasets/catalogue.csv",
        ",52000,",
        ",many,",
        "datasets/catalogue.csv:6: `subjects` must be a whole number from 0 to 9007199254740991",
    ),
    (
        "datasets/catalogue.csv",
        "confidential,personal,120000,900000,,catalogue",
        "confidential,personal,120000",
        "datasets/catalogue.csv:2: this row has 10 cells and the header has 13",
    ),
    (
        "datasets/catalogue.csv",
        "kr-retailer;de-bank",
        "kr-retailer;de-bnak",
        "datasets/catalogue.csv:4: organisation `de-bnak` is not registered: did you mean `de-bank`?",
    ),
    (
        "datasets/catalogue.csv",
        "s3://hanbit-lake/orders",
        "s3://hanbit-lake/../orders",
        "datasets/catalogue.csv:2: `uris`: `s3://hanbit-lake/../orders` is not a storage address: its path must be plain segments without `..`, `//`, `%` or a query",
    ),
    (
        "grounds/grounds.csv",
        "KR.PIPA,kr.consent",
        "EU.GDPR,kr.consent",
        "grounds/grounds.csv:3: a ground of type `kr.consent` is one under `KR.PIPA`",
    ),
    (
        "grounds/grounds.csv",
        ",kr.consent",
        ",kr.concent",
        "grounds/grounds.csv:3: `type`: `kr.concent` is not known: did you mean `kr.consent`?",
    ),
    (
        "grounds/grounds.csv",
        "https://hanbit.example/privacy#transfer",
        "",
        "grounds/grounds.csv:2: a ground of type `kr.contract_disclosed` is not live without `details.disclosure_ref`",
    ),
    (
        "grounds/grounds.csv",
        "2025-01-01,2025-12-31",
        "2025-01-01,2024-12-31",
        "grounds/grounds.csv:3: `valid_until` lies before `valid_from`",
    ),
    (
        "grounds/de-bank.scc-va.toml",
        "org = \"de-bank\"",
        "org = \"de-bank\"\norg = \"*\"",
        "grounds/de-bank.scc-va.toml:4: duplicate key",
    ),
    (
        "grounds/de-bank.scc-va.toml",
        "[scope]",
        "[scope",
        "grounds/de-bank.scc-va.toml:11: unclosed table, expected `]`",
    ),
    (
        "outside/hosts.csv",
        "search.example",
        "Search.example",
        "outside/hosts.csv:3: `host`: `Search.example` is not a host name in lower case",
    ),
];
