//! Only the pinned site gets a request.

use super::*;

async fn refused(authority: &Authority, stage: &Stage, identity: &str) {
    let gateway = Gateway::to(vec![stage.site("s", authority, identity)]);
    assert_eq!(failed(gateway.ask("s", false).await), (Failure::Identity, false));
    let never = Sent {
        status: None,
        bytes_out: 0,
        bytes_back: 0,
        reached: false,
        whole: false,
        why: Some("site_identity_mismatch"),
    };
    assert_eq!(gateway.end(), never);
    assert_eq!(gateway.started(), [""; 0]);
    assert_eq!(stage.requests(), [""; 0]);
    assert_eq!(gateway.chosen(&["s"]), None, "an impostor is left out at once");
}

#[tokio::test]
async fn the_pinned_spiffe_id_gets_the_request_and_is_named() {
    let authority = Authority::new();
    let stage = plain(&authority).await;
    let gateway = Gateway::to(vec![stage.site("s", &authority, SPIFFE)]);
    assert_eq!(gateway.whole("s").await.unwrap(), "ok");
    assert_eq!(gateway.started(), [SPIFFE]);
    assert_eq!(stage.requests().len(), 1);
}

#[tokio::test]
async fn a_pinned_key_gets_the_request_and_a_rotating_one_too() {
    let authority = Authority::new();
    let certified = authority.sign(&[]);
    let stage = Stage::open(&certified, None, |_| answer("200 OK", "ok")).await;
    let (pin, other) = (certified.spki(), authority.sign(&[]).spki());
    let gateway = Gateway::to(vec![
        stage.site("one", &authority, &pin),
        stage.site("rotating", &authority, &format!("{other},{pin}")),
    ]);
    assert_eq!(gateway.whole("one").await.unwrap(), "ok");
    assert_eq!(gateway.whole("rotating").await.unwrap(), "ok");
    assert_eq!(gateway.started(), [pin.clone(), pin]);
    refused(&authority, &Stage::open(&certified, None, |_| answer("200 OK", "ok")).await, &other)
        .await;
}

#[tokio::test]
async fn another_spiffe_id_gets_nothing() {
    let authority = Authority::new();
    for uris in [
        &["spiffe://kr.example/site/kr-seo-2"][..],
        &["spiffe://kr.example/site/kr-seo-1/"],
        &["spiffe://KR.example/site/kr-seo-1"],
        &[],
        &[SPIFFE, "spiffe://kr.example/other"],
    ] {
        let stage = Stage::open(&authority.sign(uris), None, |_| answer("200 OK", "ok")).await;
        refused(&authority, &stage, SPIFFE).await;
    }
}

#[tokio::test]
async fn another_authority_gets_nothing_even_with_the_right_name_or_key() {
    let (authority, other) = (Authority::new(), Authority::new());
    let certified = other.sign(&[SPIFFE]);
    for identity in [SPIFFE, &certified.spki()] {
        let stage = Stage::open(&certified, None, |_| answer("200 OK", "ok")).await;
        refused(&authority, &stage, identity).await;
    }
}

#[tokio::test]
async fn a_certificate_out_of_its_dates_or_purpose_gets_nothing() {
    let authority = Authority::new();
    let expired = authority.sign_with(&[SPIFFE], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 2);
    });
    let early = authority.sign_with(&[SPIFFE], |params| {
        params.not_before = rcgen::date_time_ymd(4000, 1, 1);
    });
    let client_only = authority.sign_with(&[SPIFFE], |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    for certified in [expired, early, client_only] {
        let stage = Stage::open(&certified, None, |_| answer("200 OK", "ok")).await;
        refused(&authority, &stage, SPIFFE).await;
    }
}

#[tokio::test]
async fn the_gateway_shows_its_own_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let own = clients.sign(&["spiffe://kr.example/gateway"]);
    let (certificate, key) = (directory.path().join("own.pem"), directory.path().join("own.key"));
    std::fs::write(&certificate, &own.pem).unwrap();
    std::fs::write(&key, own.key.serialize_pem()).unwrap();
    let stage =
        Stage::open(&authority.sign(&[SPIFFE]), Some(&clients), |_| answer("200 OK", "ok")).await;
    let sites = vec![stage.site("s", &authority, SPIFFE)];

    let config = Config {
        client_certificate: Some(certificate),
        client_key: Some(key),
        ..Config::default()
    };
    let gateway = Gateway::with(config.clone(), sites.clone());
    assert_eq!(gateway.whole("s").await.unwrap(), "ok");
    gateway.sites.reload().unwrap();
    let without = Gateway::to(sites);
    assert!(without.ask("s", false).await.is_err());
    assert_eq!(stage.requests().len(), 1);

    let half = Config { client_key: None, ..config };
    assert!(matches!(Sites::new(&half), Err(crate::forward::ConfigError::Half)));
}
