//! Every way to end: what the caller gets, what the record is told (once), and that the site's work stops.

use super::*;
use crate::forward::link::Link;

async fn stage(
    authority: &Authority,
    steps: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static,
) -> Stage {
    Stage::open(&authority.sign(&[SPIFFE]), None, steps).await
}

fn begun(body: &str) -> Step {
    Step::Say(format!("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{body}"))
}

#[tokio::test]
async fn a_site_that_dies_in_the_middle_is_told_from_one_that_finished() {
    let authority = Authority::new();
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n1234\r\n";
    let site = stage(&authority, move |number| match number {
        0 => vec![begun("1234"), Step::Close],
        _ => vec![Step::Say(chunked.to_owned()), Step::Close],
    })
    .await;
    for _ in 0..2 {
        let gateway = Gateway::to(vec![site.site("s", &authority, SPIFFE)]);
        let mut body = gateway.ask("s", true).await.unwrap().into_body();
        assert_eq!(next(&mut body).await.unwrap().unwrap(), "1234");
        assert_eq!(next(&mut body).await.unwrap().unwrap_err(), Cut(Failure::Broken));
        assert!(next(&mut body).await.is_none());
        assert_eq!(gateway.end(), Sent { bytes_back: 4, ..cut_by(Failure::Broken) });
    }
}

#[tokio::test]
async fn a_site_that_closes_without_an_answer_may_have_had_the_request() {
    let authority = Authority::new();
    let site = stage(&authority, |_| vec![Step::Close]).await;
    let gateway = Gateway::to(vec![site.site("s", &authority, SPIFFE)]);
    assert_eq!(failed(gateway.ask("s", false).await), (Failure::Closed, true));
    assert_eq!(gateway.end(), Sent { status: None, ..cut_by(Failure::Closed) });
}

#[tokio::test]
async fn a_request_is_never_sent_again() {
    let authority = Authority::new();
    let site = stage(&authority, |number| match number {
        0 => answer("200 OK", "ok"),
        _ => vec![Step::Close],
    })
    .await;
    let gateway = Gateway::to(vec![site.site("s", &authority, SPIFFE)]);
    gateway.whole("s").await.unwrap();
    // The reused connection dies under the second request.
    assert_eq!(failed(gateway.ask("s", false).await), (Failure::Closed, true));
    assert_eq!((site.connections(), site.requests().len()), (1, 2));
}

#[tokio::test]
async fn a_connection_that_the_site_closed_while_idle_is_not_used() {
    let authority = Authority::new();
    let site =
        stage(&authority, |_| answer("200 OK", "ok").into_iter().chain([Step::Close]).collect())
            .await;
    let gateway = Gateway::to(vec![site.site("s", &authority, SPIFFE)]);
    for count in 1..=3 {
        assert_eq!(gateway.whole("s").await.unwrap(), "ok");
        site.closed(count).await;
        // Lets the runtime see the end of the connection, as it would between two requests.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((site.connections(), site.requests().len()), (3, 3));
}

#[tokio::test]
async fn a_connection_found_dead_when_it_gets_the_request_has_sent_nothing() {
    let authority = Authority::new();
    let site = stage(&authority, |_| vec![]).await;
    let gateway = Gateway::to(vec![site.site("s", &authority, SPIFFE)]);
    let state = gateway.sites.find("s").unwrap();
    let endpoint = state.endpoint.as_ref().ok().unwrap();
    let mut link = Link::open(endpoint, &gateway.sites.config).await.unwrap();
    drop(site);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut request = hyper::Request::new(http_body_util::Full::from("{}"));
    request.headers_mut().insert("host", HeaderValue::from_static("localhost"));
    assert!(!link.exchange(request).await.err().unwrap().reached);
}

#[tokio::test]
async fn a_site_that_is_not_there_gets_nothing() {
    let authority = Authority::new();
    let site = {
        let gone = plain(&authority).await;
        gone.site("s", &authority, SPIFFE)
    };
    // The listener closes when its task ends.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let gateway = Gateway::to(vec![site]);
    let error = gateway.ask("s", false).await.err().unwrap();
    assert_eq!((error.failure, error.reached), (Failure::Unreachable, false));
    assert_eq!((error.status(), error.retry_after_s()), (503, Some(1)));
    let never = Sent { status: None, bytes_out: 0, reached: false, ..cut_by(error.failure) };
    assert_eq!(gateway.end(), never);
}

#[tokio::test]
async fn a_site_that_never_answers_is_given_up_and_its_work_stopped() {
    let authority = Authority::new();
    let site = stage(&authority, |_| vec![Step::Hang]).await;
    let config = Config { first_byte_ms: 50, ..Config::default() };
    let gateway = Gateway::with(config, vec![site.site("s", &authority, SPIFFE)]);
    let error = gateway.ask("s", false).await.err().unwrap();
    assert_eq!(
        (error.failure, error.reached, error.status()),
        (Failure::FirstByteTimeout, true, 504)
    );
    assert_eq!(gateway.end(), Sent { status: None, ..cut_by(Failure::FirstByteTimeout) });
    site.closed(1).await;
}

#[tokio::test]
async fn a_site_that_does_not_finish_the_handshake_is_given_up() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let site = Site {
        id: "s".into(),
        base_url: format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port()),
        ca_pem: Authority::new().pem(),
        identity: SPIFFE.into(),
    };
    let sites = Sites::new(&Config { connect_ms: 50, ..Config::default() }).unwrap();
    sites.set(vec![site]);
    let ending = Ending::new(Box::new(|_| ()));
    let site = sites.find("s").unwrap();
    let result = attempt(site, &sites.config, call(false), Box::new(|_| ()), ending).await;
    assert_eq!(failed(result), (Failure::ConnectTimeout, false));
}

#[tokio::test]
async fn a_site_that_falls_silent_is_cut_and_its_work_stopped() {
    let authority = Authority::new();
    let site = stage(&authority, |_| vec![begun("1234"), Step::Hang]).await;
    let config = Config { idle_ms: 50, ..Config::default() };
    let gateway = Gateway::with(config, vec![site.site("s", &authority, SPIFFE)]);
    let mut body = gateway.ask("s", true).await.unwrap().into_body();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "1234");
    assert_eq!(next(&mut body).await.unwrap().unwrap_err(), Cut(Failure::IdleTimeout));
    assert!(next(&mut body).await.is_none());
    assert_eq!(gateway.end(), Sent { bytes_back: 4, ..cut_by(Failure::IdleTimeout) });
    site.closed(1).await;
}

#[tokio::test]
async fn a_stream_may_last_longer_than_its_longest_silence() {
    let authority = Authority::new();
    let go = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&go);
    let site = stage(&authority, move |_| {
        let wait = || Step::Wait(Arc::clone(&permits));
        let say = |text: &str| Step::Say(text.to_owned());
        vec![begun("12"), wait(), say("34"), wait(), say("56"), wait(), say("7890")]
    })
    .await;
    let config = Config { idle_ms: 900, ..Config::default() };
    let gateway = Gateway::with(config, vec![site.site("s", &authority, SPIFFE)]);
    let mut body = gateway.ask("s", true).await.unwrap().into_body();
    let mut all = next(&mut body).await.unwrap().unwrap();
    while let Some(piece) = {
        let release = async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            go.add_permits(1);
        };
        tokio::join!(next(&mut body), release).0
    } {
        all += &piece.unwrap();
    }
    assert_eq!(all, "1234567890");
}

#[tokio::test]
async fn a_cut_stream_has_last_words_when_the_gate_gave_some() {
    let authority = Authority::new();
    let site = stage(&authority, |_| vec![begun("1234"), Step::Hang]).await;
    let config = Config { idle_ms: 50, ..Config::default() };
    let gateway = Gateway::with(config, vec![site.site("s", &authority, SPIFFE)]);
    let mut body = gateway.ask("s", true).await.unwrap().into_body();
    body.when_cut(|failure| format!("data: {}\n\n", failure.code()).into());
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "1234");
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "data: site_timeout_idle\n\n");
    assert!(next(&mut body).await.is_none());
    assert_eq!(gateway.end().why, Some("site_timeout_idle"));
}

#[tokio::test]
async fn an_answer_is_cut_at_once_whether_or_not_anybody_reads_it() {
    let authority = Authority::new();
    let site = stage(&authority, |_| vec![begun("1234"), Step::Hang]).await;
    let gateway = Gateway::to(vec![site.site("s", &authority, SPIFFE)]);
    let call = call(true);
    let cutter = call.cutter.clone();
    let mut body = gateway.ask_with("s", call).await.unwrap().into_body();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "1234");
    // Nobody reads now: the site's work is stopped and the end told all the same.
    cutter.cut(Failure::NoLongerAllowed);
    let cut = Sent { bytes_back: 4, ..cut_by(Failure::NoLongerAllowed) };
    assert_eq!(gateway.end(), cut);
    site.closed(1).await;
    cutter.cut(Failure::AuthorityEnded);
    assert_eq!(next(&mut body).await.unwrap().unwrap_err(), Cut(Failure::NoLongerAllowed));
    assert!(next(&mut body).await.is_none());
    drop(body);
    assert_eq!(gateway.end(), cut);
}

#[tokio::test]
async fn a_reader_that_waits_for_the_next_piece_is_woken_by_a_cut() {
    let authority = Authority::new();
    let site = stage(&authority, |_| vec![begun("1234"), Step::Hang]).await;
    let gateway = Gateway::to(vec![site.site("s", &authority, SPIFFE)]);
    let call = call(true);
    let cutter = call.cutter.clone();
    let mut body = gateway.ask_with("s", call).await.unwrap().into_body();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "1234");
    let cut = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        cutter.cut(Failure::AuthorityEnded);
    };
    let (read, ()) = tokio::join!(next(&mut body), cut);
    assert_eq!(read.unwrap().unwrap_err(), Cut(Failure::AuthorityEnded));
    assert_eq!(gateway.end().why, Some("authority_ended"));
}

#[tokio::test]
async fn what_was_sent_and_not_yet_read_is_not_given_after_a_cut() {
    let authority = Authority::new();
    let go = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&go);
    let site = stage(&authority, move |_| {
        let more = Step::Say("567".to_owned());
        vec![begun("1234"), Step::Wait(Arc::clone(&permits)), more, Step::Hang]
    })
    .await;
    let gateway = Gateway::to(vec![site.site("s", &authority, SPIFFE)]);
    let call = call(true);
    let cutter = call.cutter.clone();
    let mut body = gateway.ask_with("s", call).await.unwrap().into_body();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "1234");
    // The next piece is there, but the caller asks for it too late.
    go.add_permits(1);
    tokio::time::sleep(Duration::from_millis(100)).await;
    cutter.cut(Failure::AuthorityEnded);
    assert_eq!(next(&mut body).await.unwrap().unwrap_err(), Cut(Failure::AuthorityEnded));
    assert_eq!(gateway.end(), Sent { bytes_back: 4, ..cut_by(Failure::AuthorityEnded) });
}

#[tokio::test]
async fn an_answer_that_has_not_begun_is_cut_too_and_one_that_has_ended_is_not() {
    let authority = Authority::new();
    let site = stage(&authority, |number| match number {
        0 => vec![Step::Hang],
        _ => answer("200 OK", "ok"),
    })
    .await;
    let gateway = Gateway::to(vec![site.site("s", &authority, SPIFFE)]);
    let waiting = call(false);
    let cutter = waiting.cutter.clone();
    let mut asking = Box::pin(gateway.ask_with("s", waiting));
    while site.requests().is_empty() {
        tokio::select! { biased; _ = &mut asking => {}, () = tokio::task::yield_now() => {} }
    }
    cutter.cut(Failure::NoLongerAllowed);
    let error = asking.await.err().unwrap();
    assert_eq!((error.failure, error.reached), (Failure::NoLongerAllowed, true));
    assert_eq!((error.status(), error.code()), (403, "no_longer_allowed"));
    assert_eq!(gateway.end(), Sent { status: None, ..cut_by(Failure::NoLongerAllowed) });
    site.closed(1).await;

    gateway.ended.lock().unwrap().clear();
    let whole = call(false);
    let late = whole.cutter.clone();
    let body = gateway.ask_with("s", whole).await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "ok");
    late.cut(Failure::NoLongerAllowed);
    assert_eq!((gateway.end().whole, gateway.end().why), (true, None));

    gateway.ended.lock().unwrap().clear();
    let before = call(false);
    before.cutter.cut(Failure::NoLongerAllowed);
    let error = gateway.ask_with("s", before).await.err().unwrap();
    assert_eq!(error.failure, Failure::NoLongerAllowed);
}

#[tokio::test]
async fn a_caller_that_goes_stops_the_sites_work() {
    let authority = Authority::new();
    let site = stage(&authority, |number| match number {
        0 => vec![begun("1234"), Step::Hang],
        _ => vec![Step::Hang],
    })
    .await;
    let gateway = Gateway::to(vec![site.site("s", &authority, SPIFFE)]);
    let mut body = gateway.ask("s", true).await.unwrap().into_body();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "1234");
    let state = gateway.sites.find("s").unwrap();
    assert_eq!(state.in_flight(), 1);
    drop(body);
    site.closed(1).await;
    let gone = Sent { why: Some("client_gone"), ..cut_by(Failure::Broken) };
    assert_eq!(gateway.end(), Sent { bytes_back: 4, ..gone.clone() });
    assert_eq!((state.in_flight(), state.breaker.failures()), (0, 0), "no fault of the site");

    // The same before the head of the answer.
    gateway.ended.lock().unwrap().clear();
    let mut asking = Box::pin(gateway.ask("s", true));
    while site.requests().len() < 2 {
        tokio::select! { biased; _ = &mut asking => {}, () = tokio::task::yield_now() => {} }
    }
    drop(asking);
    site.closed(2).await;
    assert_eq!(gateway.end(), Sent { status: None, ..gone });
}
